"""How a worker waits: woken by the bus, by the stop, or at the latest by its poll interval."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType

from decnet.bus.client import BusClient
from decnet.bus.subscription import Event


class Stopping(asyncio.Event):
    """Set once the worker is to stop; wakes whoever waits in a `Wake` as well."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes: list[Callable[[], None]] = []

    def set(self) -> None:
        super().set()
        for wake in self.wakes:
            wake()


class Wake:
    """ "Something may have happened": a flag that bus topics set and `wait` takes down.

    It is taken down before the tick reads the database, so an event that arrives during a tick
    is seen by the next `wait` and not lost until the next poll. A reconnected bus counts as a
    hint: what was published in between is gone.

    A worker's own wake lives as long as the worker; others are closed (`with await ctx.wake(…)`).

    Args:
        patterns: topics that set the flag.
        idle: brackets the waiting, which is no lack of progress.
    Raises:
        ValueError: not a topic pattern.
    """

    def __init__(
        self,
        patterns: tuple[str, ...],
        bus: BusClient,
        stopping: Stopping,
        idle: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self._patterns = patterns
        self._bus = bus
        self._stopping = stopping
        self._idle = idle
        self._flag = asyncio.Event()
        for pattern in patterns:
            bus.listen(pattern, self._on_event)
        bus.on_connected.append(self.hint)
        stopping.wakes.append(self.hint)
        if stopping.is_set():
            self.hint()

    async def wait(self, poll: float) -> bool:
        """Until a hint, the stop, or `poll` seconds; True if a hint came."""
        with self._idle(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(poll):
                await self._flag.wait()
        if self._stopping.is_set():
            return False
        hinted = self._flag.is_set()
        self._flag.clear()
        return hinted

    def hint(self) -> None:
        """Set the flag by hand."""
        self._flag.set()

    def close(self) -> None:
        """Forget the topics. Safe to call twice."""
        for pattern in self._patterns:
            self._bus.forget(pattern, self._on_event)
        for hooks in (self._bus.on_connected, self._stopping.wakes):
            with contextlib.suppress(ValueError):
                hooks.remove(self.hint)

    def __enter__(self) -> Wake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_event(self, event: Event) -> None:
        self._flag.set()
