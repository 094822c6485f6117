"""What `status` says of workers, zygotes and the manager alike, in words."""

from __future__ import annotations

import time

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.render import STATES
from zygote.cli.report import own_words
from zygote.client.memory import Row
from zygote.control.interface import WorkerState, ZygoteState
from zygote.units import format_seconds


def told(worker: WorkerState) -> str:
    """What is wrong with a worker; of one that is well again, its last end tells."""
    return "" if worker.ready else with_hint(worker.error, worker.hint)


def with_hint(error: str, hint: str) -> str:
    """The error and, on a line below, the way out."""
    return f"{error}\nhint: {own_words(hint)}" if error and hint else error


def count(workers: list[WorkerState]) -> str:
    """`7: 5 ready, 1 failed, 1 inactive`."""
    states: dict[str, int] = {}
    for worker in workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    order = sorted(states, key=list(STATES).index)
    parts = ", ".join(f"{states[state]} {state}" for state in order)
    return f"{len(workers)}: {parts}" if workers else "none"


def memory(row: Row) -> str:
    """`RSS 41.2 MB, PSS 6.1, USS 0.9, private dirty 0.8, page tables 0.2`."""
    if row.rss_kib is None:
        return ""
    parts = [f"RSS {render.megabytes(row.rss_kib)} MB"]
    for name, kib in (
        ("PSS", row.pss_kib),
        ("USS", row.uss_kib),
        ("private dirty", row.private_dirty_kib),
        ("page tables", row.pagetables_kib),
    ):
        if kib is not None:
            parts.append(f"{name} {render.megabytes(kib)}")
    if row.denied:
        parts.append("the rest may not be read: it is another user's process")
    return ", ".join(parts)


def outdated(of: WorkerState | ZygoteState) -> str:
    """The file on disk that is newer than what runs."""
    return f"older than {of.outdated}: {current.program} reload" if of.outdated else ""


def clock(at: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(at: float) -> str:
    """For how long, until now."""
    return format_seconds(max(0.0, time.time() - at))


def in_future(at: float | None) -> str:
    """`in 3.2s`."""
    return f"in {format_seconds(max(0.0, at - time.time()))}" if at else ""
