"""What the manager itself does beside serving calls, as tasks that somebody looks after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


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

    def spawn(self, work: Coroutine[Any, Any, Any], *, endless: bool = False) -> None:
        """Begin one. `endless`: it ends only when it is cancelled."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        if not endless:
            self._passing.add(task)
        task.add_done_callback(self._done)

    def cancel(self) -> None:
        """End them all."""
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._passing.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)
