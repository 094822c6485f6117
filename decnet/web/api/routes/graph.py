"""/graph: campaigns, their identities, and the addresses of these, to be drawn."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlmodel import col

from decnet.db.tables import Attacker, AttackerIdentity, Campaign
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Shape, Text

router = APIRouter(tags=["groups"])
IDENTITIES_MOST = 300
ADDRESSES_EACH = 12
"""Of one identity; how many there are beyond is a number."""
SHOWN: tuple[Any, ...] = (
    *(Attacker.uuid, Attacker.ip, Attacker.identity_id),
    *(Attacker.country_code, Attacker.event_count),
)


class CampaignNode(Shape):
    """A campaign."""

    uuid: str
    confidence: float


class IdentityNode(BaseModel):
    """An identity, and by how many values of which kind it is known ("ja3": 2)."""

    uuid: str
    campaign_id: str | None
    confidence: float
    known_by: dict[str, int]
    addresses: int
    left_out: int = Field(description="addresses that are not in this answer")


class AddressNode(Shape):
    """An address of an identity."""

    uuid: str
    ip: str
    identity_id: str
    country_code: str | None
    event_count: int


class Graph(BaseModel):
    """Nodes; each names the one that it belongs to."""

    campaigns: list[CampaignNode]
    identities: list[IdentityNode]
    addresses: list[AddressNode]
    left_out: int = Field(description="identities that are not in this answer, the oldest")


@router.get("/graph")
async def graph(
    ctx: Ctx,
    caller: Caller,
    campaign: Text = None,
    limit: Annotated[int, Query(ge=1, le=IDENTITIES_MOST)] = 100,
) -> Graph:
    """Who works with whom: the identities that were seen last, `limit` at most.

    Merged identities are in it as what they were merged into.
    """
    living: list[Any] = [col(AttackerIdentity.merged_into_uuid).is_(None)]
    if campaign is not None:
        living.append(col(AttackerIdentity.campaign_id) == campaign)
    # Those of a campaign first: they are what a graph is for.
    order = (col(AttackerIdentity.campaign_id).is_(None), col(AttackerIdentity.last_seen_at).desc())
    async with ctx.db.session() as session:
        total = await session.scalar(select(func.count(col(AttackerIdentity.uuid))).where(*living))
        rows = await session.scalars(
            select(AttackerIdentity).where(*living).order_by(*order).limit(limit)
        )
        identities = list(rows)
        wanted = [row.uuid for row in identities]
        rank: Any = func.row_number().over(
            partition_by=col(Attacker.identity_id), order_by=col(Attacker.last_seen).desc()
        )
        ranked = (
            select(*(col(column) for column in SHOWN), rank.label("rank"))
            .where(col(Attacker.identity_id).in_(wanted))
            .subquery()
        )
        addresses = (
            await session.execute(
                select(ranked).where(ranked.c.rank <= ADDRESSES_EACH).order_by(ranked.c.ip)
            )
        ).all()
        counts: Any = await session.execute(
            select(col(Attacker.identity_id), func.count(col(Attacker.uuid)))
            .where(col(Attacker.identity_id).in_(wanted))
            .group_by(col(Attacker.identity_id))
        )
        known = dict(tuple(row) for row in counts.all())
        names = {row.campaign_id for row in identities if row.campaign_id}
        campaigns = await session.scalars(
            select(Campaign).where(col(Campaign.uuid).in_(names)).order_by(col(Campaign.uuid))
        )
        return Graph(
            campaigns=[CampaignNode.model_validate(row) for row in campaigns],
            identities=_nodes(identities, known, Counter(row.identity_id for row in addresses)),
            addresses=[AddressNode.model_validate(row) for row in addresses],
            left_out=max(0, (total or 0) - len(identities)),
        )


def _nodes(
    rows: list[AttackerIdentity], known: dict[str, int], shown: Counter[str]
) -> list[IdentityNode]:
    return [
        IdentityNode(
            uuid=row.uuid,
            campaign_id=row.campaign_id,
            confidence=row.confidence,
            known_by=_known_by(row),
            addresses=known.get(row.uuid, 0),
            left_out=known.get(row.uuid, 0) - shown[row.uuid],
        )
        for row in rows
    ]


def _known_by(row: AttackerIdentity) -> dict[str, int]:
    kinds = {
        "ja3": row.ja3_hashes,
        "hassh": row.hassh_hashes,
        "ja4": row.ja4_hashes,
        "payloads": row.payload_hashes,
        "c2": row.c2_endpoints,
    }
    return {kind: len(values) for kind, values in kinds.items() if values}
