"""Step two: new addresses and new evidence into identities. Only ever merges; `review` splits.

All members of a bucket of a strong key are in one identity already, so one example of it will
do; a weak key's bucket is read whole, and is bounded by `bucket_most`. What may cost an edge (an
address that got its first fingerprint of a kind, a key that became common) marks the identity
for review, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.cluster import rows as identity_rows
from decnet.cluster.graph import UnionFind, link_strong, link_weak
from decnet.cluster.keys import COMPARED, STRONG, WEAK, compared, kind_of
from decnet.cluster.merged import Outcome, chunks, home_of
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, ClusterEvidence, ClusterKey

BATCH = 200
PERSON = (
    col(Attacker.uuid),
    col(Attacker.ip),
    col(Attacker.identity_id),
    col(Attacker.first_seen),
    col(Attacker.last_seen),
)


@dataclass(frozen=True)
class Bucket:
    """A key's members before and after this batch."""

    before: int
    after: int
    example_ip: str


async def place(session: AsyncSession, bucket_most: int, most: int = BATCH) -> Outcome:
    """Place the next addresses, in the caller's transaction."""
    people = {row.ip: row for row in await _waiting(session, most)}
    if not people:
        return Outcome()
    held = await held_keys(session, people)
    fresh: dict[str, list[str]] = {}
    for ip in people:
        for key, placed in held.get(ip, {}).items():
            if not placed:
                fresh.setdefault(key, []).append(ip)
    batch = Batch(session, bucket_most, people, held)
    await batch.link(fresh)
    outcome = Outcome(len(people))
    await identity_rows.apply(
        session, list(people.values()), batch.labels, batch.sets, batch.review, outcome
    )
    return outcome


async def _waiting(session: AsyncSession, most: int) -> list[Any]:
    new = select(*PERSON).where(col(Attacker.identity_id).is_(None)).limit(most)
    found = {row.uuid: row for row in (await session.execute(new)).all()}
    if len(found) < most:
        changed = (
            select(*PERSON)
            .join(ClusterEvidence, col(ClusterEvidence.attacker_ip) == col(Attacker.ip))
            .where(col(ClusterEvidence.placed).is_(False))
            .distinct()
            .limit(most - len(found))
        )
        found |= {row.uuid: row for row in (await session.execute(changed)).all()}
    return list(found.values())


async def held_keys(
    session: AsyncSession, ips: Iterable[str], kinds: Collection[str] = ()
) -> dict[str, dict[str, bool]]:
    """ip -> key -> whether it is placed."""
    held: dict[str, dict[str, bool]] = {}
    for part in chunks(list(ips)):
        statement = select(
            col(ClusterEvidence.attacker_ip), col(ClusterEvidence.key), col(ClusterEvidence.placed)
        ).where(col(ClusterEvidence.attacker_ip).in_(part))
        if kinds:
            statement = statement.where(col(ClusterEvidence.kind).in_(kinds))
        for ip, key, placed in await session.execute(statement):
            held.setdefault(ip, {})[key] = placed
    return held


class Batch:
    """One batch on its way: labels are identities' uuids, or homes of the new."""

    def __init__(
        self,
        session: AsyncSession,
        bucket_most: int,
        people: dict[str, Any],
        held: dict[str, dict[str, bool]],
    ) -> None:
        self._session = session
        self._most = bucket_most
        self._people = people
        self._held = held
        self.labels = {ip: row.identity_id or home_of(row.uuid) for ip, row in people.items()}
        self.sets = UnionFind()
        self.review: set[str] = set()

    async def link(self, fresh: dict[str, list[str]]) -> None:
        """Take the new evidence into account: key -> addresses."""
        await self._mark_placed()
        buckets = await self._grow(fresh)
        self._review_veto(fresh)
        weak = {key for key in fresh if kind_of(key) in WEAK}
        for ip in {ip for key in fresh if kind_of(key) in COMPARED for ip in fresh[key]}:
            # A fingerprint may agree with those of others who have the same payload.
            weak |= {key for key in self._held[ip] if kind_of(key) in WEAK}
        buckets |= await self._buckets(weak - buckets.keys())
        await self._review_common(fresh, buckets)
        strong = [k for k in fresh if kind_of(k) in STRONG and buckets[k].after <= self._most]
        await self._learn_labels({buckets[key].example_ip for key in strong})
        # The example's row may have been deleted: then all that are left of the bucket.
        orphaned = [key for key in strong if buckets[key].example_ip not in self.labels]
        left = await self._members(orphaned)
        await self._learn_labels({ip for ips in left.values() for ip in ips})
        for key in strong:
            ips = (buckets[key].example_ip, *fresh[key], *left.get(key, ()))
            link_strong(self.sets, self._labels_of(ips))
        await self._link_weak([k for k in weak if 2 <= buckets[k].after <= self._most])

    async def _link_weak(self, keys: list[str]) -> None:
        members = await self._members(keys)
        everyone = {ip for ips in members.values() for ip in ips}
        await self._learn_labels(everyone)
        held = await held_keys(self._session, everyone - self._held.keys(), COMPARED)
        for ips in members.values():
            link_weak(
                self.sets,
                (
                    (self.labels[ip], compared(self._held.get(ip) or held.get(ip) or ()))
                    for ip in ips
                ),
            )

    def _review_veto(self, fresh: dict[str, list[str]]) -> None:
        """An address with a kind of fingerprint that it had not: it can be told apart now."""
        for key, ips in fresh.items():
            if kind_of(key) not in COMPARED:
                continue
            for ip in ips:
                old = {k for k, placed in self._held[ip].items() if placed}
                is_first = kind_of(key) not in map(kind_of, old)
                if is_first and any(kind_of(k) in WEAK for k in old):
                    self.review.add(self.labels[ip])

    async def _review_common(self, fresh: dict[str, list[str]], buckets: dict[str, Bucket]) -> None:
        """Keys that link nobody from now on."""
        lost = [k for k in fresh if buckets[k].before <= self._most < buckets[k].after]
        lost = [key for key in lost if kind_of(key) in (*STRONG, *WEAK) and buckets[key].before > 1]
        for ips in (await self._members(lost)).values():
            await self._learn_labels(ips)
            self.review |= set(self._labels_of(ips))

    def _labels_of(self, ips: Iterable[str]) -> list[str]:
        return [self.labels[ip] for ip in ips if ip in self.labels]

    async def _mark_placed(self) -> None:
        for part in chunks(list(self._people)):
            await self._session.execute(
                update(ClusterEvidence)
                .where(
                    col(ClusterEvidence.attacker_ip).in_(part),
                    col(ClusterEvidence.placed).is_(False),
                )
                .values(placed=True)
            )

    async def _grow(self, fresh: dict[str, list[str]]) -> dict[str, Bucket]:
        known = await self._buckets(fresh)
        grown = {}
        for key, ips in fresh.items():
            before = known.get(key) or Bucket(0, 0, ips[0])
            grown[key] = Bucket(before.after, before.after + len(ips), before.example_ip)
        rows = [
            {"key": key, "members": bucket.after, "example_ip": bucket.example_ip}
            for key, bucket in grown.items()
        ]
        for at in range(0, len(rows), 200):
            await self._session.execute(
                upsert(
                    self._session,
                    ClusterKey,
                    rows[at : at + 200],
                    key=["key"],
                    update=["members"],
                )
            )
        return grown

    async def _buckets(self, keys: Iterable[str]) -> dict[str, Bucket]:
        found = {}
        for part in chunks(list(keys)):
            statement = select(
                col(ClusterKey.key), col(ClusterKey.members), col(ClusterKey.example_ip)
            ).where(col(ClusterKey.key).in_(part))
            for key, members, example in await self._session.execute(statement):
                found[key] = Bucket(members, members, example)
        return found

    async def _members(self, keys: list[str]) -> dict[str, list[str]]:
        """Placed addresses of each key."""
        found: dict[str, list[str]] = {}
        for part in chunks(keys):
            statement = select(col(ClusterEvidence.key), col(ClusterEvidence.attacker_ip)).where(
                col(ClusterEvidence.key).in_(part), col(ClusterEvidence.placed).is_(True)
            )
            for key, ip in await self._session.execute(statement):
                found.setdefault(key, []).append(ip)
        return found

    async def _learn_labels(self, ips: Iterable[str]) -> None:
        for part in chunks([ip for ip in ips if ip not in self.labels]):
            statement = select(col(Attacker.ip), col(Attacker.identity_id), col(Attacker.uuid))
            for ip, identity, uuid in await self._session.execute(
                statement.where(col(Attacker.ip).in_(part))
            ):
                self.labels[ip] = identity or home_of(uuid)
