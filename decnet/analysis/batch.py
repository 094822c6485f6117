"""The next events of `logs` into the profiles of their addresses: one transaction a batch.

What a profile needs of the past is in its own rows, so nothing is kept between two batches, and a
kill at any instant neither loses nor doubles an event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.profile import Profile, Target, is_attributable
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    AttackerPlace,
    Bounty,
    Credential,
    Log,
    SmtpTarget,
    new_uuid,
    utc_now,
)
from decnet.geo.table import NOWHERE, Place

CURSOR = "attacker_worker_cursor"
BOUNTY_CURSOR = "attacker_worker_bounty_cursor"
BATCH = 500
TARGETS_MOST = 1000
"""Domains of mail kept of one attacker."""
COLUMNS = (
    col(Log.id),
    col(Log.timestamp),
    col(Log.decky),
    col(Log.service),
    col(Log.event_type),
    col(Log.attacker_ip),
    col(Log.fields),
)
Locate = Callable[[str], Place]


@dataclass(frozen=True)
class Scored:
    """A profile that was written; `first` is its first event where it is new."""

    columns: dict[str, Any]
    first: Any | None


async def profile_batch(
    session: AsyncSession, most: int = BATCH, locate: Locate | None = None
) -> tuple[int, list[Scored]]:
    """Take the next events into their profiles, in the caller's transaction.

    Args:
        locate: where an address is from.
    Returns:
        How many events, and the profiles that they changed.
    """
    since = await cursors.get(session, CURSOR, 0)
    statement = select(*COLUMNS).where(col(Log.id) > since).order_by(col(Log.id)).limit(most)
    rows = (await session.execute(statement)).all()
    by_ip: dict[str, list[Any]] = {}
    for row in rows:
        if is_attributable(row.attacker_ip):
            by_ip.setdefault(row.attacker_ip, []).append(row)
    scored = await _renew(session, by_ip, locate) if by_ip else []
    if rows:
        await cursors.set(session, CURSOR, rows[-1].id)
    await count_bounties(session, scored)
    return len(rows), scored


async def skip_event(session: AsyncSession) -> int | None:
    """Set the next event aside, for one that cannot be profiled; its id."""
    since = await cursors.get(session, CURSOR, 0)
    poison = await session.scalar(select(func.min(col(Log.id))).where(col(Log.id) > since))
    if poison is not None:
        await cursors.set(session, CURSOR, poison)
    return poison


async def measure_lag(session: AsyncSession) -> int:
    """Events behind the cursor, roughly: ids may have holes. Bounties count where no event does."""
    last = await session.scalar(select(func.max(col(Log.id)))) or 0
    lag = int(last - await cursors.get(session, CURSOR, 0))
    if lag > 0:
        return lag
    last = await session.scalar(select(func.max(col(Bounty.id)))) or 0
    return int(last - await cursors.get(session, BOUNTY_CURSOR, 0))


async def count_bounties(
    session: AsyncSession, scored: Sequence[Scored] = (), most: int = BATCH
) -> None:
    """Count the next bounties at their attackers."""
    since = await cursors.get(session, BOUNTY_CURSOR, 0)
    fresh = {one.columns["ip"]: one.columns for one in scored if one.first is not None}
    if fresh and since:
        # Counted by nobody yet: there was no attacker to count them at.
        held = (col(Bounty.attacker_ip).in_(list(fresh)), col(Bounty.id) <= since)
        before = select(col(Bounty.attacker_ip), func.count(col(Bounty.id))).where(*held)
        for ip, count in (await session.execute(before.group_by(col(Bounty.attacker_ip)))).all():
            await _add_bounties(session, ip, count)
            fresh[ip]["bounty_count"] += count
    statement = select(col(Bounty.id), col(Bounty.attacker_ip)).where(col(Bounty.id) > since)
    rows = (await session.execute(statement.order_by(col(Bounty.id)).limit(most))).all()
    if not rows:
        return
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.attacker_ip] = counts.get(row.attacker_ip, 0) + 1
    for ip, count in counts.items():
        await _add_bounties(session, ip, count)
    for one in scored:
        one.columns["bounty_count"] += counts.get(one.columns["ip"], 0)
    await cursors.set(session, BOUNTY_CURSOR, rows[-1].id)


async def _add_bounties(session: AsyncSession, ip: str, count: int) -> None:
    if count:
        more = update(Attacker).where(col(Attacker.ip) == ip)
        await session.execute(more.values(bounty_count=col(Attacker.bounty_count) + count))


async def _renew(
    session: AsyncSession, by_ip: dict[str, list[Any]], locate: Locate | None
) -> list[Scored]:
    known = await _known(session, list(by_ip))
    now = utc_now()
    attackers, behaviors, scored = [], [], []
    for ip, events in by_ip.items():
        attacker, behavior = known.get(ip, (None, None))
        if attacker is None:
            profile = Profile(ip, events[0].timestamp, events[0].timestamp)
        else:
            profile = Profile.of_rows(attacker, behavior)
        for event in events:
            profile.add(event)
        uuid = new_uuid() if attacker is None else attacker.uuid
        columns = {
            "uuid": uuid,
            **profile.attacker_columns(),
            "credential_count": 0 if attacker is None else attacker.credential_count,
            "bounty_count": 0 if attacker is None else attacker.bounty_count,
            **place_columns(locate(ip) if locate else NOWHERE),
            "updated_at": now,
        }
        attackers.append((columns, profile))
        behaviors.append({"attacker_uuid": uuid, **profile.behavior_columns(), "updated_at": now})
        scored.append(Scored(columns, events[0] if attacker is None else None))
    await _upsert(session, Attacker, [columns for columns, _ in attackers], "ip", "uuid")
    await _upsert(session, AttackerBehavior, behaviors, "attacker_uuid")
    for columns, profile in attackers:
        if profile.has_secrets:
            await _claim_credentials(session, columns)
        if profile.spilled:
            await _count_places(session, columns, profile.spilled)
        if profile.targets:
            await _add_targets(session, columns["uuid"], profile.targets)
    return scored


def place_columns(place: Place) -> dict[str, Any]:
    """The columns that say where an address is from."""
    return {
        "country_code": place.country,
        "asn": place.asn,
        "as_name": f"reserved: {place.reserved}" if place.reserved else place.as_name,
        "bgp_prefix": place.prefix,
    }


async def _known(session: AsyncSession, ips: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    statement = (
        select(Attacker, AttackerBehavior)
        .outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
        .where(col(Attacker.ip).in_(ips))
    )
    rows = (await session.execute(statement)).all()
    return {attacker.ip: (attacker, behavior) for attacker, behavior in rows}


async def _upsert(
    session: AsyncSession, table: type[Any], rows: list[dict[str, Any]], key: str, *keep: str
) -> None:
    """Write the rows; on a known key all columns but the key and `keep` take the new values."""
    renewed = [name for name in rows[0] if name not in (key, *keep)]
    # One statement for any number of rows: compiled once and then cached.
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in rows[0]}
    statement = upsert(session, table, values, key=[key], update=renewed)
    connection = await session.connection()
    await connection.execute(
        statement, [{f"new_{name}": value for name, value in row.items()} for row in rows]
    )


async def _claim_credentials(session: AsyncSession, columns: dict[str, Any]) -> None:
    """Give the address's new credentials their attacker; so many more does it have."""
    claim = (
        update(Credential)
        .where(
            col(Credential.attacker_ip) == columns["ip"], col(Credential.attacker_uuid).is_(None)
        )
        .values(attacker_uuid=columns["uuid"])
    )
    count = await _changed(session, claim)
    if count:
        columns["credential_count"] += count
        await _set(session, columns, "credential_count")


async def _count_places(
    session: AsyncSession, columns: dict[str, Any], places: set[tuple[str, str]]
) -> None:
    """Places for which the attacker's row has no room are rows of their own, each counted once."""
    counters = {"service": "service_count", "decky": "decky_count"}
    for kind, name in sorted(places):
        row = {"attacker_uuid": columns["uuid"], "kind": kind, "name": name}
        new = upsert(session, AttackerPlace, row, key=["attacker_uuid", "kind", "name"])
        columns[counters[kind]] += await _changed(session, new)
    await _set(session, columns, *counters.values())


async def _add_targets(session: AsyncSession, uuid: str, targets: dict[str, Target]) -> None:
    mine = col(SmtpTarget.attacker_uuid) == uuid
    known = select(col(SmtpTarget.domain)).where(mine, col(SmtpTarget.domain).in_(list(targets)))
    old = set((await session.scalars(known)).all())
    count = await session.scalar(select(func.count(col(SmtpTarget.id))).where(mine)) or 0
    room = max(0, TARGETS_MOST - count)
    for domain, target in targets.items():
        if domain not in old:
            if room == 0:
                continue
            room -= 1
        row = {
            "attacker_uuid": uuid,
            "domain": domain,
            "first_seen": target.first_seen,
            "last_seen": target.last_seen,
            "count": target.count,
        }
        more = {
            "count": col(SmtpTarget.count) + target.count,
            "last_seen": target.last_seen,
        }
        key = ["attacker_uuid", "domain"]
        await session.execute(upsert(session, SmtpTarget, row, key=key, update=more))


async def _set(session: AsyncSession, columns: dict[str, Any], *names: str) -> None:
    values = {name: columns[name] for name in names}
    await session.execute(
        update(Attacker).where(col(Attacker.uuid) == columns["uuid"]).values(**values)
    )


async def _changed(session: AsyncSession, statement: Any) -> int:
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return max(0, result.rowcount)
