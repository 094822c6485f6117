"""Keeping the webhooks' tables small, and counting what is in them."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.tables import (
    WebhookDelivery,
    WebhookEvent,
    WebhookOutbox,
    WebhookSubscription,
    utc_now,
)
from decnet.webhook.outbox import DEAD, PENDING, cut_queue

DEAD_MOST = 1000
LOG_MOST = 500
"""Dead letters, and lines of the delivery log, a subscription; the oldest go."""
KEEP_EVENTS = dt.timedelta(minutes=15)
"""So long an event that nobody waits for is kept: its id tells a late repeat."""


async def prune(session: AsyncSession) -> int:
    """Throw away what is over the limits; how many events for receivers were lost by it."""
    lost = 0
    for uuid in list(await session.scalars(select(col(WebhookSubscription.uuid)))):
        lost += await cut_queue(session, uuid, DEAD, DEAD_MOST)
        last = await session.scalar(
            select(col(WebhookDelivery.id))
            .where(col(WebhookDelivery.subscription_uuid) == uuid)
            .order_by(col(WebhookDelivery.id).desc())
            .offset(LOG_MOST)
            .limit(1)
        )
        if last is not None:
            await session.execute(
                delete(WebhookDelivery).where(
                    col(WebhookDelivery.subscription_uuid) == uuid, col(WebhookDelivery.id) <= last
                )
            )
    waited_for = (
        select(col(WebhookOutbox.id))
        .where(col(WebhookOutbox.event_id) == col(WebhookEvent.event_id))
        .exists()
    )
    await session.execute(
        delete(WebhookEvent).where(
            col(WebhookEvent.created_at) < utc_now() - KEEP_EVENTS, ~waited_for
        )
    )
    return lost


async def depth(session: AsyncSession) -> dict[str, int]:
    """Rows by state."""
    found = await session.execute(
        select(col(WebhookOutbox.state), func.count()).group_by(col(WebhookOutbox.state))
    )
    return {PENDING: 0, DEAD: 0, **{str(state): int(count) for state, count in found}}
