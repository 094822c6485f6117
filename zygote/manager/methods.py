"""What the methods of the control interface do; see `zygote.control.interface`."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from zygote import __version__
from zygote.control.interface import ManagerState, Result, RollStep, WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet
from zygote.manager.background import Background
from zygote.manager.checker import check
from zygote.manager.children import Children
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.options import Options
from zygote.manager.reaper import Reaper
from zygote.manager.reexec import Site, reexec
from zygote.manager.reload import apply
from zygote.manager.targets import Asked
from zygote.manager.views import view, view_zygote
from zygote.manager.works import Works


class Methods:
    """The methods, and what of the manager only they need to know.

    Args:
        env: what zygotes and workers inherit.
        nofile: limits of open files as the manager was given them.
    Attributes:
        fleet: as it was read last.
        works, control: what runs, once it does.
        serves: the start-up is done.
        stopping: set when everything is to end.
        notices: lines for `status`, by what they are about.
    """

    def __init__(
        self, options: Options, events: EventLog, children: Children, reaper: Reaper,
        background: Background, env: Mapping[str, str], nofile: tuple[int, int],
    ) -> None:  # fmt: skip
        self.events = events
        self.fleet: Fleet
        self.works: Works | None = None
        self.control: Control | None = None
        self.serves = False
        self.stopping = asyncio.Event()
        self.notices: dict[str, str] = {}
        self.started_at = time.time()
        self.nofile = nofile
        self._options = options
        self._children = children
        self._reaper = reaper
        self._background = background
        self._env = env
        self._reloading = asyncio.Lock()
        self._reexecs = False
        self._stat: tuple[int, int, int] | None = None

    # What is asked

    def status(self) -> ManagerState:
        """The manager itself."""
        works = self._running
        rolling = [f"a reload is under way: {works.reloads.under_way}"]
        return ManagerState(
            version=__version__,
            pid=os.getpid(),
            fleet=self.fleet.name,
            file=self.fleet.file,
            runtime_dir=str(works.runtime.path),
            log_dir=str(works.logs.path("x").parent),
            started_at=self.started_at,
            python=sys.version.split()[0],
            spawns=works.spawner.count,
            limits=works.leaves.summary,
            notices=[
                *self.fleet.warnings,
                *self.notices.values(),
                *(rolling if works.reloads.under_way else ()),
                *works.notices(),
            ],
            fleet_changed=self._stat != _stat_of(self.fleet.file),
            stopping=self.stopping.is_set(),
        )

    def zygote_states(self) -> list[ZygoteState]:
        """All zygotes."""
        works = self._running
        specs = [worker.unit.spec for worker in works.workers.all()]
        return [
            view_zygote(slot, [s for s in specs if s.zygote == name and s.is_copy], self._env)
            for name, slot in works.zygotes.slots.items()
        ]

    def worker_states(self, names: list[str] | None) -> list[WorkerState]:
        """Workers in start order.

        Raises:
            ZygoteError: code no-such-worker.
        """
        workers = self._running.workers
        if names is None:
            return [view(worker) for worker in workers.all()]
        chosen = {worker.name for name in names for worker in workers.match(name)}
        return [view(worker) for worker in workers.all() if worker.name in chosen]

    # What is to be done with workers

    async def start_workers(
        self, names: list[str], wait: str = "ready", timeout: float | None = None
    ) -> list[Result]:
        """Start workers and wait for them."""
        self._check_not_stopping()
        return await self._running.workers.start(names, wait, timeout)

    async def stop_workers(self, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop workers and keep them stopped."""
        return await self._running.workers.stop(names, timeout)

    async def restart_workers(self, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop, then start."""
        self._check_not_stopping()
        return await self._running.workers.restart(names, timeout)

    def kill_workers(self, names: list[str], signal: str) -> list[Result]:
        """Send a signal to main processes."""
        return self._running.workers.kill(names, signal)

    async def run_program(self, **how: Any) -> tuple[int, asyncio.Future[int]]:
        """`zygotectl run`; see `Programs.run`."""
        self._check_not_stopping()
        return await self._running.programs.run(**how)

    def hang_up(self, pid: int) -> None:
        """The caller of a program is gone."""
        self._running.programs.hang_up(pid)

    # What is to be done with the fleet

    async def reload(self) -> list[str]:
        """Read the fleet file again; one line for each change made or pending.

        Raises:
            FleetFileError: it is wrong; the fleet stays as it is.
        """
        self._check_not_stopping()
        works = self._running
        works.reloads.check_none()
        async with self._reloading:
            try:
                await self.read_fleet()
            except ZygoteError as error:
                self.notices["reload"] = f"the fleet file was not taken: {error.message}"
                self.events.emit("reload-failed", "manager", detail=error.message)
                raise
            self.notices.pop("reload", None)
            changes = apply(self.fleet, works.workers, works.zygotes)
        for name in changes.new_zygotes:
            works.zygotes.slots[name].keep()
        for line in changes.lines:
            self.events.emit("reload", "manager", detail=line)
        if changes.stop:
            self._background.spawn(works.workers.stop([worker.name for worker in changes.stop]))
        if changes.start:
            self._background.spawn(works.workers.start(changes.start, "no"))
        return changes.lines

    async def roll(
        self, zygotes: list[str], workers: list[str], force: bool
    ) -> AsyncIterator[RollStep]:
        """Bake zygotes anew and move workers over; see `Reloads.run`."""
        self._check_not_stopping()
        asked = Asked(zygotes, workers, force)
        async for step in self._running.reloads.run(asked, self.fleet):
            if step.step == "done":
                self.notices.pop("reload-cut", None)
            yield step

    async def refork(self, worker: str, move: bool) -> AsyncIterator[RollStep]:
        """Fork a warm worker to be the next generation of its zygote; see `Reloads.run`."""
        self._check_not_stopping()
        async for step in self._running.reloads.run(Asked(mold=worker, move=move), self.fleet):
            yield step

    async def reexec(self, timeout: float) -> NoReturn:
        """Become the code that is on disk now, in this process. See `zygote.manager.reexec`.

        Args:
            timeout: seconds for calls in progress to be answered.
        Raises:
            ZygoteError: why not; then all is as it was.
        """
        self._check_not_stopping()
        works = self._running
        if not self.serves or self.control is None:
            raise ZygoteError("the manager is starting", code="starting")
        works.reloads.check_none()
        if self._reexecs:
            raise ZygoteError("a reexec is under way", code="reexec-refused", step="reexec",
                              hint="zygotectl events -f tells when it is done")  # fmt: skip
        site = Site(
            works, self.control, self._children, self._reaper, self.events,
            self._options.words(), self._about, self._busy,
        )  # fmt: skip
        self._reexecs = True
        try:
            await reexec(site, timeout)
        finally:
            self._reexecs = False

    def shutdown(self) -> None:
        """Stop everything and end. Returns at once."""
        self.stopping.set()

    # For the start-up

    async def read_fleet(self) -> None:
        """Have the fleet file read; `fleet` is what it says.

        Raises:
            FleetFileError: it is wrong; `fleet` stays as it is.
        """
        stat = _stat_of(self._options.fleet)
        self.fleet = await check(self._options.fleet, self._children, self._env)
        self._stat = stat

    def take_over(self, about: Mapping[str, Any], fleet: Fleet) -> None:
        """Go on from what the manager that this process was before knew; see `_about`."""
        self.fleet = fleet
        self.started_at, self.notices = about["started_at"], about["notices"]
        self._stat = tuple(about["stat"]) if about["stat"] else None
        self.nofile = (about["nofile"][0], about["nofile"][1])

    def _about(self) -> dict[str, Any]:
        """What another manager in this process has to know, beside what is `carried`."""
        works = self._running
        return {
            "fleet": self.fleet.to_json(),
            "stat": self._stat,
            "started_at": self.started_at,
            "notices": self.notices,
            "nofile": self.nofile,
            "runtime": str(works.runtime.path),
            "held": sorted(works.runtime.held),
        }

    def _busy(self) -> str:
        """What of our own doing is not done, or ""."""
        if self.stopping.is_set():
            return "it is stopping"
        if self._reloading.locked():
            return "the fleet file is being read"
        if reload := self._running.reloads.under_way:
            return f"a reload is under way: {reload}"
        passing = self._background.passing
        return f"{passing} changes of a reload are under way" if passing else ""

    @property
    def _running(self) -> Works:
        if self.works is None:
            raise ZygoteError("the manager is starting", code="starting")
        return self.works

    def _check_not_stopping(self) -> None:
        if self.stopping.is_set():
            raise stopped()


def stopped() -> ZygoteError:
    """It is too late to ask for that."""
    return ZygoteError("the manager is stopping", code="stopping", exit_code=Exit.NOT_RUNNING)


def _stat_of(file: str) -> tuple[int, int, int] | None:
    """What changes when a file does; reading and hashing it would cost OpenSSL's megabytes."""
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
