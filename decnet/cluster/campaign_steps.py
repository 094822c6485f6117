"""Campaigns grow and merge with each batch of changed identities, and are reviewed for splits.

The queue is `attacker_identities.campaign_dirty`, cleared in the transaction that took the
change into account. A campaign is named by the smallest home among its identities (see `merged`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.cluster import campaign_index as index
from decnet.cluster.campaign_records import read_nodes
from decnet.cluster.campaigns import (
    BLOCK_MOST,
    THRESHOLD,
    Node,
    confidence,
    counterparts,
    keys_of,
    partition,
    weigh,
)
from decnet.cluster.graph import UnionFind
from decnet.cluster.keys import kind_of, value_of
from decnet.cluster.merged import Outcome, campaign_home_of, chunks, point
from decnet.db.tables import AttackerIdentity, Campaign, utc_now

BATCH = 50
LIST_MOST = 64
SAMPLE = 16
MEMBERS_MOST = 5_000
"""Identities of a campaign that is still taken apart, and whose sums are renewed."""


async def renew(session: AsyncSession, most: int = BATCH, block_most: int = BLOCK_MOST) -> Outcome:
    """Take the next changed identities into account, in the caller's transaction."""
    rows: list[AttackerIdentity] = list((await session.execute(_marked(most))).scalars())
    outcome = Outcome(len(rows))
    if not rows:
        return outcome
    living = [r for r in rows if r.merged_into_uuid is None and r.observation_count > 0]
    made: dict[str, Node | None] = {row.uuid: None for row in rows}
    made |= {node.uuid: node for node in await read_nodes(session, living)}
    changed, shaken = await index.store(session, made, block_most)
    # An edge may be gone where a record changed, or a key became common.
    lost = {label for label in (await index.labels(session, changed | shaken)).values() if label}
    await _set_review(session, lost)
    for row in rows:
        row.campaign_dirty = False
        if made[row.uuid] is None:
            row.campaign_id = None
    await session.flush()
    touched = {uuid for uuid in changed | shaken if made.get(uuid, ...) is not None}
    for part in chunks(sorted(touched)):
        await _link(session, part, block_most, outcome)
    return outcome


def _marked(most: int) -> Any:
    marked = col(AttackerIdentity.campaign_dirty).is_(True)
    return select(AttackerIdentity).where(marked).limit(most)


async def skip_one(session: AsyncSession) -> None:
    """Set an identity aside that nothing can be made of, until it changes again."""
    for row in (await session.execute(_marked(1))).scalars():
        row.campaign_dirty = False


async def _set_review(session: AsyncSession, campaigns: Collection[str]) -> None:
    for part in chunks(sorted(campaigns)):
        await session.execute(
            update(Campaign).where(col(Campaign.uuid).in_(part)).values(review=True)
        )


async def _link(session: AsyncSession, uuids: list[str], block_most: int, outcome: Outcome) -> None:
    """Edges of these identities to all others; only ever merges."""
    nodes = await index.read_nodes(session, uuids)
    own = {uuid: keys_of(node) for uuid, node in nodes.items()}
    wanted = {c for keys in own.values() for key in keys for c in (key, *counterparts(key))}
    common = await index.common_keys(session, wanted, block_most)
    by_key = await index.members(session, wanted - common)
    edges: list[tuple[str, str]] = []
    others: dict[str, Node] = dict(nodes)
    for uuid in sorted(nodes):
        near = {
            other
            for key in own[uuid] - common
            for counterpart in counterparts(key)
            for other in by_key.get(counterpart, ())
        } - {uuid}
        if len(others) > MEMBERS_MOST:
            others = dict(nodes)
        others |= await index.read_nodes(session, near - others.keys())
        # A key of the other's that is common counts for neither.
        theirs = {k for other in near if other in others for k in keys_of(others[other])}
        rare = await index.common_keys(session, theirs - wanted, block_most) | common
        edges += [
            (uuid, other)
            for other in sorted(near)
            if other in others and weigh(nodes[uuid], others[other], rare) >= THRESHOLD
        ]
    if edges:
        await _join(session, edges, outcome)


async def _join(session: AsyncSession, edges: list[tuple[str, str]], outcome: Outcome) -> None:
    ends = {uuid for edge in edges for uuid in edge}
    campaign_of = await index.labels(session, ends)
    label = {uuid: campaign_of.get(uuid) or campaign_home_of(uuid) for uuid in ends}
    sets = UnionFind()
    for one, other in edges:
        sets.union(label[one], label[other])
    new: dict[str, list[str]] = {}
    for uuid in sorted(ends):
        if campaign_of.get(uuid) is None:
            new.setdefault(sets.find(label[uuid]), []).append(uuid)
    groups = sets.groups()
    known = await _load(session, {sets.find(x) for x in label.values()} | set(label.values()))
    real, touched = set(campaign_of.values()), set()
    for root in sorted({sets.find(x) for x in label.values()}):
        losers = sorted(x for x in groups.get(root, ()) if x != root and x in known and x in real)
        if not losers and root not in new:
            continue
        touched.add(root)
        is_new = root not in known or root not in real
        if root not in known:
            known[root] = Campaign(uuid=root, first_seen_at=utc_now(), last_seen_at=utc_now())
            session.add(known[root])
        known[root].merged_into_uuid = None
        await session.flush()
        await assign(session, new.get(root, []), root, outcome, is_new)
        for loser in losers:
            known[root].review = known[root].review or known[loser].review
            known[loser].review, known[loser].identity_count = False, 0
            outcome.tell(topics.CAMPAIGN_MERGED, winner_uuid=root, loser_uuid=loser)
        await session.flush()
        for part in chunks(losers):
            await session.execute(
                update(AttackerIdentity)
                .where(col(AttackerIdentity.campaign_id).in_(part))
                .values(campaign_id=root)
            )
        await point(session, Campaign, losers, root)
    await refresh(session, [known[root] for root in sorted(touched)])


async def assign(
    session: AsyncSession, uuids: list[str], campaign: str, outcome: Outcome, is_new: bool
) -> None:
    """Identities join a campaign."""
    if not uuids:
        return
    for part in chunks(uuids):
        await session.execute(
            update(AttackerIdentity)
            .where(col(AttackerIdentity.uuid).in_(part))
            .values(campaign_id=campaign)
        )
    topic = topics.CAMPAIGN_FORMED if is_new else topics.CAMPAIGN_IDENTITY
    outcome.tell(topic, campaign_uuid=campaign, identity_uuids=uuids)
    for uuid in uuids:
        outcome.tell(topics.IDENTITY_CAMPAIGN, identity_uuid=uuid, campaign_uuid=campaign)


@dataclass
class Plan:
    """What becomes of a campaign: name of each part -> its identities; `alone` are in none."""

    campaign: str
    parts: dict[str, list[str]] = field(default_factory=dict)
    alone: list[str] = field(default_factory=list)
    too_big: bool = False


async def plan(session: AsyncSession, block_most: int = BLOCK_MOST) -> Plan | None:
    """The next campaign to be reviewed; None where there is none."""
    campaign = await session.scalar(
        select(col(Campaign.uuid)).where(col(Campaign.review).is_(True)).limit(1)
    )
    if campaign is None:
        return None
    members = list(
        (
            await session.execute(
                select(col(AttackerIdentity.uuid))
                .where(col(AttackerIdentity.campaign_id) == campaign)
                .limit(MEMBERS_MOST + 1)
            )
        ).scalars()
    )
    if len(members) > MEMBERS_MOST:
        return Plan(campaign, too_big=True)
    nodes = await index.read_nodes(session, members)
    keys = {key for node in nodes.values() for key in keys_of(node)}
    common = await index.common_keys(session, keys, block_most)
    groups = await asyncio.to_thread(partition, list(nodes.values()), common)
    made = Plan(campaign, alone=sorted(set(members) - nodes.keys()))
    for group in groups:
        if len(group) > 1:
            made.parts[min(map(campaign_home_of, group))] = sorted(group)
        else:
            made.alone += group
    return made


async def split(session: AsyncSession, made: Plan) -> Outcome:
    """Carry a plan out, in the caller's transaction."""
    outcome = Outcome(1)
    rows = await _load(session, {made.campaign, *made.parts})
    former = rows[made.campaign]
    former.review, now = False, utc_now()
    if made.too_big:
        return outcome
    for part in chunks(made.alone):
        await session.execute(
            update(AttackerIdentity)
            .where(col(AttackerIdentity.uuid).in_(part))
            .values(campaign_id=None)
        )
    for uuid in sorted(made.parts):
        if uuid == made.campaign:
            continue
        if uuid not in rows:
            rows[uuid] = Campaign(uuid=uuid, first_seen_at=now, last_seen_at=now)
            session.add(rows[uuid])
        rows[uuid].merged_into_uuid = None
        await session.flush()
        for part in chunks(made.parts[uuid]):
            await session.execute(
                update(AttackerIdentity)
                .where(col(AttackerIdentity.uuid).in_(part))
                .values(campaign_id=uuid)
            )
        homes = [campaign_home_of(member) for member in made.parts[uuid]]
        await _follow(session, made.campaign, homes, uuid)
        outcome.tell(
            topics.CAMPAIGN_UNMERGED, resurrected_uuid=uuid, former_winner_uuid=made.campaign
        )
    if made.parts and made.campaign not in made.parts:
        # Its namesake left: the largest part carries on, and the old name leads there.
        heir = max(made.parts, key=lambda uuid: (len(made.parts[uuid]), uuid))
        await session.flush()
        await point(session, Campaign, [made.campaign], heir)
        former.identity_count = 0
    await refresh(session, [rows[uuid] for uuid in sorted({made.campaign, *made.parts})])
    return outcome


async def _follow(session: AsyncSession, former: str, homes: list[str], uuid: str) -> None:
    losers: list[str] = []
    for part in chunks(homes):
        statement = select(col(Campaign.uuid)).where(
            col(Campaign.uuid).in_(part), col(Campaign.merged_into_uuid) == former
        )
        losers += (await session.execute(statement)).scalars()
    await point(session, Campaign, [x for x in losers if x != uuid], uuid)


async def refresh(session: AsyncSession, campaigns: Iterable[Campaign]) -> None:
    """Renew what the campaigns' rows say of their identities."""
    for campaign in campaigns:
        members = (
            select(AttackerIdentity)
            .where(col(AttackerIdentity.campaign_id) == campaign.uuid)
            .order_by(col(AttackerIdentity.uuid))
            .limit(MEMBERS_MOST)
        )
        rows = list((await session.execute(members)).scalars())
        campaign.identity_count, campaign.updated_at = len(rows), utc_now()
        if not rows:
            continue
        campaign.first_seen_at = min(row.first_seen_at for row in rows)
        campaign.last_seen_at = max(row.last_seen_at for row in rows)
        nodes = await index.read_nodes(session, [row.uuid for row in rows[:SAMPLE]])
        campaign.confidence = confidence(nodes.values())
        infra = {key for node in nodes.values() for key in node.infra}
        for column, kind in (("payload_hashes", "payload"), ("c2_endpoints", "c2")):
            values = sorted(value_of(key) for key in infra if kind_of(key) == kind)
            setattr(campaign, column, values[:LIST_MOST])
    await session.flush()


async def _load(session: AsyncSession, uuids: Iterable[str]) -> dict[str, Campaign]:
    found: dict[str, Campaign] = {}
    for part in chunks(sorted(uuids)):
        statement = select(Campaign).where(col(Campaign.uuid).in_(part))
        found |= {row.uuid: row for row in (await session.execute(statement)).scalars()}
    return found
