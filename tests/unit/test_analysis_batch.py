"""Batches into profiles: bounties of the unknown, targets without end, events set aside."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from decnet.analysis import batch, observe
from decnet.analysis.batch import measure_lag, profile_batch, skip_event
from decnet.db.engine import Database
from decnet.db.tables import Attacker, Bounty, Log, SessionRecording, SmtpTarget

START = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/x.db")
    await database.create_all()
    await database.open()
    yield database
    await database.close()


def log(kind: str = "command", ip: str = "192.0.2.1", **fields: str) -> Log:
    return Log(
        timestamp=START,
        decky="d",
        service="ssh",
        event_type=kind,
        attacker_ip=ip,
        raw_line="-",
        fields=fields,
    )


def bounty(ip: str = "192.0.2.1") -> Bounty:
    place = {"timestamp": START, "decky": "d", "service": "ssh"}
    return Bounty(**place, attacker_ip=ip, bounty_type="artifact")


async def add(db: Database, *rows: Any) -> None:
    async def work(session: AsyncSession) -> None:
        session.add_all(rows)

    await db.write(work)


async def bounties(db: Database) -> dict[str, int]:
    async with db.session() as session:
        rows = await session.execute(select(col(Attacker.ip), col(Attacker.bounty_count)))
        return {ip: count for ip, count in rows}  # noqa: C416


async def test_batch_counts_bounties_that_came_before_their_attacker(db: Database) -> None:
    await add(db, bounty(), bounty(), bounty("192.0.2.9"))
    await db.write(profile_batch)
    assert await bounties(db) == {}
    await add(db, log(), bounty())
    _, scored = await db.write(profile_batch)
    assert scored[0].columns["bounty_count"] == 3
    await add(db, log(), bounty())
    _, scored = await db.write(profile_batch)
    assert scored[0].columns["bounty_count"] == 4
    assert await bounties(db) == {"192.0.2.1": 4}
    await add(db, bounty())
    async with db.session() as session:
        assert await measure_lag(session) == 1
    await db.write(profile_batch)
    assert await bounties(db) == {"192.0.2.1": 5}
    async with db.session() as session:
        assert await measure_lag(session) == 0


async def test_batch_bounds_an_attackers_targets(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "TARGETS_MOST", 5)
    for turn in range(2):
        await add(db, *(log("rcpt_to", rcpt_to=f"<a@d{n}.example>") for n in range(4 + 4 * turn)))
        await db.write(profile_batch)
    async with db.session() as session:
        rows = await session.execute(select(col(SmtpTarget.domain), col(SmtpTarget.count)))
        found = dict(rows.all())
    assert len(found) == 5
    assert [found[f"d{n}.example"] for n in range(4)] == [2, 2, 2, 2], "known ones count on"


async def test_batch_sets_one_event_aside(db: Database) -> None:
    await add(db, log(), log(), log())
    assert await db.write(skip_event) == 1
    assert (await db.write(profile_batch))[0] == 2
    assert await db.write(skip_event) is None


async def test_sessions_wait_for_their_attacker_and_forged_ones_are_passed_over(
    db: Database, tmp_path: Path
) -> None:
    def recording(session_id: str) -> SessionRecording:
        return SessionRecording(
            session_id=session_id,
            decky="d",
            service="ssh",
            attacker_ip="192.0.2.1",
            started_at=START,
            ended_at=START,
            duration_s=1.0,
            commands=[{"command_text": "id", "ts": START.isoformat()}],
            shard_path="/etc/passwd",
        )

    end = partial(log, "session_recorded")
    await add(db, recording("mine"), end(session_id="mine"))
    async with db.session() as session:
        assert await observe.ended_sessions(session) == []
    await add(db, end(ip="192.0.2.66", session_id="mine"), end(session_id="none"), end())
    await db.write(profile_batch)
    async with db.session() as session:
        ended = await observe.ended_sessions(session)
    assert [one.row is not None for one in ended] == [True, False, False, False]
    seen = await observe.look_at(ended, tmp_path)
    assert (seen.sessions, seen.unreadable, seen.faults) == (1, 1, 0)
    assert await db.write(partial(observe.store, seen=seen))
    assert await db.write(partial(observe.store, seen=seen)) == [], "the second time nothing is new"
    async with db.session() as session:
        assert await observe.ended_sessions(session) == []


async def test_sessions_that_cannot_be_analysed_stop_no_other(db: Database, tmp_path: Path) -> None:
    rows = [
        SessionRecording(
            session_id=name,
            decky="d",
            service="ssh",
            attacker_ip="192.0.2.1",
            started_at=START,
            ended_at=START,
            duration_s=1.0,
            commands=[{"command_text": "id", "ts": when}],
        )
        for name, when in (("bad", "no time"), ("good", START.isoformat()))
    ]
    ends = [log("session_recorded", session_id=row.session_id) for row in rows]
    await add(db, *rows)
    await add(db, *ends)
    await db.write(profile_batch)
    async with db.session() as session:
        seen = await observe.look_at(await observe.ended_sessions(session), tmp_path)
        assert await session.scalar(select(func.count(col(Log.id)))) == 2
    assert (seen.sessions, seen.faults) == (2, 1)
    assert {row["evidence_ref"] for row in seen.rows} == {"session:good"}
