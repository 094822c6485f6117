"""Layout twins: workers that come from one exec, and so share more than memory.

All copies of a zygote, and of its branches, have its address layout, its stack canary and its hash
seed. See docs/isolation.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from zygote.control.interface import WorkerState

_NAMED = 6


def twins(workers: Iterable[WorkerState]) -> dict[str, list[str]]:
    """Layout -> the workers that have it; those alone with theirs are left out."""
    found: dict[str, list[str]] = {}
    for worker in workers:
        if worker.layout:
            found.setdefault(worker.layout, []).append(worker.name)
    return {layout: names for layout, names in found.items() if len(names) > 1}


def cell(worker: WorkerState | None) -> str:
    """For `ps --wide`: `floor.1`, or `own` for a process of its own exec."""
    if worker is None or worker.pid is None:
        return ""
    return worker.layout or "own"


def lines(workers: Iterable[WorkerState]) -> str:
    """For `status`: each layout that several share."""
    return "\n".join(f"{layout}: {_named(names)}" for layout, names in twins(workers).items())


def of_worker(worker: WorkerState, every: Iterable[WorkerState]) -> str:
    """For `status NAME`: with whom it shares its layout."""
    if worker.pid is None:
        return ""
    if not worker.layout:
        return "its own" if worker.isolation == "exec" else ""
    others = [name for name in twins(every).get(worker.layout, []) if name != worker.name]
    return f"{worker.layout}, as {_named(others)}" if others else f"{worker.layout}, no other's"


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
