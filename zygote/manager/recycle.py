"""Keeps workers within `max_private`: looks at their private memory, and replaces those beyond it.

What to do is decided by `budget.py`. Here is how:

- A look costs nothing where the worker has a cgroup leaf with the memory controller: what is
  charged to it is its private memory. Elsewhere the kernel walks its page tables, about 3 ms for
  80 MB: so only a few workers are looked at each second, and only those with a budget.
- Nobody is replaced while its zygote, or what it comes `after`, is not ready: it would be missing
  for as long as that takes.
- Without `overlap` a worker is stopped and started again. With it, its process is put aside as
  *retiring*, the successor is started, and the retiring one is stopped once that is ready. If the
  successor comes to nothing, the retiring one is what runs, as before. A retiring process stands in
  the worker's state file, so that a manager that comes after a crash ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zygote.fleet.model import WorkerSpec
from zygote.manager.budget import Budget, Verdict
from zygote.manager.children import Child, try_stat
from zygote.manager.parts import Parts
from zygote.manager.unit import State
from zygote.sys import procfs

if TYPE_CHECKING:
    from zygote.manager.leaf import Leaf
    from zygote.manager.worker import Worker

TICK = 1.0
"""Seconds between two rounds of looks."""
LOOKS = 4
"""Looks a round."""


async def keep(workers: Callable[[], list[Worker]], parts: Parts) -> None:
    """Look at the workers whose turn it is; for ever."""
    while True:
        await asyncio.sleep(TICK)
        now = parts.clock.monotonic()
        due = [
            worker
            for worker in workers()
            if worker.unit.spec.max_private
            and worker.unit.state is State.READY
            and worker.budget.due <= now
        ]
        for worker in heapq.nsmallest(LOOKS, due, key=lambda worker: worker.budget.due):
            worker.succession.weigh()


def look(budget: Budget, worker: Worker, child: Child, now: float) -> Verdict:
    """One look at a worker's process."""
    try:
        private = read_private(child)
    except PermissionError:
        why = "it runs as another user, and the manager is not root"
        return budget.unreadable(why, now)
    if private is None:
        return Verdict()
    return budget.looked(worker.unit.spec, private, now, worker.needs.lacks())


def read_private(child: Child) -> int | None:
    """Bytes of private memory; None: it is gone.

    Raises:
        PermissionError: it is another user's.
    """
    charged = child.leaf.anonymous() if child.leaf else None
    if charged is not None:
        return charged
    memory = procfs.read_memory(child.pid)
    return None if memory is None else memory.uss_kib * 1024


class Retiring:
    """A process that goes when its successor is ready, or stays when there will be none.

    Attributes:
        record: (pid, start time in ticks since boot), for the state file.
        identity: the worker's generation, layout and spawn id as they were.
        ending: it has been asked to end.
        spec: what it was started with; None: what its successor is.
    """

    def __init__(
        self,
        child: Child,
        leaf: Leaf | None,
        parts: Parts,
        identity: tuple[int, str, bytes],
        started_at: float | None = None,
    ) -> None:
        stat = try_stat(child.pid)
        self.child, self.leaf, self.started_at = child, leaf, started_at
        self.identity = identity
        self.record = (child.pid, stat.starttime if stat else 0)
        self.ending = False
        self.spec: WorkerSpec | None = None
        self._parts = parts
        self._timer: asyncio.TimerHandle | None = None

    def end(self, stop_signal: str, grace: float) -> None:
        """Ask it to end, and kill what is left of it after the grace."""
        if self.ending:
            return
        self.ending = True
        with contextlib.suppress(PermissionError):
            self._parts.children.signal(self.child, signal.Signals[stop_signal])
        self._timer = self._parts.loop.call_later(grace, self._kill, max(grace, 1.0))

    def resume(self, grace: float) -> None:
        """It was asked to end before this manager was exec'd anew."""
        self.ending = True
        self._timer = self._parts.loop.call_later(grace, self._kill, max(grace, 1.0))

    def gone(self) -> None:
        """It has ended."""
        self.keep()
        if self.leaf:
            self.leaf.remove()

    def keep(self) -> None:
        """Do not kill it."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _kill(self, again: float) -> None:
        self._parts.children.kill(self.child)
        self._timer = self._parts.loop.call_later(again, self._kill, again)


def find_left(record: dict[str, Any], name: str, pid: int, parts: Parts) -> Retiring | None:
    """The retiring process on record in a state file of an earlier manager, if it lives.

    Args:
        pid: of the worker itself: a crash at the wrong moment leaves that on record twice.
    """
    listed = record.get("retiring") or [0, 0]
    if not listed[0] or listed[0] == pid or record.get("boot_id") != parts.state.boot_id:
        return None
    try:
        pidfd = os.pidfd_open(listed[0])
    except OSError:
        return None
    stat = try_stat(listed[0])
    if stat is None or stat.starttime != listed[1]:
        os.close(pidfd)
        return None
    leaf = parts.leaves.adopt(listed[0], "worker", name)
    ended = parts.loop.create_future()
    child = parts.children.add(Child(listed[0], pidfd, "worker", name, ended, leaf, ours=False))
    return Retiring(child, leaf, parts, (0, "", bytes(16)))
