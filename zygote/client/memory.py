"""What the fleet's processes cost: the manager's view of each, joined with /proc's.

The manager reads no memory figures: who wants to see them pays for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from zygote.control.interface import ManagerState, WorkerState, ZygoteState
from zygote.sys import procfs

SUMMED = ("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib", "cpu_s")
"""Figures of `Row` that `totals` adds up. PSS adds up to the truth, RSS to far more than it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process. A figure is None where there is no process, or the kernel hides it from us.

    Attributes:
        cpu_s: seconds of CPU used since it started.
        denied: it is another user's; only RSS and page tables could be read.
    """

    pid: int | None
    ppid: int | None = None
    rss_kib: int | None = None
    pss_kib: int | None = None
    uss_kib: int | None = None
    private_dirty_kib: int | None = None
    pagetables_kib: int | None = None
    cpu_s: float | None = None
    age_s: float | None = None
    threads: int | None = None
    denied: bool = False


def measure(pid: int | None) -> Row:
    """Read what /proc says about a process; all None if there is none."""
    stat = procfs.read_stat(pid) if pid else None
    if stat is None:
        return Row(None)
    row = Row(
        stat.pid,
        stat.ppid,
        cpu_s=round(stat.cpu, 2),
        age_s=round(stat.age(), 3),
        threads=stat.threads,
    )
    try:
        memory = procfs.read_memory(stat.pid)
    except PermissionError:
        resident = procfs.read_resident(stat.pid)
        rss, tables = (resident.rss_kib, resident.pagetables_kib) if resident else (None, None)
        return replace(row, rss_kib=rss, pagetables_kib=tables, denied=True)
    if memory is None:
        return row
    return replace(
        row,
        rss_kib=memory.rss_kib,
        pss_kib=memory.pss_kib,
        uss_kib=memory.uss_kib,
        private_dirty_kib=memory.private_dirty_kib,
        pagetables_kib=memory.pagetables_kib,
    )


@dataclass(frozen=True, slots=True)
class Census:
    """Every process of a fleet at one moment."""

    workers: tuple[tuple[WorkerState, Row], ...]
    manager: tuple[ManagerState, Row]
    zygotes: tuple[tuple[ZygoteState, Row], ...]

    def rows(self) -> Iterable[Row]:
        """Of all of them."""
        yield self.manager[1]
        yield from (row for _, row in (*self.zygotes, *self.workers))

    def totals(self) -> dict[str, float | int | None]:
        """Sums over all processes; None where no process had that figure."""
        sums: dict[str, float | int | None] = {}
        for name in SUMMED:
            known = [figure for row in self.rows() if (figure := getattr(row, name)) is not None]
            total = sum(known)
            sums[name] = (round(total, 2) if name == "cpu_s" else total) if known else None
        return {"processes": sum(row.pid is not None for row in self.rows()), **sums}


def take_census(
    manager: ManagerState, zygotes: list[ZygoteState], workers: list[WorkerState]
) -> Census:
    """Measure them all; about 3 ms for a process with 80 MB."""
    return Census(
        workers=tuple((worker, measure(worker.pid)) for worker in workers),
        manager=(manager, measure(manager.pid)),
        zygotes=tuple((zygote, measure(zygote.pid)) for zygote in zygotes),
    )
