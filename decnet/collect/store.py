"""One batch of lines into the database: rows, credentials, recordings and cursors, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.collect.keep import Kept, keep
from decnet.collect.record import Record
from decnet.collect.sessions import COMMAND, COMMANDS_MOST, SessionEnd, commands_of, session_end
from decnet.collect.sessions import window as session_window
from decnet.collect.tail import Cursor
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import CREDENTIAL_KEY, Credential, Log, SessionRecording, State

CURSOR_PREFIX = "collect_spool:"
EXPORT_KEY = "collect_export"
ROW = (
    col(Log.id),
    col(Log.timestamp),
    col(Log.decky),
    col(Log.service),
    col(Log.event_type),
    col(Log.attacker_ip),
    col(Log.raw_line),
    col(Log.fields),
    col(Log.msg),
)
"""Columns of an exported row."""


@dataclass(frozen=True)
class Batch:
    """What one transaction stores."""

    records: Sequence[Record]
    moved: Mapping[str, Cursor] = field(default_factory=dict)
    """Cursors behind the records, by the file's key."""
    gone: Sequence[str] = ()
    """Keys whose cursors are to be forgotten."""
    note: Mapping[str, Any] | None = None
    """Where the exported files end."""


@dataclass(frozen=True)
class Stored:
    """What the transaction did, for those who are to be told."""

    last_id: int
    sessions: tuple[tuple[SessionEnd, list[dict[str, Any]]], ...]
    credentials: tuple[dict[str, Any], ...]
    kept: Kept


async def store(session: AsyncSession, batch: Batch) -> Stored:
    """Do it, in the caller's transaction."""
    if batch.records:
        await session.execute(insert(Log), [_log_row(r) for r in batch.records])
    credentials = _credential_rows(batch.records)
    if credentials:
        await session.execute(_count_credentials(session, credentials))
    kept = await keep(session, batch.records)
    ended = [end for record in batch.records if (end := session_end(record))]
    sessions = [(end, await _record_session(session, end)) for end in ended]
    if batch.moved:
        rows = [
            {"key": f"{CURSOR_PREFIX}{key}", "value": cursor.as_json()}
            for key, cursor in batch.moved.items()
        ]
        await session.execute(upsert(session, State, rows, key=["key"], update=["value"]))
    if batch.gone:
        keys = [f"{CURSOR_PREFIX}{key}" for key in batch.gone]
        await session.execute(delete(State).where(col(State.key).in_(keys)))
    if batch.note is not None:
        await cursors.set(session, EXPORT_KEY, dict(batch.note))
    last_id = await session.scalar(select(func.max(Log.id)))
    return Stored(last_id or 0, tuple(sessions), tuple(credentials), kept)


async def load(session: AsyncSession) -> tuple[dict[str, Cursor], dict[str, Any] | None]:
    """The stored cursors by key, and where the exported files ended."""
    found = await cursors.prefixed(session, CURSOR_PREFIX)
    places = {
        key.removeprefix(CURSOR_PREFIX): Cursor.from_json(value) for key, value in found.items()
    }
    return places, await cursors.get(session, EXPORT_KEY)


async def rows_after(session: AsyncSession, last_id: int, most: int) -> Sequence[Any]:
    """Rows to be exported, in order."""
    statement = select(*ROW).where(col(Log.id) > last_id).order_by(col(Log.id)).limit(most)
    return (await session.execute(statement)).all()


def _log_row(record: Record) -> dict[str, Any]:
    return {
        "timestamp": record.timestamp,
        "decky": record.decky,
        "service": record.service,
        "event_type": record.event_type,
        "attacker_ip": record.attacker_ip,
        "raw_line": record.raw_line,
        "fields": record.fields,
        "msg": record.msg,
    }


def _credential_rows(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row a natural key: the same secret twice in a batch is two attempts."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in records:
        secret = record.secret
        if secret is None:
            continue
        row: dict[str, Any] = {
            "attacker_ip": record.attacker_ip,
            "decky_name": record.decky,
            "service": record.service,
            "principal": secret.principal,
            "secret_kind": secret.kind,
            "secret_sha256": secret.sha256,
            "secret_b64": secret.b64,
            "secret_printable": secret.printable,
            "outcome": secret.outcome,
            "fields": {},
            "first_seen": record.timestamp,
            "last_seen": record.timestamp,
            "attempt_count": 1,
        }
        known = rows.setdefault(tuple(row[name] for name in CREDENTIAL_KEY), row)
        if known is not row:
            known["attempt_count"] += 1
            known["first_seen"] = min(known["first_seen"], record.timestamp)
            known["last_seen"] = max(known["last_seen"], record.timestamp)
            known["outcome"] = secret.outcome or known["outcome"]
    return list(rows.values())


def _count_credentials(session: AsyncSession, rows: list[dict[str, Any]]) -> Any:
    attempts: Any = literal_column("excluded.attempt_count")
    update = {
        "attempt_count": col(Credential.attempt_count) + attempts,
        "last_seen": literal_column("excluded.last_seen"),
        "outcome": literal_column("excluded.outcome"),
    }
    return upsert(session, Credential, rows, key=CREDENTIAL_KEY, update=update)


async def _record_session(session: AsyncSession, end: SessionEnd) -> list[dict[str, Any]]:
    since, until = session_window(end)
    # `|| ''` keeps the planner to the index on time. By address or type it would go through the
    # whole past of somebody who has a long one, for each of his sessions.
    statement = (
        select(*ROW)
        .where(
            col(Log.attacker_ip).concat("") == end.attacker_ip,
            col(Log.event_type).concat("") == COMMAND,
            col(Log.timestamp).between(since, until),
        )
        .order_by(col(Log.id))
        .limit(COMMANDS_MOST)
    )
    commands = commands_of(end, (await session.execute(statement)).all())
    row = {
        "session_id": end.session_id,
        "decky": end.decky,
        "service": end.service,
        "attacker_ip": end.attacker_ip,
        "principal": end.principal,
        "started_at": end.started_at,
        "ended_at": end.ended_at,
        "duration_s": end.duration_s,
        "commands": commands,
        "size_bytes": end.size_bytes,
        "truncated": end.truncated,
        "shard_path": end.shard_path,
    }
    await session.execute(upsert(session, SessionRecording, row, key=["session_id"]))
    return commands
