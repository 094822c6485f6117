"""Whether this machine lets a fleet grow: descriptors, processes, tasks, and memory.

Facts (getrlimit(2), proc_sys_kernel(5), cgroup v2's pids controller):

- The manager holds a pidfd of each worker, so RLIMIT_NOFILE bounds the fleet. Its soft limit can be
  raised up to the hard one by anybody; beyond that, root is needed.
- kernel.pid_max bounds numbers, kernel.threads-max bounds tasks, of the whole machine together.
  What is in use is in the last field but one of /proc/loadavg ("1/234").
- RLIMIT_NPROC counts all tasks of the user; root is exempt.
- pids.max of each cgroup above us counts the tasks below it; a fork beyond it fails with EAGAIN.
  cgroup.max.descendants counts the groups below it; mkdir(2) beyond it fails with EAGAIN.
- fs.file-max bounds the open files of the machine; fs.file-nr has those in use first
  (proc_sys_fs(5)).
- vm.max_map_count bounds the mappings of one process, here those of a floor and its libraries;
  beyond it mmap(2) fails with ENOMEM, and so does a thread's start.
- fs.inotify.max_user_instances bounds inotify(7) instances of a user, 128 as a rule. Neither
  manager nor zygotes have one; workers that watch files have one each.
"""

from __future__ import annotations

import math
import os
import resource
from dataclasses import dataclass
from pathlib import Path

from zygote.errors import ZygoteError
from zygote.sys.procfs import read_meminfo_kib

SPARE_DESCRIPTORS = 600
"""Of the manager: 256 callers, 32 spawns under way with eight each, zygotes, logs, sockets."""
SPARE_TASKS = 64
FILES_EACH = 12
"""Open files of an asyncio worker that has a connection or two."""
MAPPINGS = 2000
"""A floor with the libraries of a web framework and a database has about half of these."""
MB_EACH, MB_SPARE = 1.2, 100
"""The least that a worker was seen to cost: its own pages, page tables, kernel's; and a floor."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: `most` in all, of which `used` are taken.

    Attributes:
        each: what a worker takes.
        spare: what is needed besides.
    """

    name: str
    most: int
    used: int
    remedy: str
    each: float = 1
    spare: int = SPARE_TASKS


def shortage(workers: int, bounds: list[Bound]) -> ZygoteError | None:
    """What would not suffice for so many workers more, and the way out; None if all does."""
    for bound in bounds:
        need = math.ceil(workers * bound.each) + bound.spare
        if bound.used + need > bound.most:
            return ZygoteError(
                f"no room for {workers} more workers: they need {need:,} {bound.name}, and of "
                f"{bound.most:,} {max(0, bound.most - bound.used):,} are free",
                code="no-room",
                step="room",
                hint=bound.remedy.format(most=bound.used + need),
            )
    return None


def read_bounds(held: int = 0) -> list[Bound]:
    """The limits of this process and this machine; those that do not bind are left out.

    Args:
        held: descriptors that this process has for workers already.
    """
    found = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    del soft  # the manager raises it
    if hard != resource.RLIM_INFINITY:
        remedy = "raise the manager's hard limit to {most:,}: LimitNOFILE= in its unit, ulimit -Hn"
        found.append(Bound("descriptors", hard, held, remedy, spare=SPARE_DESCRIPTORS))
    tasks = _tasks()
    for name in ("pid_max", "threads-max"):
        if most := _number(f"/proc/sys/kernel/{name}"):
            remedy = f"sysctl kernel.{name}={{most}}"
            found.append(Bound(f"tasks (kernel.{name})", most, tasks, remedy))
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() and hard != resource.RLIM_INFINITY:
        remedy = "raise LimitNPROC= in its unit, ulimit -Hu, to {most:,}"
        found.append(Bound("tasks of this user (RLIMIT_NPROC)", hard, tasks, remedy))
    return found + _groups()


def read_available() -> int:
    """Bytes of memory that may be had without swapping: of the machine, and of our cgroups.

    See: MemAvailable in proc_meminfo(5); memory.max, memory.current and memory.stat in the kernel's
    cgroup-v2.rst. Page cache that was not used lately counts as free.
    """
    available = read_meminfo_kib("MemAvailable") * 1024
    for group in _own_groups():
        most, used = _number(f"{group}/memory.max"), _number(f"{group}/memory.current")
        if most is not None and used is not None:
            available = min(available, most - used + _inactive_file(group))
    return max(0, available)


def _inactive_file(group: Path) -> int:
    try:
        with open(group / "memory.stat") as file:
            return next((int(n.split()[1]) for n in file if n.startswith("inactive_file ")), 0)
    except OSError:
        return 0


def read_estimates(watching: int = 0) -> list[Bound]:
    """Limits that are met only by what workers do: worth a warning, and no reason to refuse.

    Args:
        watching: workers that will watch files by inotify, as far as is known.
    """
    found = []
    if free := read_available() // 1_000_000:
        remedy = "it takes {most:,} MB: fewer workers, or more memory"
        found.append(Bound("MB of memory", free, 0, remedy, MB_EACH, MB_SPARE))
    if (files := _files()) is not None:
        remedy = "sysctl fs.file-max={most}"
        found.append(Bound("open files (fs.file-max)", files[1], files[0], remedy, FILES_EACH))
    if most := _number("/proc/sys/vm/max_map_count"):
        remedy = "sysctl vm.max_map_count=65530"
        name = "mappings a process (vm.max_map_count)"
        found.append(Bound(name, most, 0, remedy, 0, MAPPINGS))
    most = _number("/proc/sys/fs/inotify/max_user_instances")
    if watching and most is not None:
        remedy = "sysctl fs.inotify.max_user_instances={most}"
        name = "inotify instances (fs.inotify.max_user_instances)"
        found.append(Bound(name, most, watching, remedy, 0, 0))
    return found


def _groups() -> list[Bound]:
    """The limits of our cgroup and of those above it, where v2 is all there is."""
    return [bound for group in _own_groups() for bound in bounds_of(group)]


def bounds_of(group: Path) -> list[Bound]:
    """The limits of one cgroup: of tasks, and of groups below it."""
    found = []
    most, used = _number(f"{group}/pids.max"), _number(f"{group}/pids.current")
    if most and used is not None:
        remedy = f"TasksMax={{most}} in its unit, or: echo {{most}} > {group}/pids.max"
        found.append(Bound(f"tasks (pids.max of {group.name})", most, used, remedy))
    most, used = _number(f"{group}/cgroup.max.descendants"), _descendants(group)
    if most is not None and used is not None:
        remedy = f"echo {{most}} > {group}/cgroup.max.descendants"
        name = f"cgroups (cgroup.max.descendants of {group.name})"
        found.append(Bound(name, most, used, remedy))
    return found


def _own_groups() -> list[Path]:
    """The folders of our cgroup and of those above it, where v2 is all there is."""
    try:
        path = Path("/proc/self/cgroup").read_text().partition("0::")[2].strip()
    except OSError:
        return []
    root = Path("/sys/fs/cgroup")
    group = root / path.lstrip("/")
    return [each for each in (group, *group.parents) if path and each.is_relative_to(root)]


def _tasks() -> int:
    """Tasks on this machine."""
    try:
        return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
    except (OSError, ValueError, IndexError):
        return 0


def _files() -> tuple[int, int] | None:
    """Open files of the machine, and their limit."""
    for line in _lines("/proc/sys/fs/file-nr"):
        used, _, most = line.split()
        return int(used), int(most)
    return None


def _descendants(group: Path) -> int | None:
    """Groups below this one."""
    for line in _lines(f"{group}/cgroup.stat"):
        if line.startswith("nr_descendants "):
            return int(line.split()[1])
    return None


def _lines(path: str) -> list[str]:
    """Of a file; none where there is no such file."""
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def _number(path: str) -> int | None:
    """A file with one number; None for "max", and where there is no such file."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
