"""/canary: bait tokens, and every time that one rang."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlmodel import col

from decnet.bus import topics
from decnet.canary import store
from decnet.canary.settings import CanarySettings
from decnet.context import Context
from decnet.db.tables import CanaryToken, CanaryTrigger
from decnet.web.api.guard import Admin, Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Shape, Text, keyset

router = APIRouter(prefix="/canary", tags=["canary"])
Name = Annotated[str, Path(max_length=128)]


class Token(Shape):
    """A bait token; `url` and `dns_name` are what rings."""

    uuid: str
    name: str
    kind: str
    decky_name: str | None
    generator: str | None
    instrumenter: str | None
    placement_path: str | None
    callback_token: str
    state: str
    revoked_reason: str | None
    trigger_count: int
    created_at: dt.datetime
    revoked_at: dt.datetime | None
    last_triggered_at: dt.datetime | None
    url: str | None = None
    dns_name: str | None = None


class Trigger(Shape):
    """One ring."""

    id: int
    token_uuid: str
    occurred_at: dt.datetime
    src_ip: str
    user_agent: str | None
    request_path: str | None
    dns_qname: str | None
    raw_headers: dict[str, str]
    fingerprint: dict[str, Any] | None


class NewToken(BaseModel):
    """A token to be put somewhere by hand: into a file, a page, a configuration."""

    name: str = Field(min_length=1, max_length=128)
    kind: Literal["http", "dns", "aws_passive"] = "http"
    decky_name: str | None = Field(None, max_length=128)
    placement_path: str | None = Field(None, max_length=1024)


class Revocation(BaseModel):
    """Why a token is to count no more."""

    reason: str = Field("by hand", min_length=1, max_length=200)


@router.get("/tokens")
async def tokens(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, state: Text = None
) -> Page[Token]:
    """Tokens, newest first."""
    statement = select(CanaryToken)
    if state is not None:
        statement = statement.where(col(CanaryToken.state) == state)
    keys = [col(CanaryToken.created_at), col(CanaryToken.uuid)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, keys, limit, cursor)
    return Page(data=[shown(ctx, row) for (row,) in rows], limit=limit, next=after)


@router.post("/tokens", status_code=201)
async def add(ctx: Ctx, caller: Admin, body: NewToken) -> Token:
    """Make a token; put its `url` or `dns_name` where only an intruder looks."""
    token = await ctx.db.write(
        lambda session: store.add(
            session, body.name, kind=body.kind, decky=body.decky_name, path=body.placement_path
        )
    )
    told = {"token_id": token.uuid, "decky_name": token.decky_name}
    ctx.bus.publish(topics.canary(token.uuid, "placed"), told)
    return shown(ctx, token)


@router.get("/tokens/{name}")
async def one(ctx: Ctx, caller: Caller, name: Name) -> Token:
    """One token, by uuid, slug or name."""
    async with ctx.db.session() as session:
        return shown(ctx, await store.find(session, name))


@router.post("/tokens/{name}/revoke")
async def revoke(ctx: Ctx, caller: Admin, name: Name, body: Revocation) -> Token:
    """Let its rings count no more. Visitors notice nothing."""
    token = await ctx.db.write(lambda session: store.revoke(session, name, body.reason))
    told = {"token_id": token.uuid, "reason": token.revoked_reason}
    ctx.bus.publish(topics.canary(token.uuid, "revoked"), told)
    return shown(ctx, token)


@router.get("/triggers")
async def triggers(
    ctx: Ctx, caller: Caller, limit: Limit = 50, cursor: Cursor = None, token: Text = None
) -> Page[Trigger]:
    """What rang, newest first; `token` is a uuid."""
    statement = select(CanaryTrigger)
    if token is not None:
        statement = statement.where(col(CanaryTrigger.token_uuid) == token)
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, [col(CanaryTrigger.id)], limit, cursor)
    return Page(data=[Trigger.model_validate(r) for (r,) in rows], limit=limit, next=after)


def shown(ctx: Context, row: CanaryToken) -> Token:
    """A row with the addresses that ring it."""
    settings = CanarySettings.from_env(ctx.settings.state_dir)
    token = Token.model_validate(row)
    token.url = f"{settings.http_base}/c/{row.callback_token}"
    if settings.dns_zone:
        token.dns_name = f"{row.callback_token}.{settings.dns_zone}"
    return token
