"""Memory pressure: who goes first is the fleet file's choice, not the kernel's.

The kernel wakes us (PSI trigger, `zygote.sys.psi`) when something in the fleet's cgroup waited for
memory for longer than `pressure_limit` allows. Then one worker is stopped, in good order, and for
`pressure_duration` nothing more is done: what it frees takes a while to help. A kernel that is
out of memory kills by size, and the largest worker may be the one that matters.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zygote.errors import describe_errno
from zygote.manager.events import EventLog
from zygote.manager.recycle import read_private
from zygote.manager.unit import LIVE, State
from zygote.sys import psi
from zygote.units import spell_bytes

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


class Pressure:
    """Watches one memory.pressure file.

    Args:
        file: of the fleet's group; None: there is none.
        limit: share of time, as `pressure_limit`.
        pause: seconds between two stops.
        workers: all of them, as they are then.
    Attributes:
        why_not: why nothing is watched; "" where it is.
    """

    def __init__(
        self,
        file: Path | None,
        limit: float,
        pause: float,
        workers: Callable[[], list[Worker]],
        events: EventLog,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._file, self._limit, self._pause = file, limit, pause
        self._workers, self._events = workers, events
        self._quiet_until = 0.0
        self._fd = -1
        self._epoll: select.epoll | None = None
        self.why_not = self._arm()
        if self.why_not:
            detail = f"pressure_limit is not watched: {self.why_not}"
            events.emit("pressure-unwatched", "manager", detail=detail)

    def close(self) -> None:
        """Watch no more."""
        if self._epoll:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
            os.close(self._fd)

    def _arm(self) -> str:
        if self._file is None:
            return "there is no cgroup of ours"
        try:
            self._fd = psi.arm(self._file, self._limit)
        except OSError as error:
            return f"{self._file}: {describe_errno(error.errno or 0)}"
        # asyncio knows readable and writable only; an epoll instance with something is readable.
        self._epoll = select.epoll()
        self._epoll.register(self._fd, select.EPOLLPRI)
        self._loop.add_reader(self._epoll.fileno(), self._woken)
        return ""

    def _woken(self) -> None:
        assert self._epoll and self._file
        if any(mask & select.EPOLLERR for _, mask in self._epoll.poll(0)):
            self.close()  # the group is gone
            return
        now = self._loop.time()
        if now < self._quiet_until:
            return
        self._quiet_until = now + self._pause
        average = psi.read_average(self._file) or 0.0
        told = f"memory pressure above {self._limit:.0%} (10 s average {average:.0%})"
        found = choose(self._workers())
        if found is None:
            detail = f"{told}; no running worker has a priority, so none is stopped"
            self._events.emit("pressure", "manager", os.getpid(), detail)
            return
        victim, private = found
        priority = victim.unit.spec.priority
        detail = f"{told}: stopped, priority={priority} private={spell_bytes(private)}"
        self._events.emit("pressure-stopped", victim.name, victim.unit.pid, detail)
        victim.stop()  # it stays stopped until somebody starts it
        victim.shed_for = detail


def choose(workers: list[Worker]) -> tuple[Worker, int] | None:
    """The lowest priority; among equals the most private memory, in bytes. None: nobody."""
    able = [
        worker
        for worker in workers
        if worker.child
        and worker.unit.spec.priority is not None
        and worker.unit.state in LIVE
        and worker.unit.state is not State.STOPPING
    ]
    if not able:
        return None
    lowest = min(worker.unit.spec.priority or 0 for worker in able)
    weighed = [(worker, _private(worker)) for worker in able if worker.unit.spec.priority == lowest]
    return max(weighed, key=lambda pair: pair[1])


def _private(worker: Worker) -> int:
    try:
        return (read_private(worker.child) if worker.child else None) or 0
    except PermissionError:
        return 0
