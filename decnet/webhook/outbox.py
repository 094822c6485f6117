"""The outbox: what is still to be told, written with the cursors that it was read behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db import cursors
from decnet.db.tables import (
    WebhookDelivery,
    WebhookEvent,
    WebhookOutbox,
    WebhookSubscription,
    utc_now,
)
from decnet.webhook.event import Event
from decnet.webhook.feeds import CURSOR_PREFIX, Feed
from decnet.webhook.patterns import overlap, wants
from decnet.webhook.sender import Outcome, Receiver

BATCH = 200
"""Rows of a feed a transaction."""
PENDING, DEAD = "pending", "dead"


@dataclass
class Enqueued:
    """What a transaction put into queues."""

    events: int = 0
    receivers: set[str] = field(default_factory=set)
    dropped: int = 0
    more: bool = False


@dataclass(frozen=True)
class Item:
    """A pending row and its event."""

    id: int
    event: Event


@dataclass(frozen=True)
class Done:
    """How one row's delivery ended; `id` None for an event that was never stored."""

    receiver: Receiver
    id: int | None
    event: Event
    outcome: Outcome


async def receivers(session: AsyncSession) -> tuple[list[Receiver], set[str]]:
    """The subscriptions that an admin wants, and those of them that failures have disabled."""
    rows = await session.scalars(
        select(WebhookSubscription)
        .where(col(WebhookSubscription.enabled).is_(True))
        .order_by(col(WebhookSubscription.name))
    )
    found, off = [], set()
    for row in rows:
        patterns = tuple(row.topic_patterns)
        found.append(Receiver(row.uuid, row.name, row.url, row.secret, patterns, row.concurrency))
        if row.auto_disabled_at is not None:
            off.add(row.uuid)
    return found, off


async def start_cursors(session: AsyncSession, feeds: Iterable[Feed]) -> None:
    """Where there is no cursor yet: from now on. History is nobody's event."""
    known = await cursors.prefixed(session, CURSOR_PREFIX)
    for feed in feeds:
        if CURSOR_PREFIX + feed.name not in known:
            await cursors.set(session, CURSOR_PREFIX + feed.name, await feed.end(session))


def is_wanted(feed: Feed, patterns: Iterable[str]) -> bool:
    """Whether somebody with one of the patterns may want an event of the feed."""
    return any(overlap(mine, asked) for asked in patterns for mine in feed.patterns)


async def look(
    session: AsyncSession, feed: Feed, subscribed: Sequence[Receiver], most: int = BATCH
) -> tuple[Any, Any, list[Event]]:
    """What a feed has behind its cursor: the cursor, the next one, the events that are wanted."""
    since = await cursors.get(session, CURSOR_PREFIX + feed.name)
    if not is_wanted(feed, {pattern for one in subscribed for pattern in one.patterns}):
        return since, await feed.skip(session, since), []
    events, until = await feed.read(session, since, most)
    wanted = [e for e in events if any(wants(r.patterns, e.topic) for r in subscribed)]
    return since, until, await _fresh(session, wanted)


async def enqueue(
    session: AsyncSession, events: Sequence[Event], subscribed: Sequence[Receiver], most: int
) -> Enqueued:
    """Store events that are not yet known, for each receiver that wants them.

    A full queue drops its oldest pending rows, counted in the subscription.
    """
    told = Enqueued()
    fresh = await _fresh(session, events)
    known = set(await session.scalars(select(col(WebhookSubscription.uuid))))
    rows = [
        {"subscription_uuid": r.uuid, "event_id": event.id, "updated_at": utc_now()}
        for event in fresh
        for r in subscribed
        if r.uuid in known and wants(r.patterns, event.topic)
    ]
    if not rows:
        return told
    wanted = {row["event_id"] for row in rows}
    now = utc_now()
    await session.execute(
        insert(WebhookEvent),
        [
            {
                "event_id": e.id,
                "topic": e.topic,
                "type": e.type,
                "ts": e.ts,
                "payload": e.payload,
                "created_at": now,
            }
            for e in fresh
            if e.id in wanted
        ],
    )
    await session.execute(
        insert(WebhookOutbox), [{**row, "state": PENDING, "attempts": 0} for row in rows]
    )
    told.events = len(wanted)
    told.receivers = {str(row["subscription_uuid"]) for row in rows}
    for uuid in told.receivers:
        told.dropped += await cut_queue(session, uuid, PENDING, most)
    return told


async def pending(
    session: AsyncSession, subscription: str, most: int, skip: Iterable[int] = ()
) -> list[Item]:
    """The oldest pending rows of a subscription, without those that are being delivered."""
    statement = (
        select(
            col(WebhookOutbox.id),
            *(col(WebhookEvent.event_id), col(WebhookEvent.topic), col(WebhookEvent.type)),
            *(col(WebhookEvent.ts), col(WebhookEvent.payload)),
        )
        .join(WebhookEvent, col(WebhookEvent.event_id) == col(WebhookOutbox.event_id))
        .where(
            col(WebhookOutbox.subscription_uuid) == subscription,
            col(WebhookOutbox.state) == PENDING,
            col(WebhookOutbox.id).not_in(list(skip)),
        )
        .order_by(col(WebhookOutbox.id))
        .limit(most)
    )
    return [
        Item(row.id, Event(row.event_id, row.topic, row.type, row.ts, row.payload))
        for row in await session.execute(statement)
    ]


async def record(session: AsyncSession, done: Sequence[Done], threshold: int) -> set[str]:
    """Note how deliveries ended; gives the subscriptions that failed too often in a row."""
    rows = await session.scalars(
        select(WebhookSubscription).where(
            col(WebhookSubscription.uuid).in_({one.receiver.uuid for one in done})
        )
    )
    known = {row.uuid: row for row in rows}
    disabled = set()
    for one in done:
        subscription = known.get(one.receiver.uuid)
        if subscription is None:  # removed meanwhile
            continue
        await _note(session, subscription, one)
        failed = subscription.consecutive_failures
        if failed >= threshold and subscription.auto_disabled_at is None:
            subscription.auto_disabled_at = utc_now()
            disabled.add(subscription.uuid)
    return disabled


async def _note(session: AsyncSession, subscription: WebhookSubscription, one: Done) -> None:
    outcome, now = one.outcome, utc_now()
    if outcome.ok:
        subscription.consecutive_failures = 0
        subscription.delivered_count += 1
        subscription.last_success_at = now
        statement: Any = delete(WebhookOutbox).where(col(WebhookOutbox.id) == one.id)
    else:
        subscription.consecutive_failures += 1
        subscription.last_failure_at = now
        subscription.last_error = outcome.error
        statement = (
            update(WebhookOutbox)
            .where(col(WebhookOutbox.id) == one.id)
            .values(
                state=DEAD,
                attempts=col(WebhookOutbox.attempts) + outcome.attempts,
                last_error=outcome.error,
                updated_at=now,
            )
        )
    if one.id is not None:
        await session.execute(statement)
    await session.execute(
        insert(WebhookDelivery).values(
            subscription_uuid=subscription.uuid,
            event_id=one.event.id,
            topic=one.event.topic,
            at=now,
            outcome="delivered" if outcome.ok else "failed",
            attempts=outcome.attempts,
            status_code=outcome.status,
            duration_ms=round(outcome.seconds * 1000, 1),
            error=outcome.error or None,
        )
    )


async def _fresh(session: AsyncSession, events: Sequence[Event]) -> list[Event]:
    """Those that are not stored yet, each once."""
    by_id = {event.id: event for event in events}
    ids = list(by_id)
    for at in range(0, len(ids), 500):
        found = await session.scalars(
            select(col(WebhookEvent.event_id)).where(
                col(WebhookEvent.event_id).in_(ids[at : at + 500])
            )
        )
        for known in found:
            del by_id[known]
    return list(by_id.values())


async def cut_queue(session: AsyncSession, subscription: str, state: str, most: int) -> int:
    """Drop the oldest rows over a limit, counted in the subscription; how many."""
    mine = (
        col(WebhookOutbox.subscription_uuid) == subscription,
        col(WebhookOutbox.state) == state,
    )
    over = (await session.scalar(select(func.count()).where(*mine)) or 0) - most
    if over <= 0:
        return 0
    oldest = select(col(WebhookOutbox.id)).where(*mine).order_by(col(WebhookOutbox.id)).limit(over)
    await session.execute(delete(WebhookOutbox).where(col(WebhookOutbox.id).in_(oldest)))
    await session.execute(
        update(WebhookSubscription)
        .where(col(WebhookSubscription.uuid) == subscription)
        .values(dropped_count=col(WebhookSubscription.dropped_count) + over)
    )
    return int(over)
