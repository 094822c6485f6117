"""The webhook worker: feeds into the outbox, the outbox into lanes, outcomes into the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import subscription, topics
from decnet.context import Context
from decnet.db import cursors
from decnet.db.dialect import DRIVER_ERRORS
from decnet.db.errors import StorageError
from decnet.wake import Wake
from decnet.webhook import outbox, upkeep
from decnet.webhook.event import Event, bounded
from decnet.webhook.feeds import BY_ID, CURSOR_PREFIX, Feed
from decnet.webhook.feeds_changes import Campaigns, Identities
from decnet.webhook.feeds_timed import by_time
from decnet.webhook.lane import Lane
from decnet.webhook.outbox import Enqueued, Item
from decnet.webhook.patterns import is_transient, wants_from_bus
from decnet.webhook.recorder import Recorder
from decnet.webhook.sender import Receiver, Sender
from decnet.webhook.settings import WebhookSettings

log = logging.getLogger("decnet.webhook")

INTAKE_MOST = 1024
"""Events from the bus that wait to be stored; more drop the oldest, counted."""
PRUNE_SECONDS = 60.0
SKIP_SECONDS = 30.0
"""So often the cursors of feeds that nobody wants are moved to the end."""
FAILURES_MOST = 3
"""So often a feed may fail before its rows are read one by one, and a bad one is left out."""


def all_feeds() -> tuple[Feed, ...]:
    """Every feed of this program."""
    return (*BY_ID, *by_time(), Identities(), Campaigns())


class Engine:
    """The worker's state; all that counts of it is in the database."""

    def __init__(self, ctx: Context, settings: WebhookSettings) -> None:
        self._ctx = ctx
        self._settings = settings
        self._feeds = all_feeds()
        self._sender = Sender(settings)
        self._subscribed: list[Receiver] = []
        self._off: set[str] = set()
        self._lanes: dict[str, Lane] = {}
        self._listening: set[str] = set()
        self._intake: deque[Event] = deque(maxlen=INTAKE_MOST)
        self._last_seen = ""
        self._wake: Wake | None = None
        self._recorder = Recorder(ctx, settings.threshold, self._disabled)
        self._pruned = time.monotonic()
        self._wanted: set[str] = set()
        self._skip_due = 0.0
        self._counts = {"delivered": 0, "failed": 0, "enqueued": 0, "dropped_full": 0}
        self._counts |= {"dropped_bus": 0, "dropped_transient": 0, "auto_disabled": 0}
        self._counts |= {"feed_errors": 0, "poison": 0}
        self._failures: dict[str, int] = {}
        """Feed -> how often its reading failed, then how many rows were read singly."""
        self._depth = {outbox.PENDING: 0, outbox.DEAD: 0}

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        counts = dict(self._counts)
        for lane in self._lanes.values():
            counts["delivered"] += lane.delivered
            counts["failed"] += lane.failed
            counts["dropped_transient"] += lane.dropped
        return {**counts, **self._depth, "lanes": len(self._lanes), "tries": self._sender.tries}

    async def open(self, wake: Wake) -> None:
        """Begin: cursors, the recorder, the lanes."""
        self._wake = wake
        await self._ctx.write(lambda session: outbox.start_cursors(session, self._feeds))
        self._recorder.start()
        await self.reload()

    async def close(self) -> None:
        """Let deliveries in progress end, note them, close all connections."""
        for pattern in self._listening:
            self._ctx.bus.forget(pattern, self._on_event)
        await self._close_lanes(list(self._lanes))
        await self._recorder.close()
        await self._sender.close()

    async def tick(self) -> bool:
        """Look at the subscriptions, the bus's events and every feed; True if there is more."""
        self._recorder.check()
        await self.reload()
        more = await self._store_intake()
        skips = time.monotonic() >= self._skip_due
        for feed in self._feeds:
            if feed.name in self._wanted or skips:
                more |= await self._advance(feed)
        if skips:
            self._skip_due = time.monotonic() + SKIP_SECONDS
        if time.monotonic() - self._pruned > PRUNE_SECONDS:
            self._counts["dropped_full"] += await self._ctx.write(upkeep.prune)
            self._pruned = time.monotonic()
        async with self._ctx.db.session() as session:
            self._depth = await upkeep.depth(session)
        for lane in self._lanes.values():
            lane.hint()  # replayed rows come from another process
        return more

    async def reload(self) -> None:
        """Make lanes and bus patterns what the table says."""
        async with self._ctx.db.session() as session:
            subscribed, off = await outbox.receivers(session)
        if subscribed == self._subscribed and off == self._off:
            return
        self._subscribed, self._off = subscribed, off
        active = {r.uuid: r for r in subscribed if r.uuid not in off}
        changed = [uuid for uuid, lane in self._lanes.items() if active.get(uuid) != lane.receiver]
        await self._close_lanes(changed)
        await self._sender.keep(list(active.values()))
        for uuid, receiver in active.items():
            if uuid not in self._lanes:
                self._lanes[uuid] = Lane(receiver, self._sender, self._load, self._recorder.record)
        patterns = {pattern for receiver in subscribed for pattern in receiver.patterns}
        self._wanted = {feed.name for feed in self._feeds if outbox.is_wanted(feed, patterns)}
        self._listen(patterns)
        log.info("%d subscriptions, %d of them deliver", len(subscribed), len(self._lanes))

    # -- from the bus

    def _listen(self, wanted: set[str]) -> None:
        for pattern in self._listening - wanted:
            self._ctx.bus.forget(pattern, self._on_event)
        for pattern in wanted - self._listening:
            self._ctx.bus.listen(pattern, self._on_event)
        self._listening = wanted

    def _on_event(self, event: subscription.Event) -> None:
        # One call for each of our patterns that the event matches.
        if not event.id or event.id == self._last_seen:
            return
        self._last_seen = event.id
        assert self._wake is not None
        told = Event(event.id, event.topic, event.type, event.ts, bounded(event.payload))
        if is_transient(event.topic):
            if event.topic == topics.SYSTEM_LOG:
                self._wake.hint()
            for lane in self._lanes.values():
                if wants_from_bus(lane.receiver.patterns, event.topic):
                    lane.push(told)
            return
        self._wake.hint()
        derived = False
        for feed in self._feeds:
            if any(topics.matches(pattern, event.topic) for pattern in feed.patterns):
                feed.hint()
                derived = True
        if derived:
            return  # the database has it, or will
        if len(self._intake) == INTAKE_MOST:
            self._counts["dropped_bus"] += 1
        self._intake.append(told)

    async def _store_intake(self) -> bool:
        events = [self._intake.popleft() for _ in range(min(len(self._intake), outbox.BATCH))]
        if events:
            self._tell(
                await self._ctx.write(
                    lambda session: outbox.enqueue(
                        session, events, self._subscribed, self._settings.queue_most
                    )
                )
            )
        return bool(self._intake)

    # -- from the database

    async def _advance(self, feed: Feed) -> bool:
        """Move one feed on by a batch; True if it moved. A bad row stops no other feed."""
        failures = self._failures.get(feed.name, 0)
        careful = failures >= FAILURES_MOST
        try:
            moved = await self._move(feed, 1 if careful else outbox.BATCH)
        except StorageError:
            raise
        except Exception as error:
            self._counts["feed_errors"] += 1
            self._failures[feed.name] = failures + 1
            if not careful or isinstance(error, DRIVER_ERRORS):
                log.warning("feed %s: %s: %s", feed.name, type(error).__name__, error)
                return False
            return await self._skip(feed)
        # One by one until the batch with the bad row is behind us.
        if careful and failures < FAILURES_MOST + outbox.BATCH and moved:
            self._failures[feed.name] = failures + 1
        else:
            self._failures.pop(feed.name, None)
        return moved

    async def _skip(self, feed: Feed) -> bool:
        """Leave the row behind the cursor out; True if the cursor is a number, and moved."""
        key = CURSOR_PREFIX + feed.name

        async def work(session: AsyncSession) -> bool:
            since = await cursors.get(session, key)
            if isinstance(since, int):
                await cursors.set(session, key, since + 1)
            return isinstance(since, int)

        skipped = await self._ctx.write(work)
        self._counts["poison"] += skipped
        log.error("feed %s: a row cannot be read and is left out", feed.name)
        return skipped

    async def _move(self, feed: Feed, most: int) -> bool:
        async with self._ctx.db.session() as session:
            since, until, events = await outbox.look(session, feed, self._subscribed, most)
        if since == until and not events:
            return False
        key = CURSOR_PREFIX + feed.name

        async def work(session: AsyncSession) -> Enqueued:
            # Read without the write lock; nobody else moves this cursor, or we look again.
            if await cursors.get(session, key) != since:
                return Enqueued()
            told = await outbox.enqueue(
                session, events, self._subscribed, self._settings.queue_most
            )
            await feed.settle(session, until)
            await cursors.set(session, key, until)
            return told

        self._tell(await self._ctx.write(work))
        return bool(events) or until != since

    def _tell(self, told: Enqueued) -> None:
        self._counts["enqueued"] += told.events
        self._counts["dropped_full"] += told.dropped
        for uuid in told.receivers & self._lanes.keys():
            self._lanes[uuid].hint()

    # -- to the lanes, and back

    async def _load(self, uuid: str, most: int, skip: Iterable[int]) -> list[Item]:
        async with self._ctx.db.session() as session:
            return await outbox.pending(session, uuid, most, skip)

    def _disabled(self, uuid: str) -> None:
        """Failures have disabled a subscription."""
        name = next((r.name for r in self._subscribed if r.uuid == uuid), uuid)
        log.warning(
            "webhook %r failed %d times in a row and is disabled; its events are kept;"
            " see: decnetctl webhooks enable",
            name,
            self._settings.threshold,
        )
        self._counts["auto_disabled"] += 1
        lane = self._lanes.get(uuid)
        if lane is not None:
            lane.stop()
        if self._wake is not None:
            self._wake.hint()

    async def _close_lanes(self, uuids: list[str]) -> None:
        lanes = [self._lanes.pop(uuid) for uuid in uuids]
        await asyncio.gather(*(lane.close() for lane in lanes))
        for lane in lanes:
            self._counts["delivered"] += lane.delivered
            self._counts["failed"] += lane.failed
            self._counts["dropped_transient"] += lane.dropped
