"""Alarms: one timer a worker, that costs nothing to push back; and the manager's own heartbeat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from zygote import notify


class Alarm:
    """Calls back at a moment that may be moved at any time.

    A worker's watchdog moves its deadline with every sign of life. So moving it later only
    notes it; the timer that is running looks again when it fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = 0.0

    @property
    def late(self) -> float:
        """By how many seconds the last ring came too late: we were held up ourselves."""
        return self._late

    def set(self, due: float | None) -> None:
        """Ring at `due` (the loop's clock), or not at all (None)."""
        self._due = due
        if due is None:
            self.cancel()
        elif self._timer is None or due < self._timer.when():
            if self._timer:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._fire)

    def cancel(self) -> None:
        """Ring no more."""
        self._due = None
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self._due is None:
            return
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._fire)
            return
        self._late = self._loop.time() - self._due
        self._due = None
        self._ring()


async def beat(status: Callable[[], str]) -> None:
    """Tell our own supervisor (NOTIFY_SOCKET) that we live, and in a few words how we do.

    Sends WATCHDOG=1 at half the interval that WATCHDOG_USEC asks for, and STATUS= when it has
    changed. Ends only when cancelled.
    """
    interval = notify.watchdog_interval()
    told = ""
    while True:
        if interval is not None:
            notify.watchdog()
        if (text := status()) != told:
            notify.status(text)
            told = text
        await asyncio.sleep(min(interval or 5.0, 5.0))
