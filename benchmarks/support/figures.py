"""Figures of a machine, of a manager and of commands that ask it; what could leak, counted."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from decnet.run.manager import Manager
from zygote.sys import procfs

IDLE_SECONDS = 20.0


def meminfo(name: str) -> float:
    """A line of /proc/meminfo, in MB of 10^6 bytes."""
    return procfs.read_meminfo_kib(name) * 1024 / 1e6


def steady(name: str) -> float:
    """The median of five looks in a second: others breathe, too."""
    looks = []
    for _ in range(5):
        looks.append(meminfo(name))
        time.sleep(0.2)
    return sorted(looks)[2]


def count_fds(pid: int) -> int:
    """Open descriptors of a process; 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
    except OSError:
        return 0


async def idle_percent(pid: int) -> float:
    """CPU of the manager while nobody asks anything."""
    await asyncio.sleep(3)
    first = procfs.read_stat(pid)
    await asyncio.sleep(IDLE_SECONDS)
    second = procfs.read_stat(pid)
    assert first and second
    return round((second.cpu - first.cpu) / IDLE_SECONDS * 100, 2)


def best(runtime: Path, name: str, *words: str) -> dict[str, float]:
    """Seconds of a command, and of its CPU time, the best of three."""
    argv = [str(Path(sys.executable).with_name("zygotectl")), "--runtime-dir", str(runtime), *words]
    walls, cpus = [], []
    for _ in range(3):
        began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.monotonic() - began)
        cpus.append(now.ru_utime - used.ru_utime + now.ru_stime - used.ru_stime)
    return {f"{name}_s": round(min(walls), 2), f"{name}_cpu_s": round(min(cpus), 2)}


def footprint(manager: Manager, runtime: Path) -> dict[str, int]:
    """What could leak, counted."""
    pid = manager.process.pid
    return {
        "descriptors of the manager": count_fds(pid),
        "children of the manager": len(procfs.read_children(pid) or ()),
        "state files": len(list((runtime / "state").iterdir())),
    }


def leaked(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """Of what there is more than at first."""
    return [f"{name}: {before[name]} at first, {now[name]} now"
            for name in before if now[name] > before[name]]  # fmt: skip
