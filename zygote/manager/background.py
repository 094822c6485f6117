"""What the manager itself does beside serving calls, as tasks that somebody looks after.

What goes on for ever is begun anew after a fault that nobody foresaw (`lasting`): a second later,
then ever more slowly. An error is told once, however often it comes back.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

FIRST, MOST = 1.0, 15.0
"""Seconds until the next try; meanwhile the manager's own watchdog (60 s as shipped) is not fed."""
STEADY = 60.0
"""Seconds without a fault after which the next one counts as a first one again."""


class Once:
    """Tells of each error once: of each kind and place in the code, whatever its words are.

    Args:
        tell: told of one that is new.
    """

    def __init__(self, tell: Callable[[BaseException], None]) -> None:
        self._tell = tell
        self._told: set[tuple[type, str, int | None]] = set()

    def __call__(self, error: BaseException) -> None:
        """It happened."""
        at = traceback.extract_tb(error.__traceback__)[-1]
        kind = (type(error), at.filename, at.lineno)
        if kind not in self._told:
            self._told.add(kind)
            self._tell(error)


async def lasting(
    work: Callable[[], Coroutine[Any, Any, None]], failed: Callable[[BaseException], None]
) -> None:
    """Do what is to go on for ever, again after each fault; ends only when it is cancelled.

    Args:
        work: begins it.
        failed: told of each fault; see `Once`.
    """
    loop = asyncio.get_running_loop()
    delay = FIRST
    while True:
        began = loop.time()
        try:
            await work()
        except Exception as error:
            failed(error)
        if loop.time() - began >= STEADY:
            delay = FIRST
        await asyncio.sleep(delay)
        delay = min(MOST, 2 * delay)


class Background:
    """Tasks that nobody waits for.

    Args:
        failed: told of the exception that one ended with.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, failed: Callable[[BaseException], None]
    ) -> None:
        self._loop = loop
        self._failed = failed
        self._tasks: set[asyncio.Task[Any]] = set()
        self._passing: set[asyncio.Task[Any]] = set()

    @property
    def passing(self) -> int:
        """How many are under way that will come to an end by themselves."""
        return len(self._passing)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin one that will come to an end by itself."""
        self._passing.add(self._begin(work))

    def keep(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin one that ends only when it is cancelled, and anew after each fault."""
        self._begin(lasting(work, Once(self._failed)))

    def cancel(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._passing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)
