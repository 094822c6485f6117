"""Step three: identities that may have lost an edge are partitioned anew, and split where they
fall apart. One at a time: read and computed outside of the write transaction (nobody else moves
addresses between identities), applied in a short one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.cluster import attribution
from decnet.cluster import rows as identity_rows
from decnet.cluster.graph import partition
from decnet.cluster.merged import Outcome, home_of
from decnet.cluster.place import PERSON
from decnet.db.tables import Attacker, AttackerIdentity, ClusterEvidence, utc_now

MEMBERS_MOST = 20_000
"""Addresses of an identity that is still taken apart; a larger one stays as it is."""


PARTS_MOST = 500
"""Parts that are let go in one transaction: others want to write as well."""


@dataclass
class Plan:
    """What becomes of an identity: name of each part -> its addresses."""

    identity: str
    parts: dict[str, list[Any]] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=dict)
    too_big: bool = False


async def plan(session: AsyncSession, bucket_most: int) -> Plan | None:
    """The next identity to be reviewed, and its parts; None where there is none."""
    identity = await session.scalar(
        select(col(AttackerIdentity.uuid)).where(col(AttackerIdentity.review).is_(True)).limit(1)
    )
    if identity is None:
        return None
    count = await session.scalar(
        select(func.count()).select_from(Attacker).where(col(Attacker.identity_id) == identity)
    )
    if (count or 0) > MEMBERS_MOST:
        return Plan(identity, too_big=True)
    people = (
        await session.execute(select(*PERSON).where(col(Attacker.identity_id) == identity))
    ).all()
    statement = (
        select(col(ClusterEvidence.attacker_ip), col(ClusterEvidence.key))
        .join(Attacker, col(Attacker.ip) == col(ClusterEvidence.attacker_ip))
        .where(col(Attacker.identity_id) == identity, col(ClusterEvidence.placed).is_(True))
    )
    keys: dict[str, set[str]] = {person.ip: set() for person in people}
    for ip, key in await session.execute(statement):
        keys[ip].add(key)
    shown = {key for held in keys.values() for key in held}
    common = await identity_rows.common_keys(session, shown, bucket_most)
    # Seconds for tens of thousands: the heartbeat goes on meanwhile.
    groups = await asyncio.to_thread(partition, keys, common)
    by_ip = {person.ip: person for person in people}
    parts = {}
    for group in groups:
        persons = [by_ip[ip] for ip in sorted(group)]
        parts[min(home_of(person.uuid) for person in persons)] = persons
    return Plan(identity, parts, keys)


async def split(session: AsyncSession, made: Plan) -> Outcome:
    """Carry a plan out, in the caller's transaction."""
    outcome = Outcome(1)
    going = sorted(uuid for uuid in made.parts if uuid != made.identity)
    parts = {uuid: made.parts[uuid] for uuid in going[:PARTS_MOST]}
    if going:
        # Those who are not let go yet stay together with the identity's own part.
        stay = {*going[PARTS_MOST:], made.identity} & made.parts.keys()
        parts[made.identity] = [person for uuid in sorted(stay) for person in made.parts[uuid]]
    rows = await identity_rows.load(session, {made.identity, *parts})
    now = utc_now()
    for uuid in sorted(parts):
        row = rows.get(uuid)
        if row is None:
            row = rows[uuid] = identity_rows.formed(uuid, parts[uuid], now)
            session.add(row)
        _renew(row, parts[uuid], made.keys)
        row.merged_into_uuid = None
        row.campaign_dirty, row.updated_at, row.review = True, now, False
    rows[made.identity].review = len(going) > PARTS_MOST
    await session.flush()
    moved = {uuid: people for uuid, people in sorted(parts.items()) if uuid != made.identity}
    if moved:
        # In bulk: a key that became common may let go of a thousand at once.
        places = [
            {"uuid": person.uuid, "identity_id": uuid}
            for uuid, people in moved.items()
            for person in people
        ]
        await session.execute(update(Attacker), places)
        await _follow(session, made.identity, moved)
    if moved and not parts[made.identity]:
        # The address that it is named after is gone from the database.
        heir = max(moved, key=lambda uuid: (len(moved[uuid]), uuid))
        rows[made.identity].merged_into_uuid = heir
    for uuid in moved:
        outcome.tell(
            topics.IDENTITY_UNMERGED, resurrected_uuid=uuid, former_winner_uuid=made.identity
        )
    if parts:
        await identity_rows.rate(session, [rows[uuid] for uuid in parts])
        await attribution.split(session, made.identity, list(parts), outcome)
    return outcome


def _renew(row: AttackerIdentity, persons: list[Any], keys: dict[str, set[str]]) -> None:
    row.observation_count = len(persons)
    if not persons:
        return
    row.first_seen_at = min(person.first_seen for person in persons)
    row.last_seen_at = max(person.last_seen for person in persons)
    for column in identity_rows.COLUMNS.values():
        setattr(row, column, [])
    for person in persons:
        identity_rows.show(row, keys[person.ip])


async def _follow(session: AsyncSession, former: str, moved: dict[str, list[Any]]) -> None:
    """Earlier losers go with their home's address."""
    statement = select(col(AttackerIdentity.uuid)).where(
        col(AttackerIdentity.merged_into_uuid) == former
    )
    losers = set((await session.execute(statement)).scalars())
    pointers = [
        {"uuid": home, "merged_into_uuid": uuid}
        for uuid, people in moved.items()
        for home in (home_of(person.uuid) for person in people)
        if home in losers and home != uuid
    ]
    if pointers:
        await session.execute(update(AttackerIdentity), pointers)
