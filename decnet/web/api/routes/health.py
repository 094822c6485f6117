"""/health: is the interface up, and can it reach what it needs?"""

from __future__ import annotations

import os
import time

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col

from decnet.db.tables import Log
from decnet.web.api.guard import Ctx

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """Is the interface up, and can it reach what it needs?"""

    status: str = Field(description='"ok", or "degraded" where the bus or the database is away')
    worker: str = "api"
    pid: int
    uptime_seconds: float
    database: str = Field(description='"ok" or the reason')
    bus: str = Field(description='"ok" or "away (polling)"')
    events: int = Field(description="rows in `logs`")


@router.get("/health")
async def health(ctx: Ctx, request: Request) -> Health:
    """Liveness without a token: says what is away, never what is stored."""
    database, events = "ok", 0
    try:
        async with ctx.db.session() as session:
            events = (await session.execute(select(func.max(col(Log.id))))).scalar() or 0
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
