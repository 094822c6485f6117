"""/identities and /campaigns: who is behind the addresses, and who works together."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, HTTPException, Path
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.tables import Attacker, AttackerIdentity, AttributionState, Campaign
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Shape, found, keyset
from decnet.web.api.routes.attackers import AttackerRow

router = APIRouter(tags=["groups"])
Uuid = Annotated[str, Path(max_length=64)]
HOPS_MOST = 8
MEMBERS_MOST = 200
G = TypeVar("G", AttackerIdentity, Campaign)


class IdentityRow(Shape):
    """One actor behind several addresses."""

    uuid: str
    campaign_id: str | None
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    confidence: float
    observation_count: int
    ja3_hashes: list[str]
    hassh_hashes: list[str]
    ja4_hashes: list[str]
    payload_hashes: list[str]
    c2_endpoints: list[str]
    merged_into_uuid: str | None
    notes: str | None


class Habit(Shape):
    """How steady one habit of an identity is."""

    primitive: str
    current_value: Any
    state: str
    confidence: float
    observation_count: int
    last_change_ts: dt.datetime


class IdentityDetail(IdentityRow):
    """An identity with its addresses (the newest) and habits."""

    attackers: list[AttackerRow] = Field(default_factory=list)
    habits: list[Habit] = Field(default_factory=list)


class CampaignRow(Shape):
    """Identities that work together."""

    uuid: str
    first_seen_at: dt.datetime
    last_seen_at: dt.datetime
    confidence: float
    identity_count: int
    payload_hashes: list[str]
    c2_endpoints: list[str]
    merged_into_uuid: str | None
    notes: str | None


class CampaignDetail(CampaignRow):
    """A campaign with its identities (the newest)."""

    identities: list[IdentityRow] = Field(default_factory=list)


@router.get("/identities")
async def identities(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, merged: bool = False
) -> Page[IdentityRow]:
    """Identities, last seen first; merged ones only where asked for."""
    statement = select(AttackerIdentity)
    if not merged:
        statement = statement.where(col(AttackerIdentity.merged_into_uuid).is_(None))
    keys = [col(AttackerIdentity.last_seen_at), col(AttackerIdentity.uuid)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, keys, limit, cursor)
    return Page(data=[IdentityRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/identities/{uuid}")
async def identity(ctx: Ctx, caller: Caller, uuid: Uuid) -> IdentityDetail:
    """One identity; one that was merged answers as the identity that it is a part of."""
    async with ctx.db.session() as session:
        row = await living(session, AttackerIdentity, uuid)
        addresses = await session.scalars(
            select(Attacker)
            .where(col(Attacker.identity_id) == row.uuid)
            .order_by(col(Attacker.last_seen).desc())
            .limit(MEMBERS_MOST)
        )
        habits = await session.scalars(
            select(AttributionState)
            .where(col(AttributionState.identity_uuid) == row.uuid)
            .order_by(col(AttributionState.primitive))
            .limit(MEMBERS_MOST)
        )
        detail = IdentityDetail.model_validate(row)
        detail.attackers = [AttackerRow.model_validate(a) for a in addresses]
        detail.habits = [Habit.model_validate(h) for h in habits]
    return detail


@router.get("/campaigns")
async def campaigns(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, merged: bool = False
) -> Page[CampaignRow]:
    """Campaigns, last seen first; merged and dissolved ones only where asked for."""
    statement = select(Campaign)
    if not merged:
        statement = statement.where(
            col(Campaign.merged_into_uuid).is_(None), col(Campaign.identity_count) > 0
        )
    keys = [col(Campaign.last_seen_at), col(Campaign.uuid)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, keys, limit, cursor)
    return Page(data=[CampaignRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/campaigns/{uuid}")
async def campaign(ctx: Ctx, caller: Caller, uuid: Uuid) -> CampaignDetail:
    """One campaign; one that was merged answers as the campaign that it is a part of."""
    async with ctx.db.session() as session:
        row = await living(session, Campaign, uuid)
        members = await session.scalars(
            select(AttackerIdentity)
            .where(
                col(AttackerIdentity.campaign_id) == row.uuid,
                col(AttackerIdentity.merged_into_uuid).is_(None),
            )
            .order_by(col(AttackerIdentity.last_seen_at).desc())
            .limit(MEMBERS_MOST)
        )
        detail = CampaignDetail.model_validate(row)
        detail.identities = [IdentityRow.model_validate(m) for m in members]
    return detail


async def living(session: AsyncSession, table: type[G], uuid: str) -> G:
    """The row behind a uuid, at the end of its chain of merges.

    Raises:
        HTTPException: 404 none; 500 the chain has no end.
    """
    what = "identity" if table is AttackerIdentity else "campaign"
    row = found(await session.get(table, uuid), f"{what} {uuid!r}")
    for _ in range(HOPS_MOST):
        if row.merged_into_uuid is None:
            return row
        row = found(await session.get(table, row.merged_into_uuid), f"{what} {uuid!r}")
    raise HTTPException(500, f"{what} {uuid!r}: its merges go round in a circle")
