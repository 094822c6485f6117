"""Step five: habits per identity, from `observations` to `attribution_state`.

A row follows from the observations of the identity's addresses alone, so it can be made again
at any time: after a merge for the winner, after a split for each part.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.cluster.drift import ALARM_AT, MULTI_ACTOR, UNKNOWN, Seen, gather_simhashes, judge
from decnet.cluster.merged import Outcome
from decnet.db import cursors
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    AttributionState,
    Observation,
    utc_now,
)

CURSOR = "attribution_cursor"
BATCH = 200
HISTORY = 40
"""Newest observations of a primitive that are judged."""
SIMHASH = "digraph_simhash"
_HEX = re.compile(r"(0x)?[0-9a-fA-F]{1,16}")


async def renew(session: AsyncSession, most: int = BATCH) -> Outcome:
    """Judge what the next observations touch, in the caller's transaction."""
    place = await cursors.get(session, CURSOR)
    statement = (
        select(
            *(col(Observation.id), col(Observation.ts), col(Observation.primitive)),
            *(col(Observation.value), col(Attacker.identity_id)),
        )
        .join(Attacker, col(Attacker.uuid) == col(Observation.attacker_uuid))
        .order_by(col(Observation.ts), col(Observation.id))
        .limit(most)
    )
    if place is not None:
        since = dt.datetime.fromisoformat(place["ts"])
        statement = statement.where(
            or_(
                col(Observation.ts) > since,
                and_(col(Observation.ts) == since, col(Observation.id) > place["id"]),
            )
        )
    outcome = Outcome()
    touched: dict[tuple[str, str], None] = {}
    for row in (await session.execute(statement)).all():
        if row.identity_id is None:
            break  # an address that is not placed yet: the next tick has it
        touched[row.identity_id, row.primitive] = None
        if row.primitive.endswith(SIMHASH):
            await _keep_simhash(session, row.identity_id, row.value)
        place = {"ts": row.ts.isoformat(), "id": row.id}
        outcome.count += 1
    if not outcome.count:
        return outcome
    for identity, primitive in touched:
        await _judge(session, identity, primitive, outcome)
    for identity in {identity for identity, _ in touched}:
        await _alarm(session, identity, outcome)
    await cursors.set(session, CURSOR, place)
    return outcome


async def merged(session: AsyncSession, winner: str, losers: list[str], outcome: Outcome) -> None:
    """The losers' addresses are the winner's now."""
    await _again(session, losers, [winner], outcome)


async def split(session: AsyncSession, former: str, parts: list[str], outcome: Outcome) -> None:
    """An identity's addresses are those of its parts now."""
    await _again(session, [former], parts, outcome)


async def _again(
    session: AsyncSession, gone: list[str], heirs: list[str], outcome: Outcome
) -> None:
    of_gone = col(AttributionState.identity_uuid).in_(gone)
    statement = select(col(AttributionState.primitive)).where(of_gone).distinct()
    primitives = list((await session.execute(statement)).scalars())
    if not primitives:
        return
    await session.execute(
        delete(AttributionState).where(of_gone).execution_options(synchronize_session="fetch")
    )
    for identity in heirs:
        for primitive in primitives:
            await _judge(session, identity, primitive, outcome)
        await _alarm(session, identity, outcome)


async def _judge(session: AsyncSession, identity: str, primitive: str, outcome: Outcome) -> None:
    of_identity = (
        col(Attacker.identity_id) == identity,
        col(Observation.primitive) == primitive,
    )
    joined = col(Attacker.uuid) == col(Observation.attacker_uuid)
    count = await session.scalar(
        select(func.count(col(Observation.id))).join(Attacker, joined).where(*of_identity)
    )
    if not count:
        return
    newest = (
        select(
            *(col(Observation.attacker_uuid), col(Observation.value)),
            col(Observation.confidence),
        )
        .join(Attacker, joined)
        .where(*of_identity)
        .order_by(col(Observation.ts).desc(), col(Observation.id).desc())
        .limit(HISTORY)
    )
    found = [Seen(*row) for row in (await session.execute(newest)).all()]
    found.reverse()
    verdict = judge(gather_simhashes(found) if primitive.endswith(SIMHASH) else found)
    row = await session.get(AttributionState, (identity, primitive))
    if row is None:
        row = AttributionState(identity_uuid=identity, primitive=primitive, state=UNKNOWN)
        session.add(row)
    before = row.state
    row.current_value, row.confidence = verdict.value, verdict.confidence
    row.observation_count = count
    if verdict.state == before:
        return
    row.state, row.last_change_ts = verdict.state, utc_now()
    row.alarmed = row.alarmed and verdict.state == MULTI_ACTOR
    outcome.tell(
        topics.ATTRIBUTION_CHANGED,
        identity_uuid=identity,
        primitive=primitive,
        old_state=before,
        new_state=verdict.state,
        confidence=verdict.confidence,
        ts=row.last_change_ts.isoformat(),
    )


async def _alarm(session: AsyncSession, identity: str, outcome: Outcome) -> None:
    """Tell once of an identity with several primitives that look like several actors."""
    statement = select(AttributionState).where(
        col(AttributionState.identity_uuid) == identity,
        col(AttributionState.state) == MULTI_ACTOR,
    )
    rows = list((await session.execute(statement)).scalars())
    if len(rows) < ALARM_AT or all(row.alarmed for row in rows):
        return
    for row in rows:
        row.alarmed = True
    outcome.tell(
        topics.ATTRIBUTION_SUSPECTED,
        identity_uuid=identity,
        primitives=sorted(row.primitive for row in rows),
        confidence=max(row.confidence for row in rows),
        ts=utc_now().isoformat(),
    )


async def _keep_simhash(session: AsyncSession, identity: str, value: Any) -> None:
    if isinstance(value, int) and not isinstance(value, bool):
        text = f"{value & (1 << 64) - 1:016x}"
    elif isinstance(value, str) and _HEX.fullmatch(value):
        text = f"{int(value, 16):016x}"
    else:
        return
    row = await session.get(AttackerIdentity, identity)
    if row is not None and row.kd_digraph_simhash != text:
        row.kd_digraph_simhash, row.campaign_dirty = text, True
