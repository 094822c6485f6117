"""The FastAPI application: built once, in the floor; what differs per process is on `app.state`.

`app.state.ctx` (the worker's Context) is set before the server starts. Rows are read from the
database only: the bus merely wakes the event stream, which polls where the bus is away.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import ColumnElement, func
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from decnet.context import Context
from decnet.db.tables import Attacker, AttackerBehavior, Log, RevokedToken, User
from decnet.web.api import auth
from decnet.web.api.models import (
    AttackerPage,
    AttackerRow,
    Health,
    LogEvent,
    Login,
    LogPage,
    Token,
)

STREAM_BATCH = 200
STREAM_POLL_SECONDS = 2.0


def _context(request: Request) -> Context:
    ctx: Context = request.app.state.ctx
    return ctx


Ctx = Annotated[Context, Depends(_context)]


async def _identity(
    ctx: Ctx,
    authorization: Annotated[str | None, Header()] = None,
) -> auth.Identity:
    """The caller behind `Authorization: Bearer TOKEN`."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise HTTPException(
            401,
            "send a bearer token: POST /api/v1/auth/login, or `decnetctl token`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    try:
        identity = auth.check(ctx.settings.jwt_secret, token.strip())
    except auth.BadToken as error:
        raise HTTPException(401, str(error), headers={"WWW-Authenticate": "Bearer"}) from error
    async with ctx.db.session() as session:
        if await session.get(RevokedToken, identity.jti) is not None:
            raise HTTPException(401, "this token was revoked: log in again")
    return identity


Caller = Annotated[auth.Identity, Depends(_identity)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=2**31)]
router = APIRouter()


@router.get("/health")
async def health(ctx: Ctx, request: Request) -> Health:
    """Liveness without a token: says what is away, never what is stored."""
    database, events = "ok", 0
    try:
        async with ctx.db.session() as session:
            events = (await session.execute(select(func.max(Log.id)))).scalar() or 0
    except (SQLAlchemyError, OSError) as error:
        database = f"{type(error).__name__}: {error}"[:200]
    return Health(
        status="ok" if database == "ok" and ctx.bus.connected else "degraded",
        pid=os.getpid(),
        uptime_seconds=round(time.monotonic() - request.app.state.started, 3),
        database=database,
        bus="ok" if ctx.bus.connected else "away (polling)",
        events=events,
    )


@router.post("/auth/login")
async def login(body: Login, ctx: Ctx, request: Request) -> Token:
    """Trade a name and a password for a token that is good for four hours."""
    brake: auth.LoginBrake = request.app.state.brake
    names = (f"ip:{request.client.host if request.client else '?'}", f"user:{body.username}")
    if wait := brake.wait_seconds(*names):
        raise HTTPException(
            429,
            f"too many failed logins: try again in {wait:.0f} s",
            headers={"Retry-After": str(int(wait) + 1)},
        )
    async with ctx.db.session() as session:
        user = (await session.execute(select(User).where(User.username == body.username))).scalar()
    # An unknown name costs as much time as a wrong password, so that names cannot be found out.
    stored = user.password_hash if user else request.app.state.nobody_hash
    good = await asyncio.to_thread(auth.verify_password, body.password, stored)
    if user is None or not good:
        brake.failed(*names)
        raise HTTPException(401, "wrong user name or password")
    return Token(
        access_token=auth.mint(ctx.settings.jwt_secret, user.username, user.role),
        expires_in=auth.LIFETIME_SECONDS,
        role=user.role,
    )


@router.get("/logs")
async def logs(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    offset: Offset = 0,
    attacker_ip: str | None = None,
    decky: str | None = None,
    service: str | None = None,
    event_type: str | None = None,
    after_id: int | None = None,
) -> LogPage:
    """Stored events, newest first, narrowed by any of the filters."""
    wanted: list[ColumnElement[bool]] = [
        col(column) == value
        for column, value in (
            (Log.attacker_ip, attacker_ip),
            (Log.decky, decky),
            (Log.service, service),
            (Log.event_type, event_type),
        )
        if value is not None
    ]
    if after_id is not None:
        wanted.append(col(Log.id) > after_id)
    async with ctx.db.session() as session:
        total = (await session.execute(select(func.count(col(Log.id))).where(*wanted))).scalar_one()
        rows = (
            await session.execute(
                select(Log).where(*wanted).order_by(col(Log.id).desc()).limit(limit).offset(offset)
            )
        ).scalars()
        return LogPage(total=total, limit=limit, offset=offset, data=[as_event(r) for r in rows])


@router.get("/attackers")
async def attackers(
    ctx: Ctx, caller: Caller, limit: Limit = 50, offset: Offset = 0, ip: str | None = None
) -> AttackerPage:
    """Attackers' profiles, last seen first."""
    wanted = [Attacker.ip == ip] if ip is not None else []
    async with ctx.db.session() as session:
        total = (
            await session.execute(select(func.count(col(Attacker.uuid))).where(*wanted))
        ).scalar_one()
        rows = await session.execute(
            select(Attacker, AttackerBehavior.behavior_class)
            .outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
            .where(*wanted)
            .order_by(col(Attacker.last_seen).desc(), col(Attacker.uuid))
            .limit(limit)
            .offset(offset)
        )
        data = [as_attacker(row, behavior) for row, behavior in rows]
    return AttackerPage(total=total, limit=limit, offset=offset, data=data)


@router.get("/attackers/{uuid}")
async def attacker(ctx: Ctx, caller: Caller, uuid: str) -> AttackerRow:
    """One attacker's profile."""
    async with ctx.db.session() as session:
        row = await session.get(Attacker, uuid)
        if row is None:
            raise HTTPException(404, f"no attacker {uuid!r}")
        behavior = await session.get(AttackerBehavior, uuid)
        return as_attacker(row, behavior.behavior_class if behavior else None)


@router.get("/events", response_class=EventSourceResponse)
async def events(
    ctx: Ctx,
    caller: Caller,
    last_event_id: Annotated[int | None, Header()] = None,
    after_id: int | None = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stored events as server-sent events, each with its row id.

    Starts after `Last-Event-ID` (or `after_id`), so that a browser that reconnects misses none;
    without either, at the newest row.
    """
    last = last_event_id if last_event_id is not None else after_id
    with await ctx.wake("system.log") as wake:
        if last is None:
            async with ctx.db.session() as session:
                last = (await session.execute(select(func.max(Log.id)))).scalar() or 0
        yield ServerSentEvent(comment=f"events after {last}")
        while not ctx.stopping.is_set():
            async with ctx.db.session() as session:
                rows = (
                    await session.execute(
                        select(Log)
                        .where(col(Log.id) > last)
                        .order_by(col(Log.id))
                        .limit(STREAM_BATCH)
                    )
                ).scalars()
                batch = [as_event(row) for row in rows]
            for event in batch:
                last = event.id
                yield ServerSentEvent(data=event, event="log", id=str(event.id))
            if len(batch) < STREAM_BATCH:
                await wake.wait(STREAM_POLL_SECONDS)


def as_event(row: Log) -> LogEvent:
    """A row of `logs` as the interface shows it."""
    return LogEvent(
        id=row.id or 0,
        timestamp=row.timestamp,
        decky=row.decky,
        service=row.service,
        event_type=row.event_type,
        attacker_ip=row.attacker_ip,
        fields=row.fields or {},
        msg=row.msg,
        raw_line=row.raw_line,
    )


def as_attacker(row: Attacker, behavior_class: str | None) -> AttackerRow:
    """A row of `attackers` as the interface shows it."""
    return AttackerRow(
        behavior_class=behavior_class,
        **{name: getattr(row, name) for name in AttackerRow.model_fields if hasattr(row, name)},
    )


def create_app() -> FastAPI:
    """The application, with its routes under /api/v1 and, unlisted, without the prefix."""
    app = FastAPI(
        title="DECNET", version="1", docs_url="/api/docs", openapi_url="/api/openapi.json"
    )
    app.include_router(router, prefix="/api/v1")
    app.include_router(router, include_in_schema=False)
    app.state.brake = auth.LoginBrake()
    app.state.started = time.monotonic()
    app.state.nobody_hash = ""
    return app


def prepare(app: FastAPI, ctx: Context) -> dict[str, Any]:
    """Bind the application to a worker; returns what it put on `app.state`."""
    values = {
        "ctx": ctx,
        "started": time.monotonic(),
        "brake": auth.LoginBrake(),
        "nobody_hash": auth.nobody(),
    }
    for name, value in values.items():
        setattr(app.state, name, value)
    return values
