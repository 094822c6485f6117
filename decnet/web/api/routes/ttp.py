"""/ttp: ATT&CK techniques that were seen: of whom, how often, by which rule."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path
from pydantic import AwareDatetime
from sqlalchemy import ColumnElement, distinct, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.context import Context
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, AttackerIdentity, TtpRule, TtpRuleState, TtpTag, utc_now
from decnet.ttp.attack import Attack
from decnet.ttp.shared import get_shared
from decnet.web.api.guard import Admin, Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Page, Text, found, keyset
from decnet.web.api.routes.ttp_shapes import Cell, Column, Decision, Rule, Tag, Technique

router = APIRouter(prefix="/ttp", tags=["ttp"])
Uuid = Annotated[str, Path(max_length=128)]
RULES_MOST = 2000


async def attack() -> Attack:
    """The table of ATT&CK; in the fleet the zygote has it."""
    shared = await asyncio.to_thread(get_shared)
    return shared.attack


@router.get("/techniques")
async def techniques(
    ctx: Ctx, caller: Caller, since: AwareDatetime | None = None
) -> list[Technique]:
    """What was seen, most often first."""
    wanted = [col(TtpTag.created_at) >= since] if since else []
    return await seen(ctx, wanted)


@router.get("/matrix")
async def matrix(ctx: Ctx, caller: Caller) -> list[Column]:
    """What was seen, by tactic, in ATT&CK's order; tactics without a sign are there too."""
    table, rows = await attack(), await seen(ctx, [])
    columns = []
    for tactic in table.tactics.values():
        cells = [
            Cell(
                technique_id=row.sub_technique_id or row.technique_id,
                name=row.name,
                url=row.url,
                count=row.count,
                attackers=row.attackers,
            )
            for row in rows
            if {tactic.id, tactic.short, tactic.name} & set(row.tactics)
        ]
        columns.append(
            Column(tactic=tactic.id, name=tactic.name, short=tactic.short, techniques=cells)
        )
    return columns


@router.get("/tags")
async def tags(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    technique: Text = None,
    rule: Text = None,
) -> Page[Tag]:
    """Single signs, newest first. `technique` may be a sub-technique (T1110.001)."""
    wanted: list[ColumnElement[bool]] = []
    if technique is not None:
        column = TtpTag.sub_technique_id if "." in technique else TtpTag.technique_id
        wanted.append(col(column) == technique)
    if rule is not None:
        wanted.append(col(TtpTag.rule_id) == rule)
    return await page(ctx, wanted, limit, cursor)


@router.get("/by-attacker/{uuid}")
async def by_attacker(
    ctx: Ctx, caller: Caller, uuid: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[Tag]:
    """Signs of one attacker."""
    return await page(ctx, [col(TtpTag.attacker_uuid) == uuid], limit, cursor)


@router.get("/by-identity/{uuid}")
async def by_identity(
    ctx: Ctx, caller: Caller, uuid: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[Tag]:
    """Signs of an identity: its own, and those of its addresses."""
    theirs = select(col(Attacker.uuid)).where(col(Attacker.identity_id) == uuid)
    wanted = or_(col(TtpTag.identity_uuid) == uuid, col(TtpTag.attacker_uuid).in_(theirs))
    return await page(ctx, [wanted], limit, cursor)


@router.get("/by-campaign/{uuid}")
async def by_campaign(
    ctx: Ctx, caller: Caller, uuid: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[Tag]:
    """Signs of all identities of a campaign."""
    members = select(col(AttackerIdentity.uuid)).where(col(AttackerIdentity.campaign_id) == uuid)
    theirs = select(col(Attacker.uuid)).where(col(Attacker.identity_id).in_(members))
    wanted = or_(col(TtpTag.identity_uuid).in_(members), col(TtpTag.attacker_uuid).in_(theirs))
    return await page(ctx, [wanted], limit, cursor)


@router.get("/by-session/{session_id}")
async def by_session(
    ctx: Ctx, caller: Caller, session_id: Uuid, limit: Limit = 100, cursor: Cursor = None
) -> Page[Tag]:
    """Signs in one recorded session."""
    return await page(ctx, [col(TtpTag.session_id) == session_id], limit, cursor)


@router.get("/navigator")
async def navigator(
    ctx: Ctx, caller: Caller, since: AwareDatetime | None = None, attacker: Text = None
) -> dict[str, Any]:
    """A layer for the ATT&CK Navigator: what was seen, scored by how often."""
    wanted: list[ColumnElement[bool]] = []
    if since is not None:
        wanted.append(col(TtpTag.created_at) >= since)
    if attacker is not None:
        wanted.append(col(TtpTag.attacker_uuid) == attacker)
    rows, table = await seen(ctx, wanted), await attack()
    return {
        "name": "DECNET",
        "versions": {"attack": table.release.partition(".")[0], "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": f"Techniques seen by DECNET until {utc_now():%Y-%m-%d %H:%M} UTC",
        "sorting": 3,
        "hideDisabled": False,
        "techniques": [
            {
                "techniqueID": row.sub_technique_id or row.technique_id,
                "score": row.count,
                "enabled": True,
                "comment": f"{row.attackers} attackers; confidence up to {row.confidence:.2f}",
                "showSubtechniques": False,
            }
            for row in rows
        ],
        "gradient": {
            "colors": ["#fff3c4", "#e8590c"],
            "minValue": 0,
            "maxValue": max((row.count for row in rows), default=1),
        },
    }


@router.get("/rules")
async def rules(ctx: Ctx, caller: Caller) -> list[Rule]:
    """The rules that the worker has loaded."""
    async with ctx.db.session() as session:
        found_rows = await session.execute(
            select(TtpRule, TtpRuleState)
            .outerjoin(TtpRuleState, col(TtpRuleState.rule_id) == col(TtpRule.rule_id))
            .order_by(col(TtpRule.rule_id))
            .limit(RULES_MOST)
        )
        return [_rule(row, state) for row, state in found_rows]


@router.put("/rules/{rule_id}/state")
async def decide(ctx: Ctx, caller: Admin, rule_id: Uuid, body: Decision) -> Rule:
    """Enable, disable or clip a rule; the worker `ttp` obeys from its next look on."""
    if (body.state == "clipped") != (body.confidence_max is not None):
        raise HTTPException(422, "`confidence_max` goes with the state `clipped`, and only with it")
    values = {
        "rule_id": rule_id,
        **body.model_dump(),
        "set_by": caller.username,
        "updated_at": utc_now(),
    }

    async def work(session: AsyncSession) -> Rule:
        row = found(await session.get(TtpRule, rule_id), f"rule {rule_id!r}")
        statement = upsert(session, TtpRuleState, values, key=["rule_id"], update=[*values][1:])
        await session.execute(statement)
        return _rule(row, await session.get(TtpRuleState, rule_id, populate_existing=True))

    rule = await ctx.db.write(work)
    news = {"rule_id": rule_id, "rule_version": rule.rule_version, **body.model_dump(mode="json")}
    ctx.bus.publish(topics.ttp_rule_state(rule_id), news)
    return rule


async def page(
    ctx: Context, wanted: list[ColumnElement[bool]], limit: int, cursor: str | None
) -> Page[Tag]:
    """Signs that match, newest first."""
    keys = [col(TtpTag.created_at), col(TtpTag.uuid)]
    async with ctx.db.session() as session:
        rows, after = await keyset(session, select(TtpTag).where(*wanted), keys, limit, cursor)
    return Page(data=[Tag.model_validate(r) for (r,) in rows], limit=limit, next=after)


async def seen(ctx: Context, wanted: list[ColumnElement[bool]]) -> list[Technique]:
    """Techniques with their counts. As many rows as ATT&CK has techniques, at most."""
    table = await attack()
    statement = (
        select(
            col(TtpTag.technique_id),
            col(TtpTag.sub_technique_id),
            func.count(),
            func.count(distinct(col(TtpTag.attacker_uuid))),
            func.max(col(TtpTag.confidence)),
            func.max(col(TtpTag.observed_at)),
        )
        .where(*wanted)
        .group_by(col(TtpTag.technique_id), col(TtpTag.sub_technique_id))
        .order_by(func.count().desc(), col(TtpTag.technique_id))
        .limit(2000)
    )
    async with ctx.db.session() as session:
        rows = (await session.execute(statement)).all()
    return [_technique(table, *row) for row in rows]


def _technique(
    table: Attack,
    technique: str,
    sub: str | None,
    number: int,
    attackers: int,
    confidence: float,
    last: dt.datetime,
) -> Technique:
    exact = sub or technique
    known = table.techniques.get(exact) or table.techniques.get(technique)
    return Technique(
        technique_id=technique,
        sub_technique_id=sub,
        name=table.name(exact),
        url=table.url(exact),
        tactics=list(known.tactics) if known else [],
        count=number,
        attackers=attackers,
        confidence=confidence,
        last_seen=last,
    )


def _rule(row: TtpRule, state: TtpRuleState | None) -> Rule:
    rule = Rule.model_validate(row)
    for name in ("state", "confidence_max", "expires_at", "reason", "set_by"):
        if state is not None:
            setattr(rule, name, getattr(state, name))
    return rule
