"""Identities' rows: formed, joined, merged, split, and what they say of their addresses."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.cluster import attribution
from decnet.cluster.graph import UnionFind
from decnet.cluster.keys import kind_of, value_of
from decnet.cluster.merged import Outcome, chunks, point
from decnet.cluster.phases import commands_by_phase
from decnet.cluster.weights import Traits, confidence
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    ClusterEvidence,
    ClusterKey,
    Credential,
    utc_now,
)

COLUMNS = {
    "ja3": "ja3_hashes",
    "hassh": "hassh_hashes",
    "ja4": "ja4_hashes",
    "payload": "payload_hashes",
    "c2": "c2_endpoints",
}
LIST_MOST = 64
"""Values of a kind that an identity's row shows."""
SAMPLE = 8
"""Addresses of an identity that its confidence is taken from."""
RATE_MOST = 2000
"""Identities of more addresses keep the confidence that they have."""
SECRETS_MOST = 200


async def apply(
    session: AsyncSession,
    people: list[Any],
    labels: Mapping[str, str],
    sets: UnionFind,
    review: Collection[str],
    outcome: Outcome,
) -> None:
    """Write what a batch of placed addresses came to.

    Args:
        people: the addresses (`place.PERSON`).
        labels: ip -> the identity it had, or its home where it is new.
        sets: which labels are one now.
        review: labels whose identity may have lost an edge.
    """
    roots = {label: sets.find(label) for label in set(labels.values())}
    groups = sets.groups()
    merged = {label for group in groups.values() for label in group}
    touched = {roots[labels[p.ip]] for p in people} | merged | {sets.find(x) for x in review}
    known = await load(session, touched)
    new: dict[str, list[Any]] = {}
    for person in people:
        if person.identity_id is None:
            new.setdefault(roots[labels[person.ip]], []).append(person)
    now = utc_now()
    for root, persons in new.items():
        uuids = [person.uuid for person in persons]
        row = known.get(root)
        if row is None:
            row = known[root] = formed(root, persons, now)
            session.add(row)
            outcome.tell(topics.IDENTITY_FORMED, identity_uuid=root, observation_uuids=uuids)
        else:
            outcome.tell(topics.IDENTITY_LINKED, identity_uuid=root, observation_uuids=uuids)
        row.merged_into_uuid = None
        row.observation_count += len(persons)
        widen(row, persons)
        await _assign(session, uuids, root)
    await session.flush()
    for root, group in sorted(groups.items()):
        losers = [x for x in group if x != root and x in known]
        if losers:
            await _merge(session, known, root, losers, now, outcome)
    for label in review:
        if sets.find(label) in known:
            known[sets.find(label)].review = True
    alive = {sets.find(label) for label in touched}
    shown = await _shown(session, [p.ip for p in people])
    for person in people:
        show(known[roots[labels[person.ip]]], shown.get(person.ip, ()))
    for root in alive & known.keys():
        known[root].campaign_dirty = True
        known[root].updated_at = now
    await rate(session, [known[root] for root in alive & known.keys()])


def formed(uuid: str, persons: list[Any], now: dt.datetime) -> AttackerIdentity:
    """A new identity; its addresses are not counted yet."""
    return AttackerIdentity(
        uuid=uuid,
        first_seen_at=min(p.first_seen for p in persons),
        last_seen_at=max(p.last_seen for p in persons),
        updated_at=now,
    )


def widen(row: AttackerIdentity, persons: Iterable[Any]) -> None:
    """The identity was seen when its addresses were."""
    for person in persons:
        row.first_seen_at = min(row.first_seen_at, person.first_seen)
        row.last_seen_at = max(row.last_seen_at, person.last_seen)


def show(row: AttackerIdentity, keys: Iterable[str]) -> None:
    """Add keys to what the row shows."""
    for key in keys:
        column = COLUMNS[kind_of(key)]
        values = getattr(row, column)
        if value_of(key) not in values:
            setattr(row, column, sorted({*values, value_of(key)})[:LIST_MOST])


async def load(session: AsyncSession, uuids: Iterable[str]) -> dict[str, AttackerIdentity]:
    """Identities' rows, to be changed in this transaction."""
    found: dict[str, AttackerIdentity] = {}
    for part in chunks(sorted(uuids)):
        statement = select(AttackerIdentity).where(col(AttackerIdentity.uuid).in_(part))
        found |= {row.uuid: row for row in (await session.execute(statement)).scalars()}
    return found


async def _merge(
    session: AsyncSession,
    known: dict[str, AttackerIdentity],
    root: str,
    losers: list[str],
    now: dt.datetime,
    outcome: Outcome,
) -> None:
    winner = known.get(root)
    if winner is None:
        # The smallest label is the home of a new address only, which `new` has formed above.
        raise RuntimeError(f"identity {root} wins a merge and is not there")
    for loser in (known[uuid] for uuid in sorted(losers)):
        winner.observation_count += loser.observation_count
        winner.first_seen_at = min(winner.first_seen_at, loser.first_seen_at)
        winner.last_seen_at = max(winner.last_seen_at, loser.last_seen_at)
        winner.review = winner.review or loser.review
        winner.kd_digraph_simhash = winner.kd_digraph_simhash or loser.kd_digraph_simhash
        for column in COLUMNS.values():
            both = {*getattr(winner, column), *getattr(loser, column)}
            setattr(winner, column, sorted(both)[:LIST_MOST])
        loser.observation_count, loser.review = 0, False
        loser.campaign_dirty, loser.updated_at = True, now
        outcome.tell(topics.IDENTITY_MERGED, winner_uuid=root, loser_uuid=loser.uuid)
    await session.flush()
    for part in chunks(losers):
        await session.execute(
            update(Attacker).where(col(Attacker.identity_id).in_(part)).values(identity_id=root)
        )
    await point(session, AttackerIdentity, losers, root)
    await attribution.merged(session, root, losers, outcome)


async def _assign(session: AsyncSession, uuids: list[str], identity: str) -> None:
    for part in chunks(uuids):
        await session.execute(
            update(Attacker).where(col(Attacker.uuid).in_(part)).values(identity_id=identity)
        )


async def _shown(session: AsyncSession, ips: list[str]) -> dict[str, set[str]]:
    shown: dict[str, set[str]] = {}
    for part in chunks(ips):
        statement = select(col(ClusterEvidence.attacker_ip), col(ClusterEvidence.key))
        for ip, key in await session.execute(
            statement.where(col(ClusterEvidence.attacker_ip).in_(part))
        ):
            shown.setdefault(ip, set()).add(key)
    return shown


async def rate(session: AsyncSession, rows: list[AttackerIdentity]) -> None:
    """Renew the identities' confidence, from a few of their addresses each."""
    several = {}
    for row in rows:
        if row.observation_count < 2:
            row.confidence = 1.0
        elif row.observation_count <= RATE_MOST:
            several[row.uuid] = row
    for part in chunks(list(several)):
        sample = await _sample(session, part)
        traits = await _traits(session, [p for ps in sample.values() for p in ps])
        for uuid, persons in sample.items():
            several[uuid].confidence = confidence([traits[p.ip] for p in persons])


async def _sample(session: AsyncSession, uuids: list[str]) -> dict[str, list[Any]]:
    await session.flush()
    rank = (
        func.row_number()
        .over(partition_by=col(Attacker.identity_id), order_by=col(Attacker.uuid))
        .label("rank")
    )
    ranked = (
        select(
            *(col(Attacker.ip), col(Attacker.asn), col(Attacker.commands)),
            col(Attacker.identity_id),
            rank,
        )
        .where(col(Attacker.identity_id).in_(uuids))
        .subquery()
    )
    found: dict[str, list[Any]] = {}
    for row in (await session.execute(select(ranked).where(ranked.c.rank <= SAMPLE))).all():
        found.setdefault(row.identity_id, []).append(row)
    return found


async def _traits(session: AsyncSession, persons: list[Any]) -> dict[str, Traits]:
    ips = [person.ip for person in persons]
    shown = await _shown(session, ips)
    secrets: dict[str, set[str]] = {}
    for part in chunks(ips):
        statement = (
            select(col(Credential.attacker_ip), col(Credential.secret_sha256))
            .where(col(Credential.attacker_ip).in_(part))
            .limit(SECRETS_MOST * len(part))
        )
        for ip, secret in await session.execute(statement):
            secrets.setdefault(ip, set()).add(secret)
    return {
        person.ip: Traits(
            frozenset(shown.get(person.ip, ())),
            commands_by_phase([str(c.get("command_text", "")) for c in person.commands or ()]),
            frozenset(secrets.get(person.ip, ())),
            person.asn,
        )
        for person in persons
    }


async def common_keys(session: AsyncSession, keys: Collection[str], bucket_most: int) -> set[str]:
    """Those of the keys that more than `bucket_most` addresses show."""
    found: set[str] = set()
    for part in chunks(sorted(keys)):
        statement = select(col(ClusterKey.key)).where(
            col(ClusterKey.key).in_(part), col(ClusterKey.members) > bucket_most
        )
        found |= set((await session.execute(statement)).scalars())
    return found
