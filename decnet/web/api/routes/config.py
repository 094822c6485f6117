"""/config and /stats: how this installation is set, without secrets; how much there is."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.dialect import upsert
from decnet.db.revision import HEAD
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    Campaign,
    CanaryToken,
    CanaryTrigger,
    Credential,
    FleetDecky,
    Log,
    RealismConfig,
    SessionRecording,
    TtpTag,
    utc_now,
)
from decnet.web.api.guard import Admin, Caller, Ctx
from zygote import __version__

router = APIRouter(tags=["config"])
REALISM = ("weights",)
"""What the orchestrator reads."""


class Config(BaseModel):
    """How this installation is set. Paths are on the server."""

    version: str
    revision: str
    database: str
    state_dir: str
    log_file: str
    json_file: str
    artifacts_dir: str
    bus_enabled: bool
    decky_name: str
    decoy_host: str
    decoy_ports: dict[str, int]
    jwt_exp_minutes: int
    cors_origins: list[str]
    realism: dict[str, Any]


class Weights(BaseModel):
    """How often the orchestrator does what, as parts of their sum."""

    traffic: float = Field(ge=0, le=1000)
    file: float = Field(ge=0, le=1000)
    email: float = Field(ge=0, le=1000)


class Stats(BaseModel):
    """How much there is. `events` is the highest id: it counts what was pruned as well."""

    events: int
    events_24h: int
    attackers: int
    attackers_24h: int
    credentials: int
    sessions: int
    identities: int
    campaigns: int
    techniques: int
    tags: int
    deckies: int
    canary_tokens: int
    canary_triggers: int
    streams: int


@router.get("/config")
async def config(ctx: Ctx, caller: Caller) -> Config:
    """How this installation is set, without secrets."""
    settings = ctx.settings
    async with ctx.db.session() as session:
        rows = await session.scalars(select(RealismConfig))
        realism = {row.key: row.value for row in rows}
    return Config(
        version=__version__,
        revision=HEAD,
        database=make_url(settings.db_url).render_as_string(hide_password=True),
        state_dir=str(settings.state_dir),
        log_file=str(settings.log_file),
        json_file=str(settings.json_file),
        artifacts_dir=str(settings.artifacts_dir),
        bus_enabled=settings.bus_enabled,
        decky_name=settings.decky_name,
        decoy_host=settings.decoy_host,
        decoy_ports=dict(settings.decoy_ports),
        jwt_exp_minutes=settings.jwt_exp_minutes,
        cors_origins=list(settings.cors_origins),
        realism=realism,
    )


@router.put("/config/realism/{key}")
async def realism(
    ctx: Ctx, caller: Admin, key: Annotated[str, Path(max_length=64)], body: Weights
) -> Weights:
    """Set the orchestrator's weights (`key` is "weights")."""
    if key not in REALISM:
        raise HTTPException(404, f"no such setting; there are: {', '.join(REALISM)}")
    if not body.traffic + body.file + body.email:
        raise HTTPException(422, "one of the weights must be above 0")
    row = {"key": key, "value": body.model_dump(), "updated_at": utc_now()}

    async def work(session: AsyncSession) -> None:
        await session.execute(
            upsert(session, RealismConfig, row, key=["key"], update=["value", "updated_at"])
        )

    await ctx.db.write(work)
    return body


@router.get("/stats")
async def stats(ctx: Ctx, caller: Caller) -> Stats:
    """How much there is."""
    day = utc_now() - dt.timedelta(hours=24)
    counts: dict[str, Any] = {
        "events": select(func.coalesce(func.max(col(Log.id)), 0)),
        "events_24h": select(func.count(col(Log.id))).where(col(Log.timestamp) >= day),
        "attackers": select(func.count(col(Attacker.uuid))),
        "attackers_24h": select(func.count(col(Attacker.uuid))).where(
            col(Attacker.last_seen) >= day
        ),
        "credentials": select(func.count(col(Credential.id))),
        "sessions": select(func.count(col(SessionRecording.session_id))),
        "identities": select(func.count(col(AttackerIdentity.uuid))).where(
            col(AttackerIdentity.merged_into_uuid).is_(None)
        ),
        "campaigns": select(func.count(col(Campaign.uuid))).where(
            col(Campaign.merged_into_uuid).is_(None), col(Campaign.identity_count) > 0
        ),
        "techniques": select(func.count(func.distinct(col(TtpTag.technique_id)))),
        "tags": select(func.count(col(TtpTag.uuid))),
        "deckies": select(func.count(col(FleetDecky.name))),
        "canary_tokens": select(func.count(col(CanaryToken.uuid))),
        "canary_triggers": select(func.coalesce(func.max(col(CanaryTrigger.id)), 0)),
    }
    statement = select(*(part.scalar_subquery().label(name) for name, part in counts.items()))
    async with ctx.db.session() as session:
        row = (await session.execute(statement)).one()
    return Stats(**row._mapping, streams=ctx.health.get("streams", 0))
