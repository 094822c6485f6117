"""One receiver's lane: its events in order, as many at once as its subscription allows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from decnet.webhook.event import Event
from decnet.webhook.outbox import Done, Item
from decnet.webhook.sender import Outcome, Receiver, Sender

log = logging.getLogger("decnet.webhook")

TRANSIENT_MOST = 256
"""Events that are stored nowhere; more drop the oldest, counted."""
AHEAD = 20
FINISH_SECONDS = 4.0
"""For deliveries in progress when the lane is closed."""

Load = Callable[[str, int, Iterable[int]], Awaitable[list[Item]]]
Record = Callable[[Done], Awaitable[bool]]


class Lane:
    """Delivers until closed. Who stores a row for its receiver calls `hint`.

    Args:
        load: pending rows of a subscription: how many at most, which ones not.
        record: returns once the outcome is in the database; False where it refuses it.
    """

    def __init__(self, receiver: Receiver, sender: Sender, load: Load, record: Record) -> None:
        self.receiver = receiver
        self.dropped = 0
        self.delivered = 0
        self.failed = 0
        self._sender = sender
        self._load = load
        self._record = record
        self._transient: deque[Event] = deque(maxlen=TRANSIENT_MOST)
        self._ahead: deque[Item] = deque()
        self._taken: set[int] = set()
        self._news = asyncio.Event()
        self._news.set()
        self._fetching = asyncio.Lock()
        self._closing = False
        self._turn = False
        self._tasks = [
            asyncio.create_task(self._work(), name=f"webhook:{receiver.name}:{number}")
            for number in range(receiver.concurrency)
        ]

    def hint(self) -> None:
        """There may be pending rows."""
        self._news.set()

    def push(self, event: Event) -> None:
        """An event that is stored nowhere."""
        if len(self._transient) == TRANSIENT_MOST:
            self.dropped += 1
        self._transient.append(event)
        self._news.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._closing = True
        self._news.set()

    async def close(self) -> None:
        """End; what is being delivered gets `FINISH_SECONDS` to be noted."""
        self.stop()
        _, left = await asyncio.wait(self._tasks, timeout=FINISH_SECONDS)
        for task in left:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        while not self._closing:
            item = await self._next()
            if item is None:
                continue
            # What cannot be noted is not sent for ever: it stays taken until the next start.
            if await self._deliver(item):
                self._taken.discard(item.id)

    async def _deliver(self, item: Item) -> bool:
        try:
            outcome = await self._sender.deliver(self.receiver, item.event)
        except Exception as error:  # whatever one event does must not end the lane
            log.exception("a delivery failed in a way that was not foreseen")
            outcome = Outcome(False, 1, None, 0.0, f"{type(error).__name__} in the webhook worker")
        if outcome.ok:
            self.delivered += 1
        else:
            self.failed += 1
            log.warning(
                "webhook %r, event %s: %s", self.receiver.name, item.event.id, outcome.error
            )
        return await self._record(Done(self.receiver, item.id or None, item.event, outcome))

    async def _next(self) -> Item | None:
        """The next event, waiting for one; stored and transient ones take turns."""
        async with self._fetching:
            if self._closing:
                return None
            self._turn = not self._turn
            if self._transient and (self._turn or not self._ahead):
                return Item(0, self._transient.popleft())
            if not self._ahead:
                # Down before looking: a hint that comes meanwhile makes us look again.
                self._news.clear()
                self._ahead += await self._load(self.receiver.uuid, AHEAD, tuple(self._taken))
            if self._ahead:
                item = self._ahead.popleft()
                self._taken.add(item.id)
                return item
            if self._transient:
                return Item(0, self._transient.popleft())
            if not self._closing:
                await self._news.wait()
            return None
