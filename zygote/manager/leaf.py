"""One cgroup leaf: its limits, its counters, its end. `leaves` makes them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from pathlib import Path

from zygote.errors import describe_errno
from zygote.fleet.model import WorkerSpec
from zygote.sys.cgroupfs import Group
from zygote.units import spell_bytes

_CPU_PERIOD = 100_000
_CPU_QUOTA_LEAST = 1000
"""Microseconds; the kernel takes no smaller quota."""
_REMOVE_FOR = 30.0
"""Seconds; a process that dies with much memory keeps its group busy for a while."""


class Leaf:
    """One leaf. It lives as long as its worker; `remove` it when that has ended.

    Attributes:
        path: the folder.
        unenforced: limits of the spec that could not be set here, "key: why".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unenforced: list[str] = []
        self._group = Group(path)
        self._oom_before = self._count_oom()

    @property
    def oom_before(self) -> int:
        """The count that `oom_kills` begins with."""
        return self._oom_before

    @oom_before.setter
    def oom_before(self, count: int) -> None:
        self._oom_before = count

    def open_dir(self) -> int:
        """An open directory for CLONE_INTO_CGROUP; the caller closes it."""
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def open_procs(self) -> int:
        """cgroup.procs, open for writing: the way in where clone3 is not to be had.

        The right to move a process in is checked for who opened the file (cgroup-v2.rst), so the
        child may write to it after we passed it on.
        """
        return os.open(self.path / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)

    def kill(self) -> None:
        """SIGKILL for all in it, grandchildren in sessions of their own included."""
        self._group.kill()

    def pids(self) -> list[int]:
        """The processes in it; [] once it is removed."""
        return self._group.pids()

    def oom_kills(self) -> int:
        """How many of its processes the OOM killer took since this object was made."""
        return max(0, self._count_oom() - self._oom_before)

    def peak(self) -> int | None:
        """The most bytes that were ever charged to it; None: not counted here (before 5.19)."""
        try:
            return int(self._group.read("memory.peak"))
        except (OSError, ValueError):
            return None

    def oom_story(self) -> str:
        """What limit was hit, and how much was taken: "limit 48M, peak 48M"."""
        try:
            limit = self._group.read("memory.max")
        except OSError:
            limit = "unknown"
        # Without a limit of its own it was one above it, or the machine's memory.
        text = f"limit {spell_bytes(int(limit))}" if limit.isdecimal() else "no limit of its own"
        peak = self.peak()
        return text if peak is None else f"{text}, peak {peak / (1 << 20):.1f}M"

    def throttled(self) -> int:
        """How often it was held up because it was above memory_high."""
        return self._group.counters("memory.events").get("high", 0)

    def protect(self, size: int | None) -> None:
        """Have the kernel reclaim so much of it last; None: what it weighs now. Best effort."""
        with contextlib.suppress(OSError):
            low = size if size is not None else int(self._group.read("memory.current"))
            self._group.write("memory.low", str(low))

    def anonymous(self) -> int | None:
        """Bytes of anonymous memory charged to it, its private memory; None: not counted here."""
        return self._group.counters("memory.stat").get("anon")

    def remove(self) -> None:
        """Kill what is left in it and remove it; while it is busy, again and again for 30 s."""
        if not self._try_remove():
            loop = asyncio.get_running_loop()
            self._retry(loop, 0.005, loop.time() + _REMOVE_FOR)

    def limit(self, spec: WorkerSpec) -> None:
        """Write the limits of a worker; what is refused is told by `unenforced`, not raised."""
        self.unenforced = []
        bounded = spec.memory_max is not None
        if bounded and self._group.has("memory.swap.max"):
            # Else a worker over its limit is swapped out rather than stopped.
            self._set("memory_max", "memory.swap.max", "0")
        self._set("memory_high", "memory.high", spec.memory_high)
        self._set("memory_max", "memory.max", spec.memory_max)
        self._set("tasks_max", "pids.max", spec.tasks_max)
        self._set("cpu_weight", "cpu.weight", spec.cpu_weight)
        if spec.cpu_max is not None:
            quota = max(_CPU_QUOTA_LEAST, round(spec.cpu_max * _CPU_PERIOD))
            self._set("cpu_max", "cpu.max", f"{quota} {_CPU_PERIOD}")

    def _set(self, key: str, name: str, value: int | str | None) -> None:
        if value is None:
            return
        try:
            self._group.write(name, str(value))
        except OSError as error:
            number = error.errno or 0
            why = describe_errno(number)
            if number == errno.ENOENT:
                why = f"the controller {name.partition('.')[0]} is not given to this cgroup"
            self.unenforced.append(f"{key}: {why}")

    def _count_oom(self) -> int:
        return self._group.counters("memory.events").get("oom_kill", 0)

    def _try_remove(self) -> bool:
        try:
            self._group.remove()
        except OSError as error:
            if error.errno != errno.EBUSY:
                return True  # nothing that trying again would change
            self._group.kill()
            return False
        return True

    def _retry(self, loop: asyncio.AbstractEventLoop, delay: float, deadline: float) -> None:
        def again() -> None:
            if not self._try_remove() and loop.time() < deadline:
                self._retry(loop, min(2 * delay, 1.0), deadline)

        loop.call_later(delay, again)
