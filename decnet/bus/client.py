"""The bus as a worker sees it: a client that is never a reason to stop working.

The bus only wakes; the database remembers. So `publish` never blocks and never raises (what
cannot be sent is counted in `dropped`), a lost connection comes back by itself with jitter and
all subscriptions, and after it `on_connected` tells, so that a worker looks for what it missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from decnet.bus import topics
from decnet.bus.frames import Frame, FrameError, dump_object, encode
from decnet.bus.link import Link
from decnet.bus.subscription import QUEUE_LIMIT, Event, Subscription

log = logging.getLogger("decnet.bus")

SEND_LIMIT = 1 << 20
"""Unsent bytes beyond which `publish` drops: the broker reads all the time, or is stopped."""
HELLO_TIMEOUT = 2.0
RETRY_FIRST, RETRY_MOST = 0.05, 5.0
TELL_AFTER = 4
"""Failed tries before the log says so: a bus that is being restarted is no news."""


class Dumpable(Protocol):
    """A pydantic model, without importing pydantic."""

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class BusClient:
    """One connection to the broker at `path`, introduced as `name`. Make it after the fork.

    Args:
        path: the broker's socket.
        name: for the broker's log.
        enabled: False makes every call a no-op (DECNET_BUS_ENABLED=false).
    """

    def __init__(self, path: Path | str, name: str, *, enabled: bool = True) -> None:
        self.path = str(path)
        self.name = topics.token(name)
        self.enabled = enabled
        self.connected = False
        self.connections = 0
        self.on_connected: list[Callable[[], None]] = []
        self._unsent = 0
        self._lost_in_queues = 0
        self._handlers: dict[str, list[Callable[[Event], None]]] = {}
        self._subscriptions: set[Subscription] = set()
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def dropped(self) -> int:
        """Events lost on our side: not sent, or pushed out of a full subscription."""
        return self._unsent + self._lost_in_queues + sum(s.dropped for s in self._subscriptions)

    async def connect(self) -> bool:
        """Start; True when the broker answered at once. Where not, go on trying. Never raises."""
        if not self.enabled:
            return False
        if self._task is None:
            ok = await self._attempt()
            self._task = asyncio.create_task(self._stay_connected(), name=f"bus:{self.name}")
            return ok
        return self.connected

    def publish(
        self, topic: str, payload: Mapping[str, Any] | Dumpable, type: str | None = None
    ) -> bool:
        """Send an event; False when it was dropped (and counted). Never blocks, never raises.

        Args:
            topic: where to; not a pattern.
            payload: a JSON object or a pydantic model.
            type: what it is, where a topic carries several kinds; default the topic's last token.
        """
        if not self.enabled:
            return False
        link = self._link
        if link is None or not self.connected or link.unsent() > SEND_LIMIT:
            self._unsent += 1
            return False
        try:
            if not topics.is_topic(topic):
                raise FrameError(f"not a topic: {topic[:80]!r}")
            plain = (
                dict(payload) if isinstance(payload, Mapping) else payload.model_dump(mode="json")
            )
            body = dump_object({"type": type or topic.rpartition(".")[2], "payload": plain})
            link.write(encode("PUB", topic, body))
        except Exception as error:  # a hint must never end the work that it tells of
            log.warning("bus event on %.80s dropped: %s", topic, error)
            self._unsent += 1
            return False
        return True

    def subscribe(self, pattern: str, limit: int = QUEUE_LIMIT) -> Subscription:
        """Events of a pattern from now on, and again after every reconnect.

        Raises:
            ValueError: not a pattern.
        """
        subscription = Subscription(pattern, self._unsubscribe, limit)
        self.listen(pattern, subscription.push)
        self._subscriptions.add(subscription)
        return subscription

    def listen(self, pattern: str, handler: Callable[[Event], None]) -> None:
        """Call `handler` for each event of a pattern; it must be quick and not raise.

        Raises:
            ValueError: not a pattern.
        """
        if not topics.is_pattern(pattern):
            raise ValueError(f"not a topic pattern: {pattern!r}")
        handlers = self._handlers.setdefault(pattern, [])
        handlers.append(handler)
        if len(handlers) == 1:
            self._tell("SUB", pattern)

    def forget(self, pattern: str, handler: Callable[[Event], None]) -> None:
        """Undo one `listen`."""
        handlers = self._handlers.get(pattern, [])
        if handler in handlers:
            handlers.remove(handler)
            if not handlers:
                del self._handlers[pattern]
                self._tell("UNSUB", pattern)

    async def flush(self, seconds: float = HELLO_TIMEOUT) -> bool:
        """Wait until the broker has handled all that was sent before; False when it is away."""
        return self._link is not None and await self._link.hello(self.name, seconds)

    async def close(self) -> None:
        """Say BYE, end all subscriptions, stop reconnecting. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for subscription in list(self._subscriptions):
            subscription.close()
        link, self._link, self.connected = self._link, None, False
        if link is not None:
            link.write(encode("BYE"))
            await link.close()
        self.enabled = False

    # -- below: one connection after the other

    def _unsubscribe(self, subscription: Subscription) -> None:
        self.forget(subscription.pattern, subscription.push)
        self._subscriptions.discard(subscription)
        self._lost_in_queues += subscription.dropped

    def _tell(self, verb: str, pattern: str) -> None:
        if self.connected and self._link is not None:
            self._link.write(encode(verb, pattern))

    async def _stay_connected(self) -> None:
        while True:
            if self._link is not None and self.connected:
                await self._link.closed.wait()
                self._link, self.connected = None, False
            delay, failures = RETRY_FIRST, 0
            while not self.connected:
                # Jitter, or every worker comes back in the same instant.
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))
                if await self._attempt():
                    break
                delay = min(delay * 2, RETRY_MOST)
                failures += 1
                if failures == TELL_AFTER:
                    log.info("no bus at %s: working by polling until it is back", self.path)
            if failures >= TELL_AFTER:
                log.info("the bus is back")

    async def _attempt(self) -> bool:
        """One try: connect, HELLO, wait for its answer, subscribe to all. Never raises."""
        loop = asyncio.get_running_loop()
        link: Link | None = None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                _, link = await loop.create_unix_connection(lambda: Link(self._receive), self.path)
            if not await link.hello(self.name, HELLO_TIMEOUT):
                raise ConnectionError("no answer to HELLO")
        except (OSError, ValueError) as error:
            log.debug("bus at %s: %s", self.path, error)
            if link is not None:
                await link.close()
            return False
        except BaseException:
            if link is not None:
                link.abort()
            raise
        for pattern in self._handlers:
            link.write(encode("SUB", pattern))
        self._link, self.connected = link, True
        self.connections += 1
        for tell in self.on_connected:
            tell()
        return True

    def _receive(self, frame: Frame) -> None:
        if frame.verb != "EVT":
            return
        envelope = frame.parse()
        payload = envelope.get("payload")
        event = Event(
            frame.argument,
            str(envelope.get("type", "")),
            payload if isinstance(payload, dict) else {},
            str(envelope.get("id", "")),
            float(envelope.get("ts", 0.0)),
        )
        parts = event.topic.split(".")
        for pattern, handlers in list(self._handlers.items()):
            if topics.match_tokens(pattern.split("."), parts):
                for handler in list(handlers):
                    handler(event)
