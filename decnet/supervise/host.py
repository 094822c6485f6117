"""A group of workers in one event loop: one task group, one pool of connections, one fate.

What a process of its own gives a worker, this cannot: a crash of the interpreter, a full memory
limit or a stuck loop takes all of them, they share one uid and every privilege. It is here because
it is the other way to save memory, and so that both can be measured.

A worker that fails is started again after 1 s, doubling to 30 s, and after 1 s again once it has
run for `STABLE_SECONDS`. A worker that returns without having been asked to is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.context import Context, Main, conduct, open_context
from decnet.db.engine import Database
from decnet.settings import Settings
from decnet.workers import WORKERS
from zygote.errors import Exit, ZygoteError

log = logging.getLogger("decnet.supervise")

FIRST, MOST = 1.0, 30.0
STABLE_SECONDS = 60.0
CONNECTIONS = 8
"""For all of them together; a process of its own has two."""

GROUPS: dict[str, tuple[str, ...]] = {
    "batch": ("mutate", "reconciler", "orchestrator", "enrich"),
    "cpu": ("clusterer", "campaign-clusterer", "profiler", "ttp"),
    "all": tuple(WORKERS),
}


@dataclass
class Hosted:
    """One worker and how it has been."""

    name: str
    main: Main
    database: bool
    restarts: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    last_error: str = ""


def choose(names: Sequence[str]) -> list[str]:
    """Workers of these names and groups, each once, in start order.

    Raises:
        ZygoteError: there is no such worker or group.
    """
    wanted: set[str] = set()
    for name in names:
        if name not in GROUPS and name not in WORKERS:
            raise ZygoteError(
                f"no worker or group {name!r}",
                hint=f"groups: {', '.join(GROUPS)}; workers: {', '.join(WORKERS)}",
                exit_code=Exit.USAGE,
            )
        wanted.update(GROUPS.get(name, (name,)))
    return [name for name in WORKERS if name in wanted]


def load(name: str) -> Hosted:
    """Import a worker's module."""
    module: Any = importlib.import_module(WORKERS[name])
    return Hosted(name, module.main, getattr(module, "DATABASE", True))


class Host:
    """Runs workers until it is told to stop.

    Args:
        chance: a number in [0, 1), anew at each call: jitter of the restarts.
    """

    def __init__(
        self,
        workers: Sequence[Hosted],
        settings: Settings,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.workers = workers
        self.stopping = asyncio.Event()
        self._settings = settings
        self._chance = chance
        self._live: set[Context] = set()

    def stop(self, reason: str) -> None:
        """Ask all of them to return."""
        self.stopping.set()
        for ctx in self._live:
            ctx.stop(reason)

    async def run(self) -> None:
        """Host them all; returns when all have returned.

        Raises:
            DatabaseError: the database that they share is not there, or of another version.
        """
        database = Database(self._settings.db_url, connections=CONNECTIONS)
        if any(worker.database for worker in self.workers):
            await database.open()
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self.workers:
                    group.create_task(self._keep(worker, database), name=worker.name)
                    # In order, as the manager does by `after`: the bus first.
                    await self._until_ready(worker)
        finally:
            await database.close()

    async def _until_ready(self, worker: Hosted) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10):
                await worker.ready.wait()

    async def _keep(self, worker: Hosted, database: Database) -> None:
        delay = FIRST
        while not self.stopping.is_set():
            started = time.monotonic()
            try:
                await self._once(worker, database)
                return
            except ZygoteError as error:
                worker.last_error = error.message
                log.error("%s: %s", worker.name, error.message)
            except Exception as error:
                worker.last_error = repr(error)
                log.exception("%s failed", worker.name)
            if time.monotonic() - started >= STABLE_SECONDS:
                delay = FIRST
            worker.ready.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay * (0.5 + self._chance() / 2)):
                    await self.stopping.wait()
            worker.restarts += 1
            delay = min(delay * 2, MOST)

    async def _once(self, worker: Hosted, database: Database) -> None:
        shared = database if worker.database else False
        async with open_context(
            worker.name, self._settings, database=shared, notifies=False
        ) as ctx:
            if self.stopping.is_set():
                return
            ctx.is_ready = worker.ready
            self._live.add(ctx)
            try:
                await conduct(ctx, worker.main)
            finally:
                self._live.discard(ctx)
