"""/attackers: who visited, what is known of each, what each did."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import Field
from sqlalchemy import select
from sqlmodel import col

from decnet.context import Context
from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    AttackerIntel,
    Log,
    Observation,
    SmtpTarget,
)
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Offset, Page, Shape, Text, count, found, keyset
from decnet.web.api.routes.logs import LogEvent

router = APIRouter(prefix="/attackers", tags=["attackers"])
Uuid = Annotated[str, Path(max_length=64)]


class AttackerRow(Shape):
    """One attacker's profile."""

    uuid: str
    ip: str
    identity_id: str | None = None
    first_seen: dt.datetime
    last_seen: dt.datetime
    event_count: int
    service_count: int
    decky_count: int
    bounty_count: int = 0
    credential_count: int
    services: list[str]
    deckies: list[str]
    is_traversal: bool
    country_code: str | None = None
    asn: int | None = None
    as_name: str | None = None
    ptr_record: str | None = None
    behavior_class: str | None = None


class AttackerPage(Page[AttackerRow]):
    """One page of attackers, last seen first. `total` counts to 10000 only."""

    total: int
    offset: int


class Behavior(Shape):
    """How an attacker behaves."""

    os_guess: str | None
    hop_distance: int | None
    tcp_fingerprint: dict[str, Any] | None
    kex_order_raw: str | None
    ssh_client_banners: list[str]
    retransmit_count: int
    behavior_class: str | None
    beacon_interval_s: float | None
    beacon_jitter_pct: float | None
    tool_guesses: list[str]
    timing_stats: dict[str, Any]
    phase_sequence: dict[str, Any]
    updated_at: dt.datetime


class Intel(Shape):
    """What lists and services know of the address."""

    attacker_ip: str
    aggregate_verdict: str
    greynoise_classification: str | None
    greynoise_noise: bool | None
    greynoise_riot: bool | None
    greynoise_name: str | None
    abuseipdb_score: int | None
    abuseipdb_categories: list[int]
    abuseipdb_reports: int | None
    feodo_listed: bool | None
    feodo_malware: str | None
    feodo_last_online: str | None
    threatfox_listed: bool | None
    threatfox_malware: str | None
    threatfox_threat_type: str | None
    threatfox_confidence: int | None
    blocklists: list[str]
    cached_at: dt.datetime
    expires_at: dt.datetime


class Target(Shape):
    """A mail domain that the attacker tried to reach."""

    domain: str
    first_seen: dt.datetime
    last_seen: dt.datetime
    count: int


class AttackerDetail(AttackerRow):
    """All that is known of one attacker."""

    traversal_path: list[str]
    fingerprints: list[dict[str, Any]]
    commands: list[dict[str, Any]]
    bgp_prefix: str | None
    rpki_status: str | None
    rotation_count: int
    updated_at: dt.datetime
    behavior: Behavior | None = None
    intel: Intel | None = None
    smtp_targets: list[Target] = Field(default_factory=list)


class ObservationRow(Shape):
    """One trait of one session."""

    id: str
    primitive: str
    value: Any
    confidence: float
    window_start_ts: dt.datetime
    window_end_ts: dt.datetime
    evidence_ref: str
    ts: dt.datetime


@router.get("")
async def attackers(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
    ip: Text = None,
    behavior_class: Text = None,
    identity: Text = None,
    country: Text = None,
) -> AttackerPage:
    """Attackers' profiles, last seen first."""
    wanted = [
        col(column) == value
        for column, value in (
            (Attacker.ip, ip),
            (AttackerBehavior.behavior_class, behavior_class),
            (Attacker.identity_id, identity),
            (Attacker.country_code, country),
        )
        if value is not None
    ]
    statement: Any = (
        select(Attacker, col(AttackerBehavior.behavior_class))
        .outerjoin(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))
        .where(*wanted)
    )
    keys = [col(Attacker.last_seen), col(Attacker.uuid)]
    async with ctx.db.session() as session:
        total = await count(session, statement.with_only_columns(col(Attacker.uuid)))
        rows, after = await keyset(session, statement.offset(offset), keys, limit, cursor)
    data = [as_attacker(row, behavior) for row, behavior in rows]
    return AttackerPage(total=total, limit=limit, offset=offset, data=data, next=after)


@router.get("/{uuid}")
async def attacker(ctx: Ctx, caller: Caller, uuid: Uuid) -> AttackerDetail:
    """All that is known of one attacker."""
    async with ctx.db.session() as session:
        row = found(await session.get(Attacker, uuid), f"attacker {uuid!r}")
        behavior = await session.get(AttackerBehavior, uuid)
        intel = await session.scalar(
            select(AttackerIntel).where(col(AttackerIntel.attacker_uuid) == uuid)
        )
        targets = await session.scalars(
            select(SmtpTarget)
            .where(col(SmtpTarget.attacker_uuid) == uuid)
            .order_by(col(SmtpTarget.last_seen).desc())
            .limit(100)
        )
        detail = AttackerDetail.model_validate(row)
        detail.behavior = Behavior.model_validate(behavior) if behavior else None
        detail.behavior_class = behavior.behavior_class if behavior else None
        detail.intel = Intel.model_validate(intel) if intel else None
        detail.smtp_targets = [Target.model_validate(target) for target in targets]
    return detail


@router.get("/{uuid}/commands")
async def commands(
    ctx: Ctx, caller: Caller, uuid: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[LogEvent]:
    """What the attacker typed, newest first."""
    ip = await address(ctx, uuid)
    statement = select(Log).where(col(Log.attacker_ip) == ip, col(Log.event_type) == "command")
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, [col(Log.id)], limit, cursor)
    return Page(data=[LogEvent.model_validate(r) for (r,) in rows], limit=limit, next=after)


@router.get("/{uuid}/intel")
async def intel(ctx: Ctx, caller: Caller, uuid: Uuid) -> Intel:
    """What lists and services know of the address."""
    async with ctx.db.session() as session:
        row = await session.scalar(
            select(AttackerIntel).where(col(AttackerIntel.attacker_uuid) == uuid)
        )
    if row is None:
        raise HTTPException(404, f"nothing is known (yet) of attacker {uuid!r}")
    return Intel.model_validate(row)


@router.get("/{uuid}/observations")
async def observations(
    ctx: Ctx, caller: Caller, uuid: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[ObservationRow]:
    """Traits of the attacker's sessions, newest first."""
    statement = select(Observation).where(col(Observation.attacker_uuid) == uuid)
    keys = [col(Observation.ts), col(Observation.id)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, statement, keys, limit, cursor)
    return Page(data=[ObservationRow.model_validate(r) for (r,) in rows], limit=limit, next=after)


async def address(ctx: Context, uuid: str) -> str:
    """An attacker's address.

    Raises:
        HTTPException: 404.
    """
    async with ctx.db.session() as session:
        row = await session.execute(select(col(Attacker.ip)).where(col(Attacker.uuid) == uuid))
        return found(row.scalar(), f"attacker {uuid!r}")


def as_attacker(row: Attacker, behavior_class: str | None) -> AttackerRow:
    """A row of `attackers` as the interface shows it."""
    shown = AttackerRow.model_validate(row)
    shown.behavior_class = behavior_class
    return shown
