"""/events and /stream: what happens, as server-sent events that can be resumed.

Rows come from the database, so that none is lost: an event's id says how far the reader has come,
and who reconnects with it (`Last-Event-ID`) gets what came after it. The bus only wakes. Beside
the rows `/stream` has `changed` events without an id: hints to look again, worth no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import func, select
from sqlmodel import col

from decnet.bus.subscription import Event
from decnet.context import Context
from decnet.db.tables import CanaryTrigger, Log
from decnet.web.api import auth
from decnet.web.api.guard import Caller, Ctx, still_valid
from decnet.web.api.routes.canary import Trigger
from decnet.web.api.routes.logs import LogEvent

router = APIRouter(tags=["stream"])
BATCH = 200
POLL_SECONDS = 2.0
RECHECK_SECONDS = 60.0
"""How soon a stream ends after its token was revoked."""
HINT_SECONDS = 1.0
HINTS = {
    "attacker.scored": "attackers",
    "attacker.observed": "attackers",
    "attacker.session.ended": "sessions",
    "attacker.intel.enriched": "attackers",
    "identity.>": "identities",
    "campaign.>": "campaigns",
    "credential.captured": "credentials",
    "credential.reuse.detected": "credentials",
    "ttp.tagged": "ttp",
    "decky.*.state": "deckies",
    "decky.*.mutation": "deckies",
    "system.webhook.subscriptions_changed": "webhooks",
}
_ID = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)


class Streams:
    """How many streams are open, and how many may be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0

    @contextlib.contextmanager
    def place(self, ctx: Context) -> Iterator[None]:
        """Held by one stream while it is open."""
        self.open += 1
        ctx.health["streams"] = self.open
        try:
            yield
        finally:
            self.open -= 1
            ctx.health["streams"] = self.open


async def _room(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    if streams.open >= streams.most:
        raise HTTPException(
            503, f"{streams.most} event streams are open already", headers={"Retry-After": "5"}
        )
    return streams


Room = Annotated[Streams, Depends(_room)]
After = Annotated[int | None, Query(ge=0, lt=2**63)]


async def _position(
    last_event_id: Annotated[str | None, Header(max_length=64)] = None, after_id: After = None
) -> tuple[int | None, int | None]:
    """Where to go on: rows of `logs` and of `canary_triggers`; None is "from now on"."""
    if last_event_id:
        match = _ID.fullmatch(last_event_id.strip())
        if match is None:
            raise HTTPException(422, "Last-Event-ID is none of ours")
        return int(match[1]), int(match[2]) if match[2] else None
    return after_id, None


Position = Annotated[tuple[int | None, int | None], Depends(_position)]


@router.get("/events", response_class=EventSourceResponse)
async def events(
    ctx: Ctx, caller: Caller, streams: Room, position: Position
) -> AsyncIterator[ServerSentEvent]:
    """Stored events as server-sent events, each with its row id.

    Starts after `Last-Event-ID` (or `after_id`), so that a browser that reconnects misses none;
    without either, at the newest row.
    """
    last = position[0]
    with streams.place(ctx), await ctx.wake("system.log") as wake:
        if last is None:
            last = await newest(ctx, Log)
        yield ServerSentEvent(comment=f"events after {last}", retry=1000)
        async for _ in turns(ctx, caller):
            batch = [LogEvent.model_validate(row) for row in await rows_after(ctx, Log, last)]
            for event in batch:
                last = event.id
                yield ServerSentEvent(data=event, event="log", id=str(last))
            if len(batch) < BATCH:
                await wake.wait(POLL_SECONDS)


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    ctx: Ctx, caller: Caller, streams: Room, position: Position
) -> AsyncIterator[ServerSentEvent]:
    """All that a dashboard shows: `log` and `canary` rows with resumable ids, `changed` hints."""
    log, ring = position
    changed: set[str] = set()
    with streams.place(ctx), await ctx.wake("system.log", "canary.>", *HINTS) as wake:
        with _hints(ctx, changed):
            log = await newest(ctx, Log) if log is None else log
            ring = await newest(ctx, CanaryTrigger) if ring is None else ring
            # An id at once: who is cut off before the first event resumes here too.
            start = f"{log}-{ring}"
            yield ServerSentEvent(data={"after": start}, event="hello", id=start, retry=1000)
            told = 0.0
            async for _ in turns(ctx, caller):
                rows = [LogEvent.model_validate(row) for row in await rows_after(ctx, Log, log)]
                for event in rows:
                    log = event.id
                    yield ServerSentEvent(data=event, event="log", id=f"{log}-{ring}")
                rung = await rows_after(ctx, CanaryTrigger, ring)
                for trigger in (Trigger.model_validate(row) for row in rung):
                    ring = trigger.id
                    yield ServerSentEvent(data=trigger, event="canary", id=f"{log}-{ring}")
                if changed and time.monotonic() - told >= HINT_SECONDS:
                    told, what = time.monotonic(), sorted(changed)
                    changed.clear()
                    yield ServerSentEvent(data=what, event="changed")
                if len(rows) < BATCH and len(rung) < BATCH:
                    await wake.wait(HINT_SECONDS if changed else POLL_SECONDS)


async def turns(ctx: Context, caller: auth.Identity) -> AsyncIterator[None]:
    """Goes on until the worker stops or the caller's token is no longer good."""
    checked = time.monotonic()
    while not ctx.stopping.is_set() and time.time() < caller.expires_at:
        if time.monotonic() - checked > RECHECK_SECONDS:
            checked = time.monotonic()
            try:
                await still_valid(ctx, caller)
            except HTTPException:
                return
        yield
        await asyncio.sleep(0)


async def newest(ctx: Context, table: Any) -> int:
    """The highest id of a table; 0 where it is empty."""
    async with ctx.db.session() as session:
        return (await session.execute(select(func.max(col(table.id))))).scalar() or 0


async def rows_after(ctx: Context, table: Any, last: int) -> list[Any]:
    """The next rows, `BATCH` at most."""
    statement = select(table).where(col(table.id) > last).order_by(col(table.id)).limit(BATCH)
    async with ctx.db.session() as session:
        return list(await session.scalars(statement))


@contextlib.contextmanager
def _hints(ctx: Context, changed: set[str]) -> Iterator[None]:
    """Collects what the bus says has changed."""

    def hearer(name: str) -> Any:
        def hear(event: Event) -> None:
            changed.add(name)

        return hear

    handlers = [(pattern, hearer(name)) for pattern, name in HINTS.items()]
    for pattern, handler in handlers:
        ctx.bus.listen(pattern, handler)
    try:
        yield
    finally:
        for pattern, handler in handlers:
            ctx.bus.forget(pattern, handler)
