"""Whether this machine lets a fleet grow: descriptors, processes, tasks, and memory.

Facts (getrlimit(2), proc_sys_kernel(5), cgroup v2's pids controller):

- The manager holds a pidfd of each worker, so RLIMIT_NOFILE bounds the fleet. Its soft limit can be
  raised up to the hard one by anybody; beyond that, root is needed.
- kernel.pid_max bounds numbers, kernel.threads-max bounds tasks, of the whole machine together.
  What is in use is in the last field but one of /proc/loadavg ("1/234").
- RLIMIT_NPROC counts all tasks of the user; root is exempt.
- pids.max of each cgroup above us counts the tasks below it; a fork beyond it fails with EAGAIN.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

from zygote.errors import ZygoteError

SPARE_DESCRIPTORS = 600
"""Of the manager: 256 callers, 32 spawns under way with eight each, zygotes, logs, sockets."""
SPARE_TASKS = 64


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: `most` in all, of which `used` are taken."""

    name: str
    most: int
    used: int
    remedy: str


def shortage(workers: int, bounds: list[Bound]) -> ZygoteError | None:
    """What would not suffice for so many workers more, and the way out; None if all does."""
    for bound in bounds:
        spare = SPARE_DESCRIPTORS if bound.name.endswith("descriptors") else SPARE_TASKS
        need = workers + spare
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
        found.append(Bound("descriptors", hard, held, remedy))
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
    with open("/proc/meminfo") as file:
        found = next((line for line in file if line.startswith("MemAvailable:")), "")
    available = int(found.split()[1]) * 1024 if found else 0
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


def _groups() -> list[Bound]:
    """pids.max of our cgroup and of those above it, where v2 is all there is."""
    found = []
    for group in _own_groups():
        most, used = _number(f"{group}/pids.max"), _number(f"{group}/pids.current")
        if most and used is not None:
            remedy = f"TasksMax={{most}} in its unit, or: echo {{most}} > {group}/pids.max"
            found.append(Bound(f"tasks (pids.max of {group.name})", most, used, remedy))
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


def _number(path: str) -> int | None:
    """A file with one number; None for "max", and where there is no such file."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
