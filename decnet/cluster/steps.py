"""How a clusterer takes its steps: one that fails ends neither the others nor the worker."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.cluster.merged import Outcome
from decnet.context import Context
from decnet.db.errors import StorageError

log = logging.getLogger("decnet.cluster")

TRIES = 3
"""Failures of a step in a row before it is helped over."""


class Steps:
    """The steps of one worker, with their counts.

    Args:
        queue: the step that works off a queue. After `TRIES` failures it takes one thing at a time
            (see `batch`), so that the next failure is that thing's.
        skip_one: sets aside the first of that queue.
    Attributes:
        done: what was done, by step, for the heartbeat; others may count in it.
    """

    def __init__(
        self, ctx: Context, queue: str, skip_one: Callable[[AsyncSession], Awaitable[Any]]
    ) -> None:
        self.done: Counter[str] = Counter()
        self._ctx = ctx
        self._queue = queue
        self._skip_one = skip_one
        self._failures: Counter[str] = Counter()

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        failing = {step: count for step, count in self._failures.items() if count}
        return {**self.done, "failing": failing} if failing else dict(self.done)

    def batch(self, most: int) -> int:
        """How much of the queue to take at once."""
        return 1 if self._failures[self._queue] >= TRIES else most

    async def take(self, name: str, step: Callable[[], Awaitable[int]]) -> bool:
        """Take a step, which gives how much it did; whether that was anything.

        Raises:
            StorageError: the disk is full, or the like: that is no step's fault.
        """
        self._ctx.progress()
        try:
            count = await step()
        except StorageError:
            raise
        except Exception:
            self._failures[name] += 1
            log.exception("the step %r failed (%d in a row)", name, self._failures[name])
            if name == self._queue and self._failures[name] > TRIES:
                await self._ctx.write(self._skip_one)
                self.done["set_aside"] += 1
                self._failures[name] = TRIES
                return True
            return False
        self._failures[name] = 0
        self.done[name] += count
        return count > 0

    async def write(self, work: Callable[[AsyncSession], Awaitable[Outcome | int]]) -> int:
        """Do it in one transaction; hints after the commit. How much it did."""
        outcome = await self._ctx.write(work)
        if isinstance(outcome, int):
            return outcome
        for topic, payload in outcome.events:
            self._ctx.bus.publish(topic, payload)
        return outcome.count
