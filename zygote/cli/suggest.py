"""`zygotectl suggest`: limits, from what workers really took for themselves."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json, Names
from zygote.client.api import Client
from zygote.client.memory import measure_workers
from zygote.control.interface import WorkerState
from zygote.units import format_bytes, spell_bytes

MIB = 1 << 20
ROOM = 1.5
"""A limit is this many times the peak, and at least `LEAST` above it: a limit that is met in daily
work makes restarts, one far above it bounds nothing."""
LEAST = 8 * MIB
_STEP = 8 * MIB


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one worker was seen to take, and what would fit.

    Attributes:
        seen: bytes of private memory; None: it never ran.
        how: "peak" (its cgroup's, of all its processes since the manager started) or "now" (USS,
            where there is no cgroup; it may have had more before).
        memory_max, memory_high: proposed, bytes.
        has: its memory_max today.
    """

    name: str
    seen: int | None
    how: str
    memory_max: int | None
    memory_high: int | None
    has: int | None


def suggest(names: Names = [], /, *, as_json: Json = False) -> int:  # noqa: B006
    """Propose memory_max and memory_high for workers, from their peaks of private memory.

    Let the fleet do its heaviest work first: a peak that was not reached yet
    is not seen. What is shared with the zygote is not counted, neither here
    nor by the limit.
    """
    found = asyncio.run(_look(names))
    if as_json:
        sys.stdout.write(json.dumps({"proposals": [asdict(each) for each in found]}) + "\n")
        return 0
    rows = [
        (
            each.name,
            f"{format_bytes(each.seen)} {each.how}" if each.seen is not None else "not seen",
            spell_bytes(each.has) if each.has is not None else "",
            spell_bytes(each.memory_max) if each.memory_max else "",
        )
        for each in found
    ]
    heads = ("WORKER", "PRIVATE", "MEMORY_MAX", "PROPOSED")
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(4)]
    for row in [heads, *rows]:
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
    render.heading("\nFor the fleet file:", "")
    for each in found:
        if each.memory_max and each.memory_high:
            name = f'"{each.name}"' if set(each.name) & set("@.") else each.name
            sys.stdout.write(
                f'[worker.{name}]\nmemory_max = "{spell_bytes(each.memory_max)}"\n'
                f'memory_high = "{spell_bytes(each.memory_high)}"\n'
            )
    return 0


def propose(worker: WorkerState, uss: int | None) -> Proposal:
    """Of one worker.

    Args:
        uss: its private memory now, in bytes; None: unknown.
    """
    peaks = [peak for peak in (worker.peak, _peak_now(worker.cgroup)) if peak]
    seen, how = (max(peaks), "peak") if peaks else (uss, "now")
    if seen is None:
        return Proposal(worker.name, None, "", None, None, worker.memory_max)
    most = _up(max(seen * ROOM, seen + LEAST))
    # Between what it took and the limit: it is slowed down, and told of, before it is killed.
    high = _up((seen + most) / 2)
    return Proposal(worker.name, seen, how, most, min(high, most - MIB), worker.memory_max)


def _up(size: float) -> int:
    """The next whole multiple of 8 MiB."""
    return -(-int(size) // _STEP) * _STEP


def _peak_now(cgroup: str) -> int | None:
    try:
        return int((Path(cgroup) / "memory.peak").read_text()) if cgroup else None
    except (OSError, ValueError):
        return None


async def _look(names: list[str]) -> list[Proposal]:
    async with await Client.connect(current.socket()) as manager:
        workers = await manager.workers(names or None)
    return [
        propose(worker, row.uss_kib * 1024 if row.uss_kib is not None else None)
        for worker, row in zip(workers, measure_workers(workers, None), strict=True)
    ]
