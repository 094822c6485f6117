"""The fleet as chaos sees it: everybody's life and death.

Two witnesses that do not depend on each other: a pidfd of our own on each process (who died, and
when, also while there is no manager), and the manager's word (who is ready again). This program is
a subreaper, so whatever the fleet leaves behind ends up as a child of ours: a ghost cannot hide.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.support.chaos_keeper import Keeper
from zygote.client.api import Client
from zygote.control.interface import WorkerState
from zygote.errors import ZygoteError
from zygote.sys import prctl, procfs

POLL_SECONDS = 0.1


@dataclass(eq=False)
class Process:
    """One process of the fleet, from when we first saw it."""

    name: str
    kind: str
    pid: int
    pidfd: int
    start_ticks: int
    ppid: int


@dataclass
class Hit:
    """One blow that should kill one process.

    Attributes:
        busy: what else was down in that moment, so that one may tell its recovery from theirs.
    """

    name: str
    kind: str
    pid: int
    at: float
    busy: tuple[str, ...]
    recovered: float | None = None


class Watch:
    """Looks at the fleet for as long as it runs."""

    def __init__(self, keeper: Keeper, socket: Path) -> None:
        self.keeper = keeper
        self.socket = socket
        self.live: dict[int, Process] = {}
        self.workers: dict[str, WorkerState] = {}
        self.zygotes: dict[str, tuple[str, int]] = {}
        """Name -> state and pid."""
        self.hits: list[Hit] = []
        self.strays: list[tuple[int, str]] = []
        """Pid and what is known, of those who died unhit: collateral, unless they were recycled."""
        self.starved_bakes: set[int] = set()
        """Zygotes whose descriptors were taken while they baked: they cannot import without."""
        self.went_along = 0
        """Zygotes that ended with their manager: they serve nobody but it (ARCHITECTURE.md)."""
        self.ending = False
        self.serving = False
        self._open: dict[int, Hit] = {}
        self._managers_hit: set[int] = set()
        self._dead: dict[int, int] = {}
        """Pid -> start time: numbers are used again."""
        self._client: Client | None = None
        prctl.set_child_subreaper()

    # What was done

    def hit(self, name: str, kind: str, pid: int) -> None:
        """A blow that kills has just been dealt."""
        hit = Hit(name, kind, pid, time.monotonic(), tuple(self.down()))
        self.hits.append(hit)
        self._open[pid] = hit
        if kind == "manager":
            self._managers_hit.add(pid)

    def is_hit(self, pid: int) -> bool:
        """Whether a blow to this process is still open."""
        return pid in self._open

    def down(self) -> list[str]:
        """Whoever was hit and is not back."""
        return [hit.name for hit in self._open.values()]

    @property
    def collateral(self) -> list[str]:
        """Who died without having been hit, those aside whom the manager recycled."""
        explained = self.keeper.recycled() | self.starved_bakes
        return [text for pid, text in self.strays if pid not in explained]

    @property
    def starved(self) -> int:
        """Bakes that ended because their descriptors had been taken."""
        return sum(pid in self.starved_bakes for pid, _ in self.strays)

    @property
    def settled(self) -> bool:
        """Everybody hit is back, and everybody is ready."""
        return (
            not self._open and self.serving
            and all(w.ready for w in self.workers.values() if w.autostart)
            and all(state == "ready" for state, _ in self.zygotes.values())
        )  # fmt: skip

    # What is seen

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(20):
                    await self._look()
                self.serving = True
            except (ZygoteError, TimeoutError):
                self.serving = False
                await self._hang_up()
            self._reap()
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> None:
        if self._client is None:
            self._client = await Client.connect(self.socket)
        status = await self._client.status()
        workers, zygotes = await self._client.workers(), await self._client.zygotes()
        self.workers = {w.name: w for w in workers}
        self.zygotes = {z.name: (z.state, z.pid or 0) for z in zygotes}
        self._see("manager", "manager", status.pid)
        self._back("manager", status.pid)
        for worker in workers:
            if worker.pid and worker.state not in ("stopping", "inactive"):
                kind = "decoy" if worker.name.startswith("decoy@") else "worker"
                self._see(worker.name, "bus" if worker.name == "bus" else kind, worker.pid)
            if worker.ready and worker.pid:
                self._back(worker.name, worker.pid)
        for zygote in zygotes:
            if zygote.pid:
                self._see(f"zygote.{zygote.name}", "zygote", zygote.pid)
                if zygote.state == "ready":
                    self._back(f"zygote.{zygote.name}", zygote.pid)

    def _see(self, name: str, kind: str, pid: int) -> None:
        if pid in self.live:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        stat = procfs.read_stat(pid)
        if stat is None or stat.is_zombie or self._dead.get(pid) == stat.start_ticks:
            os.close(pidfd)
            return
        process = self.live[pid] = Process(name, kind, pid, pidfd, stat.start_ticks, stat.ppid)
        asyncio.get_running_loop().add_reader(pidfd, self._died, process)

    def _died(self, process: Process) -> None:
        asyncio.get_running_loop().remove_reader(process.pidfd)
        os.close(process.pidfd)
        del self.live[process.pid]
        self._dead[process.pid] = process.start_ticks
        if process.pid in self._open or self.ending:
            return
        if process.kind == "zygote" and process.ppid in self._managers_hit:
            self.went_along += 1
        else:
            busy = ", ".join(self.down()) or "nothing"
            self.strays.append(
                (process.pid, f"{process.name} (pid {process.pid}) died while {busy} was down")
            )

    def _back(self, name: str, pid: int) -> None:
        """It is ready, under this pid: whoever of that name was hit under another has recovered."""
        for number, hit in list(self._open.items()):
            if hit.name == name and number != pid:
                hit.recovered = time.monotonic()
                del self._open[number]

    async def _hang_up(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._hang_up()
        for process in self.live.values():
            asyncio.get_running_loop().remove_reader(process.pidfd)
            os.close(process.pidfd)
        self.live.clear()

    # What is left behind

    def _reap(self) -> None:
        """Orphans of the fleet that have ended: we are their parent now."""
        for stat in children():
            if stat.is_zombie and stat.pid != self.keeper.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(stat.pid, os.WNOHANG)

    def ghosts(self) -> list[str]:
        """Processes below us that neither the manager nor a worker of its answers for."""
        known = {self.keeper.pid, *(w.pid for w in self.workers.values() if w.pid)}
        known |= {pid for _, pid in self.zygotes.values()}
        found = []
        for stat in descendants(known):
            if not stat.is_zombie:
                found.append(f"pid {stat.pid} ({stat.name}), child of {stat.ppid}")
        return found


def children() -> Iterator[procfs.Stat]:
    """Our own, orphans that came to us included."""
    for pid in procfs.read_children(os.getpid()) or ():
        if stat := procfs.read_stat(pid):
            yield stat


def descendants(known: set[int]) -> list[procfs.Stat]:
    """Those below us, but not below (or among) the known ones, who answer for their own."""
    found: list[procfs.Stat] = []
    todo = [*children()]
    while todo:
        stat = todo.pop()
        if stat.pid not in known:
            found.append(stat)
        else:
            # Of a known one only those that are not known and not its own business count: the
            # manager's strays, but not what a worker started.
            if stat.name.startswith("zygote-manager"):
                todo += [
                    s for p in procfs.read_children(stat.pid) or () if (s := procfs.read_stat(p))
                ]
    return found
