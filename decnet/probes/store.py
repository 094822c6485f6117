"""The prober's memory, all of it in the database: whom to visit, claims, results.

A round is the visit to one attacker, port after port. Claiming it takes a lease and a number
(`attempts`); every later write asks for that number, so a prober that was thought dead and is not
changes nothing. What a port showed is written with the note that the port is done and with the
events to be told: a next prober tells those that were not told yet, see `told.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import CursorResult, and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import (
    Attacker,
    AttackerFingerprintState,
    FleetDecky,
    Log,
    ProbeRound,
    new_uuid,
    utc_now,
)
from decnet.probes.talk import Result

CURSOR = "probe_attackers_cursor"
PAGE = 200
SETTLE = dt.timedelta(seconds=5)
"""The cursor stays so far behind now: a row may be committed after one that was made later."""
ATTEMPTS_MOST = 3
"""A round that was claimed so often and never finished is given up: it may be what kills us."""
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Allow = Callable[[str], str | None]


@dataclass(frozen=True)
class Claim:
    """A round that is ours until the lease ends."""

    attacker_uuid: str
    ip: str
    number: int
    started_at: dt.datetime
    done: tuple[str, ...] = ()
    pending: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Change:
    """A result as it was stored."""

    result: Result
    port: int
    old_hash: str | None = None
    """Where the port had another fingerprint before."""
    rotations: int = 0


@dataclass
class Place:
    """Where the reading of `attackers` has come to."""

    at: dt.datetime = EPOCH
    uuid: str = ""

    def as_json(self) -> list[str]:
        return [self.at.isoformat(), self.uuid]

    @classmethod
    def from_json(cls, value: Any) -> Place:
        return cls(dt.datetime.fromisoformat(value[0]), str(value[1])) if value else cls()


@dataclass(frozen=True)
class Enrolment:
    """What one page of attackers gave."""

    rows: int
    rounds: int
    place: Place = field(default_factory=Place)


async def enrol(session: AsyncSession, place: Place, allow: Allow, ttl: int) -> Enrolment:
    """Make rounds for the next attackers behind `place` that may and should be visited.

    Args:
        place: from the last page; the stored cursor stays `SETTLE` behind.
        allow: the address to visit, or None.
        ttl: seconds after which one who came back is visited again.
    """
    rows = (await session.execute(_page(place))).all()
    if not rows:
        return Enrolment(0, 0, place)
    now = utc_now()
    made = 0
    known = await _known(session, [row.uuid for row in rows])
    for row in rows:
        ip = allow(row.ip)
        if ip is None:
            continue
        old = known.get(row.uuid)
        if old is None:
            fresh = {"attacker_uuid": row.uuid, "ip": ip, "due_at": now, "attempts": 0}
            fresh |= {"done": [], "pending": []}
            await session.execute(upsert(session, ProbeRound, fresh, key=["attacker_uuid"]))
            made += 1
        elif _is_due_again(old, row.last_seen, now, ttl):
            again = {"due_at": now, "attempts": 0, "done": [], "ip": ip}
            await session.execute(
                update(ProbeRound)
                .where(col(ProbeRound.attacker_uuid) == row.uuid, col(ProbeRound.due_at).is_(None))
                .values(**again)
            )
            made += 1
    last = Place(rows[-1].updated_at, rows[-1].uuid)
    safe = Place(min(last.at, now - SETTLE), last.uuid if last.at <= now - SETTLE else "")
    stored = Place.from_json(await cursors.get(session, CURSOR))
    if safe.at > stored.at or (safe.at == stored.at and safe.uuid > stored.uuid):
        await cursors.set(session, CURSOR, safe.as_json())
    return Enrolment(len(rows), made, last)


async def has_news(session: AsyncSession, place: Place) -> bool:
    """Whether there are attackers behind `place`; cheap, no transaction that writes."""
    return (await session.execute(_page(place).limit(1))).first() is not None


async def load_place(session: AsyncSession) -> Place:
    """The stored cursor."""
    return Place.from_json(await cursors.get(session, CURSOR))


async def claim(session: AsyncSession, mine: Iterable[str], lease: int) -> Claim | None:
    """Take the round that is due the longest; None where there is none.

    Args:
        mine: attackers whose rounds are being run by this process.
        lease: seconds.
    """
    now = utc_now()
    free = or_(col(ProbeRound.lease_until).is_(None), col(ProbeRound.lease_until) <= now)
    statement = (
        select(ProbeRound)
        .where(
            col(ProbeRound.due_at) <= now, free, col(ProbeRound.attacker_uuid).not_in(list(mine))
        )
        .order_by(col(ProbeRound.due_at))
        .limit(1)
    )
    found = await session.scalar(statement)
    if found is None:
        return None
    number = found.attempts + 1
    started = found.started_at if found.attempts and found.started_at else now
    values: dict[str, Any] = {"lease_until": now + dt.timedelta(seconds=lease)}
    values |= {"attempts": number, "started_at": started}
    if not await _renew(session, found.attacker_uuid, found.attempts, values):
        return None
    return Claim(
        found.attacker_uuid, found.ip, number, started, tuple(found.done), tuple(found.pending)
    )


async def extend(session: AsyncSession, claim: Claim, lease: int) -> bool:
    """Keep the claim for another lease; False where it is no longer ours."""
    until = utc_now() + dt.timedelta(seconds=lease)
    return await _renew(session, claim.attacker_uuid, claim.number, {"lease_until": until})


async def record(
    session: AsyncSession,
    claim: Claim,
    port: int,
    results: Sequence[Result],
    done: Sequence[str],
    pending: Sequence[dict[str, Any]],
) -> list[Change] | None:
    """Store what a port showed; None, and nothing stored, where the claim is no longer ours."""
    values = {"done": list(done), "pending": list(pending)}
    if not await _renew(session, claim.attacker_uuid, claim.number, values):
        return None
    return [await _change(session, claim, port, result) for result in results]


async def settle(session: AsyncSession, claim: Claim) -> None:
    """The pending events were told."""
    await _renew(session, claim.attacker_uuid, claim.number, {"pending": []})


async def finish(session: AsyncSession, claim: Claim) -> None:
    """The round is over; the attacker is due again when he comes back after the TTL."""
    over: dict[str, Any] = {"due_at": None, "lease_until": None, "finished_at": utc_now()}
    over |= {"attempts": 0, "pending": [], "done": []}
    await _renew(session, claim.attacker_uuid, claim.number, over)


async def release(session: AsyncSession, claim: Claim) -> None:
    """Stopped on purpose: anybody may go on at once, and it was no failed attempt."""
    values = {"lease_until": None, "attempts": claim.number - 1}
    await _renew(session, claim.attacker_uuid, claim.number, values)


async def told_ids(session: AsyncSession, claim: Claim, ids: set[str]) -> set[str]:
    """Those of the events that `collect` has stored already."""
    since = col(Log.timestamp) >= claim.started_at - SETTLE
    ours = (col(Log.attacker_ip) == claim.ip, col(Log.service) == "prober", since)
    rows = (await session.execute(select(col(Log.fields)).where(*ours))).all()
    return {row.fields.get("probe_id", "") for row in rows} & ids


async def decky_addresses(session: AsyncSession) -> set[str]:
    """Addresses of our own deckies: on them our ports are left alone."""
    rows = await session.execute(select(col(FleetDecky.decky_ip)).limit(10_000))
    return {ip for (ip,) in rows if ip}


# -- below


def _page(place: Place) -> Any:
    return (
        select(
            col(Attacker.uuid), col(Attacker.ip), col(Attacker.last_seen), col(Attacker.updated_at)
        )
        .where(
            or_(
                col(Attacker.updated_at) > place.at,
                and_(col(Attacker.updated_at) == place.at, col(Attacker.uuid) > place.uuid),
            )
        )
        .order_by(col(Attacker.updated_at), col(Attacker.uuid))
        .limit(PAGE)
    )


async def _known(session: AsyncSession, uuids: list[str]) -> dict[str, Any]:
    statement = select(
        col(ProbeRound.attacker_uuid), col(ProbeRound.due_at), col(ProbeRound.finished_at)
    ).where(col(ProbeRound.attacker_uuid).in_(uuids))
    return {row.attacker_uuid: row for row in (await session.execute(statement)).all()}


def _is_due_again(old: Any, last_seen: dt.datetime, now: dt.datetime, ttl: int) -> bool:
    """Whether a finished round is to be repeated: he was here after it, and it is long ago.

    Our own events carry his address and so move `last_seen`, but never past the round's end: the
    prober alone does not keep itself busy.
    """
    if old.due_at is not None or old.finished_at is None:
        return False
    return bool(last_seen > old.finished_at and now - old.finished_at >= dt.timedelta(seconds=ttl))


async def _renew(session: AsyncSession, uuid: str, number: int, values: dict[str, Any]) -> bool:
    statement = (
        update(ProbeRound)
        .where(col(ProbeRound.attacker_uuid) == uuid, col(ProbeRound.attempts) == number)
        .values(**values)
        .execution_options(synchronize_session=False)
    )
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1


async def _change(session: AsyncSession, claim: Claim, port: int, result: Result) -> Change:
    if not result.hash:
        return Change(result, port)
    table = AttackerFingerprintState
    key = {"attacker_uuid": claim.attacker_uuid, "port": port, "probe_type": result.probe}
    where = [getattr(table, name) == value for name, value in key.items()]
    known = (
        await session.execute(select(col(table.last_hash), col(table.rotation_count)).where(*where))
    ).first()
    values: dict[str, Any] = {"last_hash": result.hash, "last_seen": utc_now()}
    if known is None:
        fresh = {"uuid": new_uuid(), **key, **values, "rotation_count": 0}
        await session.execute(upsert(session, table, fresh, key=list(key), update=list(values)))
        return Change(result, port)
    if known.last_hash == result.hash:
        await session.execute(update(table).where(*where).values(**values))
        return Change(result, port)
    values["rotation_count"] = known.rotation_count + 1
    await session.execute(update(table).where(*where).values(**values))
    await session.execute(
        update(Attacker)
        .where(col(Attacker.uuid) == claim.attacker_uuid)
        .values(rotation_count=col(Attacker.rotation_count) + 1)
        .execution_options(synchronize_session=False)
    )
    return Change(result, port, known.last_hash, known.rotation_count + 1)
