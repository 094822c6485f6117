"""/deckies: the estate as wanted and as seen, its changes, and what makes it look lived in."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.db.tables import DeckyLifecycle, DeckyMutation, FleetDecky, OrchestratorEvent
from decnet.decoys.catalogue import KINDS
from decnet.estate import mutations
from decnet.web.api.guard import Admin, Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Shape, Text, found, keyset

router = APIRouter(tags=["estate"])
Name = Annotated[str, Path(max_length=128)]
DECKIES_MOST = 1000


class Decky(Shape):
    """A decky as it is wanted (`services`), and as it was last seen (`state`)."""

    host_uuid: str
    name: str
    archetype: str
    services: list[str]
    decky_ip: str | None
    state: str
    last_error: str | None
    mutate_interval_min: int
    mutated_at: dt.datetime | None
    last_seen: dt.datetime | None
    decky_config: dict[str, Any]


class Mutation(Shape):
    """A wanted change of a decky's services."""

    id: int
    decky_name: str
    trigger: str
    actor: str
    state: str
    old_services: list[str]
    new_services: list[str]
    tries: int
    reason: str | None
    requested_at: dt.datetime
    applied_at: dt.datetime | None


class Lifecycle(Shape):
    """What became of one operation on a decky."""

    id: str
    decky_name: str
    operation: str
    status: str
    error: str | None
    started_at: dt.datetime
    completed_at: dt.datetime | None


class Life(Shape):
    """One piece of life that the orchestrator put into the estate."""

    id: int
    ts: dt.datetime
    kind: str
    protocol: str
    action: str
    src: str | None
    dst: str
    success: bool
    payload: dict[str, Any]


class MutateRequest(BaseModel):
    """Other services for a decky; none named: the mutator chooses."""

    services: list[str] = Field(default_factory=list, max_length=32)


class Requested(BaseModel):
    """`id` of the request; null where one was waiting already."""

    id: int | None


@router.get("/deckies")
async def deckies(ctx: Ctx, caller: Caller) -> list[Decky]:
    """All deckies, by name."""
    async with ctx.db.session() as session:
        rows = await session.scalars(
            select(FleetDecky).order_by(col(FleetDecky.name)).limit(DECKIES_MOST)
        )
        return [Decky.model_validate(row) for row in rows]


@router.get("/deckies/{name}")
async def decky(ctx: Ctx, caller: Caller, name: Name) -> Decky:
    """One decky."""
    async with ctx.db.session() as session:
        row = await session.scalar(select(FleetDecky).where(col(FleetDecky.name) == name))
    return Decky.model_validate(found(row, f"decky {name!r}"))


@router.post("/deckies/{name}/mutate", status_code=202)
async def mutate(ctx: Ctx, caller: Admin, name: Name, body: MutateRequest) -> Requested:
    """Ask for other services; the worker `mutate` applies it."""
    unknown = [kind for kind in body.services if kind not in KINDS]
    if unknown:
        raise HTTPException(
            422, f"no such service: {', '.join(unknown)[:200]}; there are: {', '.join(KINDS)}"
        )

    async def work(session: AsyncSession) -> int | None:
        row = await session.scalar(select(FleetDecky).where(col(FleetDecky.name) == name))
        host = found(row, f"decky {name!r}").host_uuid
        return await mutations.request(
            session, host, name, trigger="operator", actor=caller.username, services=body.services
        )

    number = await ctx.db.write(work)
    ctx.bus.publish(topics.mutate_request(name), {"decky": name, "actor": caller.username})
    return Requested(id=number)


@router.get("/mutations")
async def changes(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, decky: Text = None
) -> Page[Mutation]:
    """Wanted changes of services, newest first."""
    statement = select(DeckyMutation)
    if decky is not None:
        statement = statement.where(col(DeckyMutation.decky_name) == decky)
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, [col(DeckyMutation.id)], limit, cursor)
    return Page(data=[Mutation.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/lifecycle")
async def lifecycle(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None
) -> Page[Lifecycle]:
    """What became of operations on deckies, newest first."""
    keys = [col(DeckyLifecycle.started_at), col(DeckyLifecycle.id)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, select(DeckyLifecycle), keys, limit, cursor)
    return Page(data=[Lifecycle.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/orchestrator/events")
async def life(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, decky: Text = None
) -> Page[Life]:
    """What the orchestrator did, newest first."""
    statement = select(OrchestratorEvent)
    if decky is not None:
        statement = statement.where(col(OrchestratorEvent.dst) == decky)
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, [col(OrchestratorEvent.id)], limit, cursor)
    return Page(data=[Life.model_validate(r) for (r,) in rows], limit=limit, next=after)
