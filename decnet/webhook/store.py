"""What an operator does with subscriptions; for the command line and the REST interface.

Each function works in the caller's transaction. After the commit tell the worker with
`system.webhook.subscriptions_changed`; without a bus it looks every few seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import CursorResult, delete, or_, select, update
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
from decnet.webhook.address import Refused, parse_url
from decnet.webhook.engine import all_feeds
from decnet.webhook.feeds import CURSOR_PREFIX
from decnet.webhook.feeds_changes import Changes
from decnet.webhook.outbox import DEAD, PENDING, is_wanted, receivers, start_cursors
from decnet.webhook.patterns import expand
from zygote.errors import ZygoteError

SECRET_LEAST = 16
CONCURRENCY_MOST = 10
NAME_MOST = 64


class SubscriptionError(ZygoteError):
    """What was asked for cannot be done; the message says why, the hint the way out."""

    def __init__(self, message: str, hint: str = "", code: str = "webhook") -> None:
        super().__init__(message, code=code, hint=hint, exit_code=2)


async def add(
    session: AsyncSession,
    name: str,
    url: str,
    patterns: Iterable[str],
    *,
    secret: str = "",
    concurrency: int = 1,
) -> WebhookSubscription:
    """A new subscription; it gets what happens from now on.

    Args:
        patterns: topic patterns, or AttackerDetail, DeckyStatus, SystemStatus.
        secret: for the signatures; one is made where there is none.
    Raises:
        SubscriptionError: something of it is not usable, or the name is taken.
    """
    if not 0 < len(name) <= NAME_MOST or not name.isprintable():
        raise SubscriptionError(f"a name has 1 to {NAME_MOST} printable characters")
    try:
        parse_url(url)
        wanted = expand(patterns)
    except (Refused, ValueError) as error:
        raise SubscriptionError(str(error), "see: decnetctl webhooks add --help") from error
    if not 1 <= concurrency <= CONCURRENCY_MOST:
        raise SubscriptionError(f"1 to {CONCURRENCY_MOST} deliveries at once are possible")
    if await session.scalar(select(WebhookSubscription).where(_named(name))) is not None:
        raise SubscriptionError(
            f"there is a subscription {name!r}", "take another name, or remove that one"
        )
    await _begin(session, wanted)
    made = WebhookSubscription(
        name=name,
        url=url,
        secret=_checked(secret),
        topic_patterns=wanted,
        concurrency=concurrency,
    )
    session.add(made)
    await session.flush()
    return made


async def every(session: AsyncSession) -> Sequence[WebhookSubscription]:
    """All of them, by name."""
    statement = select(WebhookSubscription).order_by(col(WebhookSubscription.name))
    return (await session.scalars(statement)).all()


async def find(session: AsyncSession, name: str) -> WebhookSubscription:
    """By name or uuid.

    Raises:
        SubscriptionError: there is none.
    """
    found = await session.scalar(select(WebhookSubscription).where(_named(name)))
    if found is None:
        raise SubscriptionError(
            f"no subscription {name!r}", "see: decnetctl webhooks list", code="no-webhook"
        )
    return found


async def remove(session: AsyncSession, name: str) -> WebhookSubscription:
    """Delete it, with its queue, dead letters and log."""
    found = await find(session, name)
    await session.execute(
        delete(WebhookSubscription).where(col(WebhookSubscription.uuid) == found.uuid)
    )
    return found


async def enable(session: AsyncSession, name: str, *, on: bool = True) -> WebhookSubscription:
    """Let it deliver (again): failures are forgotten, what waits is sent. Or switch it off."""
    found = await find(session, name)
    found.enabled = on
    if on:
        found.auto_disabled_at, found.consecutive_failures = None, 0
    session.add(found)
    return found


async def rotate(session: AsyncSession, name: str, secret: str = "") -> WebhookSubscription:
    """Another secret, for every delivery from now on.

    Raises:
        SubscriptionError: there is no such subscription, or the secret is too short.
    """
    found = await find(session, name)
    found.secret = _checked(secret)
    session.add(found)
    return found


async def replay(session: AsyncSession, name: str, event_id: str = "") -> int:
    """Send dead letters again, all or one; how many."""
    found = await find(session, name)
    statement = (
        update(WebhookOutbox)
        .where(
            col(WebhookOutbox.subscription_uuid) == found.uuid,
            col(WebhookOutbox.state) == DEAD,
        )
        .values(state=PENDING, updated_at=utc_now())
    )
    if event_id:
        statement = statement.where(col(WebhookOutbox.event_id) == event_id)
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount


async def dead(session: AsyncSession, name: str, most: int = 50) -> list[dict[str, Any]]:
    """Dead letters, the newest first."""
    found = await find(session, name)
    statement = (
        select(
            *(col(WebhookEvent.event_id), col(WebhookEvent.topic), col(WebhookEvent.ts)),
            *(col(WebhookOutbox.attempts), col(WebhookOutbox.last_error)),
            *(col(WebhookOutbox.updated_at), col(WebhookEvent.payload)),
        )
        .join(WebhookEvent, col(WebhookEvent.event_id) == col(WebhookOutbox.event_id))
        .where(
            col(WebhookOutbox.subscription_uuid) == found.uuid,
            col(WebhookOutbox.state) == DEAD,
        )
        .order_by(col(WebhookOutbox.id).desc())
        .limit(most)
    )
    return [dict(row._mapping) for row in await session.execute(statement)]


async def deliveries(session: AsyncSession, name: str, most: int = 50) -> Sequence[WebhookDelivery]:
    """The delivery log, the newest first."""
    found = await find(session, name)
    statement = (
        select(WebhookDelivery)
        .where(col(WebhookDelivery.subscription_uuid) == found.uuid)
        .order_by(col(WebhookDelivery.id).desc())
        .limit(most)
    )
    return (await session.scalars(statement)).all()


def public(subscription: WebhookSubscription) -> dict[str, Any]:
    """What may be shown of it: all but the secret."""
    return subscription.model_dump(mode="json", exclude={"secret"})


async def _begin(session: AsyncSession, wanted: Iterable[str]) -> None:
    """Feeds that nobody asked for until now begin here."""
    feeds = all_feeds()
    await start_cursors(session, feeds)
    before = {pattern for one in (await receivers(session))[0] for pattern in one.patterns}
    for feed in feeds:
        if not is_wanted(feed, wanted) or is_wanted(feed, before):
            continue
        if isinstance(feed, Changes):
            await feed.begin(session)
        else:
            await cursors.set(session, CURSOR_PREFIX + feed.name, await feed.end(session))


def _checked(secret: str) -> str:
    if secret and len(secret) < SECRET_LEAST:
        raise SubscriptionError(
            f"the secret has {len(secret)} characters, {SECRET_LEAST} is the least",
            "give none: one is made",
        )
    return secret or secrets.token_hex(32)


def _named(name: str) -> Any:
    return or_(col(WebhookSubscription.name) == name, col(WebhookSubscription.uuid) == name)
