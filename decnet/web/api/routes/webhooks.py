"""/webhooks: who is told of what, and how the telling goes. Changes take an admin."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.context import Context
from decnet.db.tables import WebhookSubscription
from decnet.web.api.guard import Admin, Caller, Ctx
from decnet.web.api.paging import Limit, Shape
from decnet.webhook import store
from decnet.webhook.address import Refused, parse_url
from decnet.webhook.event import Event
from decnet.webhook.patterns import expand
from decnet.webhook.sender import Receiver, Sender
from decnet.webhook.settings import WebhookSettings

router = APIRouter(prefix="/webhooks", tags=["webhooks"])
Name = Annotated[str, Path(max_length=64)]
Secret = Annotated[str, Field(min_length=16, max_length=256)]
Patterns = Annotated[
    list[Annotated[str, Field(max_length=512)]], Field(min_length=1, max_length=32)
]


class Subscription(Shape):
    """A receiver, without its secret."""

    uuid: str
    name: str
    url: str
    topic_patterns: list[str]
    enabled: bool
    concurrency: int
    consecutive_failures: int
    delivered_count: int
    dropped_count: int
    last_success_at: dt.datetime | None
    last_failure_at: dt.datetime | None
    last_error: str | None
    auto_disabled_at: dt.datetime | None
    created_at: dt.datetime


class Created(Subscription):
    """A new receiver, with its secret: the only time that it is shown."""

    secret: str


class NewSubscription(BaseModel):
    """A receiver to be told from now on."""

    name: str = Field(min_length=1, max_length=64)
    url: str = Field(max_length=2048)
    topic_patterns: Patterns = ["AttackerDetail"]
    secret: Secret | None = None
    concurrency: int = Field(1, ge=1, le=10)


class Change(BaseModel):
    """What is to be other than it is. `enabled: true` forgets failures as well."""

    url: str | None = Field(None, max_length=2048)
    topic_patterns: Patterns | None = None
    enabled: bool | None = None
    secret: Secret | None = None
    concurrency: int | None = Field(None, ge=1, le=10)


class Tried(BaseModel):
    """How a test went."""

    ok: bool
    status: int | None
    attempts: int
    seconds: float
    error: str


class Delivery(Shape):
    """One delivery of the log."""

    id: int
    event_id: str
    topic: str
    at: dt.datetime
    outcome: str
    attempts: int
    status_code: int | None
    duration_ms: float
    error: str | None


class Replayed(BaseModel):
    """How many events wait for delivery again."""

    count: int


@router.get("")
async def webhooks(ctx: Ctx, caller: Caller) -> list[Subscription]:
    """All receivers, by name."""
    async with ctx.db.session() as session:
        return [Subscription.model_validate(row) for row in await store.every(session)]


@router.post("", status_code=201)
async def add(ctx: Ctx, caller: Admin, body: NewSubscription) -> Created:
    """Tell a receiver from now on."""
    row = await ctx.db.write(
        lambda session: store.add(
            session,
            body.name,
            body.url,
            body.topic_patterns,
            secret=body.secret or "",
            concurrency=body.concurrency,
        )
    )
    _tell(ctx)
    return Created.model_validate(row)


@router.get("/{name}")
async def one(ctx: Ctx, caller: Caller, name: Name) -> Subscription:
    """One receiver, by name or uuid."""
    async with ctx.db.session() as session:
        return Subscription.model_validate(await store.find(session, name))


@router.patch("/{name}")
async def change(ctx: Ctx, caller: Admin, name: Name, body: Change) -> Subscription:
    """Change a receiver."""

    async def work(session: AsyncSession) -> WebhookSubscription:
        row = await store.find(session, name)
        try:
            if body.url is not None:
                parse_url(body.url)
                row.url = body.url
            if body.topic_patterns is not None:
                row.topic_patterns = expand(body.topic_patterns)
        except (Refused, ValueError) as error:
            raise store.SubscriptionError(str(error)) from error
        row.secret = body.secret or row.secret
        row.concurrency = body.concurrency or row.concurrency
        session.add(row)
        if body.enabled is not None:
            await store.enable(session, name, on=body.enabled)
        return row

    row = await ctx.db.write(work)
    _tell(ctx)
    return Subscription.model_validate(row)


@router.delete("/{name}", status_code=204)
async def remove(ctx: Ctx, caller: Admin, name: Name) -> None:
    """Remove a receiver with its queue, dead letters and log."""
    await ctx.db.write(lambda session: store.remove(session, name))
    _tell(ctx)


@router.post("/{name}/test")
async def test(ctx: Ctx, caller: Admin, name: Name) -> Tried:
    """Send a test event now, from here."""
    async with ctx.db.session() as session:
        row = await store.find(session, name)
    receiver = Receiver(row.uuid, row.name, row.url, row.secret, tuple(row.topic_patterns))
    event = Event.make(
        "system.webhook.test", uuid.uuid4().hex, time.time(), {"subscription": row.name}
    )
    sender = Sender(WebhookSettings.from_env())
    try:
        outcome = await sender.deliver(receiver, event)
    finally:
        await sender.close()
    return Tried(
        ok=outcome.ok,
        status=outcome.status,
        attempts=outcome.attempts,
        seconds=outcome.seconds,
        error=outcome.error,
    )


@router.get("/{name}/deliveries")
async def deliveries(ctx: Ctx, caller: Caller, name: Name, limit: Limit = 50) -> list[Delivery]:
    """The delivery log, newest first."""
    async with ctx.db.session() as session:
        rows = await store.deliveries(session, name, limit)
        return [Delivery.model_validate(row) for row in rows]


@router.get("/{name}/dead")
async def dead(ctx: Ctx, caller: Caller, name: Name, limit: Limit = 50) -> list[dict[str, Any]]:
    """Events that the receiver did not take, newest first."""
    async with ctx.db.session() as session:
        return await store.dead(session, name, limit)


@router.post("/{name}/replay")
async def replay(ctx: Ctx, caller: Admin, name: Name, event_id: str = "") -> Replayed:
    """Send dead letters again, all or one."""
    count = await ctx.db.write(lambda session: store.replay(session, name, event_id))
    _tell(ctx)
    return Replayed(count=count)


def _tell(ctx: Context) -> None:
    ctx.bus.publish(topics.WEBHOOKS_CHANGED, {})
