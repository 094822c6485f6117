"""What a subscriber holds: events in order, bounded, the oldest dropped and counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

QUEUE_LIMIT = 1024
"""Events that a subscription holds; more drop the oldest."""


class Event(NamedTuple):
    """What arrived: the broker's envelope around the publisher's payload."""

    topic: str
    type: str
    payload: dict[str, Any]
    id: str
    ts: float


class Subscription:
    """Events of one pattern; `async for event in subscription` ends when it is closed."""

    def __init__(self, pattern: str, forget: Callable[[Subscription], None], limit: int) -> None:
        self.pattern = pattern
        self.dropped = 0
        self._forget = forget
        self._events: deque[Event] = deque(maxlen=limit)
        self._arrived = asyncio.Event()
        self._closed = False

    def push(self, event: Event) -> None:
        """Hand in an event (the client does)."""
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._arrived.set()

    def try_get(self) -> Event | None:
        """The next event if one is here."""
        return self._events.popleft() if self._events else None

    async def get(self) -> Event | None:
        """Wait for the next event; None when the subscription is closed and empty."""
        while not self._events and not self._closed:
            self._arrived.clear()
            await self._arrived.wait()
        return self.try_get()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        event = await self.get()
        if event is None:
            raise StopAsyncIteration
        return event

    def close(self) -> None:
        """Unsubscribe; what has arrived can still be read."""
        if not self._closed:
            self._closed = True
            self._forget(self)
            self._arrived.set()
