"""From the tables to a campaign's nodes: a batch of identities at a time, bounded each."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.cluster.campaigns import Node, Stay, epoch
from decnet.cluster.keys import WEAK
from decnet.cluster.phases import phase_of_tactic
from decnet.db import cursors
from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    AttackerIdentity,
    ClusterEvidence,
    TtpTag,
)

CURSOR = "campaign_tag_cursor"
TAGS = 500
INFRA_MOST, MEMBERS_MOST, STAYS_MOST, SET_MOST = 256, 200, 256, 64


async def mark_tagged(session: AsyncSession, most: int = TAGS) -> int:
    """Mark the identities that the next tags of `ttp_tag` are about; how many tags."""
    place = await cursors.get(session, CURSOR)
    statement = (
        select(
            *(col(TtpTag.uuid), col(TtpTag.created_at), col(TtpTag.identity_uuid)),
            col(Attacker.identity_id),
        )
        .outerjoin(Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid))
        .order_by(col(TtpTag.created_at), col(TtpTag.uuid))
        .limit(most)
    )
    if place is not None:
        since = dt.datetime.fromisoformat(place["created_at"])
        statement = statement.where(
            or_(
                col(TtpTag.created_at) > since,
                and_(col(TtpTag.created_at) == since, col(TtpTag.uuid) > place["uuid"]),
            )
        )
    rows = (await session.execute(statement)).all()
    if not rows:
        return 0
    about = {uuid for row in rows for uuid in (row.identity_uuid, row.identity_id) if uuid}
    winners = select(col(AttackerIdentity.merged_into_uuid)).where(
        col(AttackerIdentity.uuid).in_(about), col(AttackerIdentity.merged_into_uuid).is_not(None)
    )
    about |= {uuid for uuid in (await session.execute(winners)).scalars() if uuid}
    await session.execute(
        update(AttackerIdentity)
        .where(col(AttackerIdentity.uuid).in_(about))
        .values(campaign_dirty=True)
    )
    last = rows[-1]
    await cursors.set(
        session, CURSOR, {"created_at": last.created_at.isoformat(), "uuid": last.uuid}
    )
    return len(rows)


async def read_nodes(session: AsyncSession, rows: list[AttackerIdentity]) -> list[Node]:
    """The nodes of living identities."""
    uuids = [row.uuid for row in rows]
    infra = await _infra(session, uuids)
    members = await _members(session, uuids)
    stays = await _stays(session, uuids)
    return [
        Node(
            uuid=row.uuid,
            first=epoch(row.first_seen_at),
            last=epoch(row.last_seen_at),
            infra=frozenset(infra.get(row.uuid, [])[:INFRA_MOST]),
            simhash=int(row.kd_digraph_simhash or "0", 16),
            stays=tuple(stays.get(row.uuid, [])[:STAYS_MOST]),
            **members.get(row.uuid, {}),
        )
        for row in rows
    ]


async def _infra(session: AsyncSession, uuids: list[str]) -> dict[str, list[str]]:
    statement = (
        select(col(Attacker.identity_id), col(ClusterEvidence.key))
        .join(ClusterEvidence, col(ClusterEvidence.attacker_ip) == col(Attacker.ip))
        .where(col(Attacker.identity_id).in_(uuids), col(ClusterEvidence.kind).in_(WEAK))
        .distinct()
        .order_by(col(ClusterEvidence.key))
        .limit(INFRA_MOST * len(uuids))
    )
    found: dict[str, list[str]] = {}
    for identity, key in await session.execute(statement):
        found.setdefault(str(identity), []).append(key)
    return found


async def _members(session: AsyncSession, uuids: list[str]) -> dict[str, dict[str, Any]]:
    rank = (
        func.row_number()
        .over(partition_by=col(Attacker.identity_id), order_by=col(Attacker.uuid))
        .label("rank")
    )
    ranked = (
        select(
            *(col(Attacker.identity_id), col(Attacker.asn), col(Attacker.deckies)),
            *(col(AttackerBehavior.tool_guesses), rank),
        )
        .outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
        .where(col(Attacker.identity_id).in_(uuids))
        .subquery()
    )
    found: dict[str, tuple[set[int], set[str], set[str]]] = {}
    statement = select(ranked).where(ranked.c.rank <= MEMBERS_MOST)
    for row in (await session.execute(statement)).all():
        asns, tools, deckies = found.setdefault(row.identity_id, (set(), set(), set()))
        if row.asn is not None:
            asns.add(row.asn)
        tools.update(row.tool_guesses or ())
        deckies.update(row.deckies or ())
    return {
        identity: {
            "asns": frozenset(sorted(asns)[:SET_MOST]),
            "tools": frozenset(sorted(tools)[:SET_MOST]),
            "deckies": frozenset(sorted(deckies)[:SET_MOST]),
        }
        for identity, (asns, tools, deckies) in found.items()
    }


async def _stays(session: AsyncSession, uuids: list[str]) -> dict[str, list[Stay]]:
    """First and last tactics by host; tags of an identity itself and of its addresses."""
    found: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    by_address = (
        _spans(col(Attacker.identity_id))
        .join(Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid))
        .where(col(Attacker.identity_id).in_(uuids))
    )
    # Tags of an identity that was merged since are its winner's.
    owner = func.coalesce(col(AttackerIdentity.merged_into_uuid), col(AttackerIdentity.uuid))
    by_identity = (
        _spans(owner)
        .join(AttackerIdentity, col(AttackerIdentity.uuid) == col(TtpTag.identity_uuid))
        .where(
            or_(
                col(AttackerIdentity.uuid).in_(uuids),
                col(AttackerIdentity.merged_into_uuid).in_(uuids),
            ),
            owner.in_(uuids),
            col(TtpTag.attacker_uuid).is_(None),
        )
    )
    for statement in (by_address, by_identity):
        for identity, decky, tactic, first, last in await session.execute(statement):
            span = (phase_of_tactic(tactic), epoch(first), epoch(last))
            found.setdefault((identity, decky), []).append(span)
    stays: dict[str, list[Stay]] = {}
    for (identity, decky), spans in sorted(found.items()):
        began, ended = min(s[1] for s in spans), max(s[2] for s in spans)
        begins = frozenset(phase for phase, first, _ in spans if first == began)
        ends = frozenset(phase for phase, _, last in spans if last == ended)
        stays.setdefault(identity, []).append(Stay(decky, began, begins, ended, ends))
    return stays


def _spans(whose: Any) -> Any:
    return (
        select(
            *(whose, col(TtpTag.decky_id), col(TtpTag.tactic)),
            *(func.min(col(TtpTag.observed_at)), func.max(col(TtpTag.observed_at))),
        )
        .where(col(TtpTag.decky_id).is_not(None))
        .group_by(whose, col(TtpTag.decky_id), col(TtpTag.tactic))
    )
