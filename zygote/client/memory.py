"""What the fleet's processes cost: the manager's view of each, joined with /proc's.

The manager reads no memory figures: who wants to see them pays for them. PSS, USS and private dirty
cost the kernel a walk over the process's page tables (0.5 to 3 ms), so of a large fleet only a
sample is walked, within a time; for the others they are estimated, and say so.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zygote.control.interface import ManagerState, WorkerState, ZygoteState
from zygote.sys import procfs
from zygote.sys.cgroupfs import Group

WALK_SECONDS = 0.15
"""How long page tables may be walked for one look at a fleet."""
BLANKS_WALKED = 8
_WALKED = ("pss_kib", "uss_kib", "private_dirty_kib")
"""Figures that take a walk."""

SUMMED = ("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib", "cpu_s")
"""Figures of `Row` that `totals` adds up. PSS adds up to the truth, RSS to far more than it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One process. A figure is None where there is no process, or the kernel hides it from us.

    Attributes:
        cpu_s: seconds of CPU used since it started.
        denied: it is another user's; only RSS and page tables could be read.
        estimated: there was no time to walk its page tables. USS and private dirty are then what
            its cgroup is charged for, where it has one; else they, and PSS, are the mean of those
            workers of the same zygote that were walked.
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
    estimated: bool = False


def measure(pid: int | None, *, walk: bool = True) -> Row:
    """Read what /proc says about a process; all None if there is none.

    Args:
        walk: False leaves out what takes a walk over its page tables: PSS, USS, private dirty.
    """
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
    if not walk:
        return _resident(row)
    try:
        memory = procfs.read_memory(stat.pid)
    except PermissionError:
        return replace(_resident(row), denied=True)
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


def _resident(row: Row) -> Row:
    """With the two figures that cost nothing and need no permission."""
    found = procfs.read_resident(row.pid or 0)
    return (
        replace(row, rss_kib=found.rss_kib, pagetables_kib=found.pagetables_kib) if found else row
    )


@dataclass(frozen=True, slots=True)
class Census:
    """Every process of a fleet at one moment."""

    workers: tuple[tuple[WorkerState, Row], ...]
    manager: tuple[ManagerState, Row]
    zygotes: tuple[tuple[ZygoteState, Row], ...]
    blanks: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)
    """Zygote -> its clones that wait for a spawn."""

    def rows(self) -> Iterable[Row]:
        """Of all of them."""
        yield self.manager[1]
        yield from (row for _, row in (*self.zygotes, *self.workers))
        for rows in self.blanks.values():
            yield from rows

    def totals(self) -> dict[str, float | int | None]:
        """Sums over all processes; None where no process had that figure."""
        return sum_up(list(self.rows()))


def sum_up(rows: Sequence[Row]) -> dict[str, float | int | None]:
    """Sums over these processes; None where none of them had that figure."""
    sums: dict[str, float | int | None] = {}
    for name in SUMMED:
        known = [figure for row in rows if (figure := getattr(row, name)) is not None]
        total = sum(known)
        sums[name] = (round(total, 2) if name == "cpu_s" else total) if known else None
    return {
        "processes": sum(row.pid is not None for row in rows),
        "estimated": sum(row.estimated for row in rows),
        **sums,
    }


def take_census(
    manager: ManagerState,
    zygotes: list[ZygoteState],
    workers: list[WorkerState],
    walk_seconds: float | None = WALK_SECONDS,
) -> Census:
    """Measure them all.

    Args:
        walk_seconds: how long page tables of workers may be walked; None: as long as it takes.
    """
    return Census(
        workers=tuple(
            (worker, _aged(worker, row))
            for worker, row in zip(workers, measure_workers(workers, walk_seconds), strict=True)
        ),
        manager=(manager, measure(manager.pid)),
        zygotes=tuple((zygote, measure(zygote.pid)) for zygote in with_next(zygotes)),
        blanks={z.name: _measure_blanks(z.blank_pids) for z in zygotes if z.blanks},
    )


def with_next(zygotes: Iterable[ZygoteState]) -> Iterator[ZygoteState]:
    """The zygotes, and after each the generation that a reload has made beside it, if it has."""
    for zygote in zygotes:
        yield zygote
        if zygote.next_pid:
            yield ZygoteState(
                zygote.name,
                zygote.next_state,
                zygote.next_pid,
                zygote.next_generation,
                zygote.parent,
                log=zygote.log,
            )


def _measure_blanks(pids: Sequence[int]) -> tuple[Row, ...]:
    """They are all alike, so that a few walks tell of all."""
    rows = [measure(pid) for pid in pids[:BLANKS_WALKED]]
    mean = _means([("", row) for row in rows]).get("", {})
    rows += [_estimate(measure(pid, walk=False), "", mean) for pid in pids[BLANKS_WALKED:]]
    return tuple(rows)


def _aged(worker: WorkerState, row: Row) -> Row:
    """As old as the worker is: one that was a blank has a process that is older."""
    if row.age_s is None or worker.started_at is None:
        return row
    age = max(0.0, time.time() - worker.started_at)
    return replace(row, age_s=round(min(row.age_s, age), 3))


def measure_workers(workers: Sequence[WorkerState], walk_seconds: float | None) -> list[Row]:
    """A row for each; of as many as there is time for, spread over the list, by a walk."""
    deadline = None if walk_seconds is None else time.monotonic() + walk_seconds
    rows: dict[int, Row] = {}
    for place in _spread(len(workers)):
        rows[place] = measure(workers[place].pid)
        if deadline is not None and time.monotonic() > deadline:
            break
    means = _means([(workers[place].zygote, row) for place, row in rows.items()])
    for place, worker in enumerate(workers):
        if place not in rows:
            row = measure(worker.pid, walk=False)
            rows[place] = _estimate(row, worker.cgroup, means.get(worker.zygote, {}))
    return [rows[place] for place in range(len(workers))]


def _spread(count: int) -> Iterable[int]:
    """0 to count-1, each once, any first part of it spread over the whole."""
    step = max(1, int(count * 0.618))
    while count and _gcd(step, count) != 1:
        step += 1
    return (place * step % count for place in range(count))


def _gcd(one: int, other: int) -> int:
    while other:
        one, other = other, one % other
    return one


def _means(walked: list[tuple[str, Row]]) -> dict[str, dict[str, int]]:
    """Zygote -> figure -> its mean among the workers that were walked."""
    found: dict[str, dict[str, int]] = {}
    for zygote in {zygote for zygote, _ in walked}:
        rows = [row for name, row in walked if name == zygote and row.pss_kib is not None]
        if rows:
            found[zygote] = {
                name: sum(getattr(row, name) or 0 for row in rows) // len(rows) for name in _WALKED
            }
    return found


def _estimate(row: Row, cgroup: str, mean: dict[str, int]) -> Row:
    if row.pid is None or not mean:
        return replace(row, estimated=row.pid is not None)
    charged = Group(Path(cgroup)).counters("memory.stat").get("anon") if cgroup else None
    private = None if charged is None else charged // 1024
    return replace(
        row,
        estimated=True,
        pss_kib=mean["pss_kib"],
        uss_kib=mean["uss_kib"] if private is None else private,
        private_dirty_kib=mean["private_dirty_kib"] if private is None else private,
    )
