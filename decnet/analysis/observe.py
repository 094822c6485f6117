"""Ended sessions into `observations`: found by a durable cursor, read, analysed, stored once.

The cursor is on the `logs.id` of the event that ended a session: it grows with each commit, as
`session_recordings` (keyed by the session) does not. It stays behind the profiles' cursor, so the
attacker's row is there. Ids are made of session and trait, so doing it twice stores it once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.batch import CURSOR as PROFILED
from decnet.analysis.recording import BadRecording, Keys, read_session
from decnet.analysis.strokes import strokes_of
from decnet.analysis.traits import Session, traits_of
from decnet.collect.sessions import SESSION_RECORDED
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, Log, Observation, SessionRecording, utc_now

log = logging.getLogger("decnet.profiler")

CURSOR = "attacker_worker_session_cursor"
SESSIONS = 20
NAMESPACE = uuid.UUID("6f0f5b0c-6a9e-4b0e-9d58-0d3f9d1f7c11")
VERSION = 1
COMMANDS_MOST = 500


@dataclass(frozen=True)
class Ended:
    """A session that is to be looked at; None where its recording's row, or attacker, is gone."""

    log_id: int
    row: Any | None
    attacker_uuid: str | None
    identity: str | None = None


@dataclass
class Seen:
    """What came of some sessions."""

    last_id: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    sessions: int = 0
    unreadable: int = 0
    faults: int = 0


async def ended_sessions(session: AsyncSession, most: int = SESSIONS) -> list[Ended]:
    """The next sessions behind the cursor."""
    since = await cursors.get(session, CURSOR, 0)
    until = await cursors.get(session, PROFILED, 0)
    statement = (
        select(col(Log.id), col(Log.attacker_ip), col(Log.fields))
        .where(col(Log.event_type) == SESSION_RECORDED, col(Log.id) > since, col(Log.id) <= until)
        .order_by(col(Log.id))
        .limit(most)
    )
    events = (await session.execute(statement)).all()
    if not events:
        return []
    ids = {event.id: str((event.fields or {}).get("session_id", ""))[:128] for event in events}
    found = select(SessionRecording).where(col(SessionRecording.session_id).in_(ids.values()))
    recordings = {row.session_id: row for row in (await session.scalars(found)).all()}
    who = select(col(Attacker.ip), col(Attacker.uuid), col(Attacker.identity_id)).where(
        col(Attacker.ip).in_({event.attacker_ip for event in events})
    )
    attackers = {row.ip: row for row in (await session.execute(who)).all()}
    ended = []
    for event in events:
        row, attacker = recordings.get(ids[event.id]), attackers.get(event.attacker_ip)
        # A session's id told by another address is a forgery: the recording is not its own.
        if row is None or attacker is None or row.attacker_ip != event.attacker_ip:
            ended.append(Ended(event.id, None, None))
        else:
            ended.append(Ended(event.id, row, attacker.uuid, attacker.identity_id))
    return ended


async def look_at(ended: Sequence[Ended], artifacts: Path) -> Seen:
    """Read and analyse; in a thread, for a recording may be long. Never raises."""
    seen = Seen(ended[-1].log_id)
    for one in ended:
        if one.row is not None:
            await asyncio.to_thread(_look, one, artifacts, seen)
    return seen


def _look(one: Ended, artifacts: Path, seen: Seen) -> None:
    row: Any = one.row
    seen.sessions += 1
    keys: Keys | None = None
    if row.shard_path:
        try:
            keys = read_session(artifacts, row.shard_path, row.session_id)
        except BadRecording as error:
            seen.unreadable += 1
            log.warning("recording of session %s: %s", ascii(row.session_id), error)
    try:
        seen.rows += observations_of(one, keys)
    except Exception:
        # Text of attackers met code of ours: one session without traits, not all that follow.
        seen.faults += 1
        log.exception("session %s cannot be analysed", ascii(row.session_id))


def observations_of(one: Ended, keys: Keys | None) -> list[dict[str, Any]]:
    """The rows for a session. Without its recording, from the stored commands alone."""
    row: Any = one.row
    commands = [c for c in row.commands or () if isinstance(c, dict)][:COMMANDS_MOST]
    times = [dt.datetime.fromisoformat(c["ts"]) for c in commands]
    strokes = strokes_of(keys) if keys is not None else None
    session = Session(
        commands=[str(c.get("command_text", "")) for c in commands],
        times=[max(0.0, (time - times[0]).total_seconds()) for time in times],
        duration_s=row.duration_s,
        keys=keys,
        strokes=strokes,
    )
    now = utc_now()
    return [
        {
            "id": str(uuid.uuid5(NAMESPACE, f"{VERSION}:{row.session_id}:{trait.primitive}")),
            "attacker_uuid": one.attacker_uuid,
            "identity_ref": one.identity,
            "primitive": trait.primitive,
            "value": trait.value,
            "confidence": trait.confidence,
            "window_start_ts": row.started_at,
            "window_end_ts": row.ended_at,
            "source": "commands" if keys is None else "keystrokes",
            "evidence_ref": f"session:{row.session_id}",
            "envelope_v": VERSION,
            "ts": now,
        }
        for trait in traits_of(session)
    ]


async def store(session: AsyncSession, seen: Seen) -> list[dict[str, Any]]:
    """Insert or ignore, and move the cursor, in the caller's transaction; the rows that are new."""
    ids = [row["id"] for row in seen.rows]
    known: set[str] = set()
    for at in range(0, len(ids), 500):
        old = select(col(Observation.id)).where(col(Observation.id).in_(ids[at : at + 500]))
        known |= set((await session.scalars(old)).all())
    new = {row["id"]: row for row in seen.rows if row["id"] not in known}
    rows = list(new.values())
    for at in range(0, len(rows), 100):
        await session.execute(upsert(session, Observation, rows[at : at + 100], key=["id"]))
    await cursors.set(session, CURSOR, seen.last_id)
    return rows


def payload_of(row: dict[str, Any]) -> dict[str, Any]:
    """What `attacker.observation.<primitive>` says of a row."""
    return {
        "id": row["id"],
        "ts": row["ts"].isoformat(),
        "v": row["envelope_v"],
        "primitive": row["primitive"],
        "value": row["value"],
        "confidence": row["confidence"],
        "window": {
            "start_ts": row["window_start_ts"].isoformat(),
            "end_ts": row["window_end_ts"].isoformat(),
        },
        "evidence_ref": row["evidence_ref"],
        "attacker_uuid": row["attacker_uuid"],
    }
