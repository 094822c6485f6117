"""What was typed in a session: taken from the stored command events when the session has ended."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from decnet.collect.record import Record

SESSION_RECORDED = "session_recorded"
COMMAND = "command"
COMMANDS_MOST = 1000
LONGEST = 3600.0
"""Seconds of a session that are looked back on."""
SLACK = dt.timedelta(seconds=1)
"""Clocks and roundings: a first command may look older than the session."""


@dataclass(frozen=True)
class SessionEnd:
    """A `session_recorded` event in typed parts."""

    session_id: str
    decky: str
    service: str
    attacker_ip: str
    principal: str
    started_at: dt.datetime
    ended_at: dt.datetime
    duration_s: float
    size_bytes: int
    truncated: bool
    shard_path: str


def session_end(record: Record) -> SessionEnd | None:
    """The session that the record ends; None where it is another event, or lacks the id."""
    fields = record.fields
    if record.event_type != SESSION_RECORDED or not fields.get("session_id"):
        return None
    duration = _number(fields.get("duration_s", ""), LONGEST * 24)
    return SessionEnd(
        session_id=fields["session_id"][:128],
        decky=record.decky,
        service=record.service,
        attacker_ip=record.attacker_ip,
        principal=fields.get("principal", ""),
        started_at=record.timestamp - dt.timedelta(seconds=duration),
        ended_at=record.timestamp,
        duration_s=duration,
        size_bytes=int(_number(fields.get("size_bytes", ""), 1 << 40)),
        truncated=fields.get("truncated", "") not in ("", "0", "false"),
        shard_path=fields.get("shard_path", ""),
    )


def window(end: SessionEnd) -> tuple[dt.datetime, dt.datetime]:
    """Between which times its commands lie."""
    return end.ended_at - dt.timedelta(seconds=min(end.duration_s, LONGEST)) - SLACK, end.ended_at


def commands_of(end: SessionEnd, rows: Iterable[Any]) -> list[dict[str, Any]]:
    """The session's commands, oldest first, as `attacker.session.ended` carries them.

    Args:
        rows: the address's command events within `window`: id, timestamp, decky, service, fields.
    """
    ours = [row for row in rows if row.fields.get("session_id", end.session_id) == end.session_id]
    return [_command(row) for row in ours[:COMMANDS_MOST]]


def _command(row: Any) -> dict[str, Any]:
    fields: Mapping[str, str] = row.fields
    return {
        "id": str(row.id),
        "command_text": fields.get("command", fields.get("cmd", "")),
        "ts": row.timestamp.isoformat(),
        "decky": row.decky,
        "service": row.service,
        "uid": fields.get("uid", ""),
        "user": fields.get("user", ""),
        "src": fields.get("src_ip", fields.get("src", "")),
        "pwd": fields.get("pwd", ""),
    }


def _number(text: str, most: float) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return min(max(number, 0.0), most) if number == number else 0.0
