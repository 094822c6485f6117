"""What blanks are worth: spawns with and without, and what one blank costs.

    .venv/bin/python benchmarks/blanks.py [--n 200] [--floor decnet.floor] [--blanks 8] [--json]

One manager has two zygotes that are baked alike; one keeps blanks, the other does not. A worker of
each is started and stopped in turn, so that a busy moment of the machine hits both; before each
spawn the pool is full again. Milliseconds, as the manager measures them for any worker:

    fork    from the request's sending to the first line of the worker's own set-up: what a blank
            saves; the pid of a blank is known before it is asked
    spawn   from the request's sending to the user's first line, the whole set-up included
    call    from a client's call of Spawn to its answer, over the control socket

Memory of the blanks while they wait: what each has for itself (USS) and its page tables, mean of
the pool as it is made in one go, MB of 10^6 bytes. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.spawn import percentiles
from benchmarks.support import options
from benchmarks.support.about import about
from zygote.client.api import Client
from zygote.client.start import start_manager
from zygote.control.interface import WorkerState, ZygoteState
from zygote.sys import procfs

SPAWN_GOAL_MS, BLANK_GOAL_MB = 1.0, 0.3
PATIENCE = 300.0
WAYS = ("with", "without")

FLEET = """
[fleet]
name = "blanks"
[zygote.with]
preload = [{floor}]
warm = [{warm}]
cwd = "{cwd}"
blanks = {blanks}
[zygote.without]
preload = [{floor}]
warm = [{warm}]
cwd = "{cwd}"
[worker.with]
zygote = "with"
run = "{idle}"
autostart = false
[worker.without]
zygote = "without"
run = "{idle}"
autostart = false
"""


def fleet_file(folder: Path, floor: str, blanks: int) -> Path:
    """The fleet, and the program of its workers."""
    idle = folder / "idle.py"
    idle.write_text("import signal\nsignal.pause()\n")
    warm = f'"{floor}:warm"' if floor == "decnet.floor" else ""
    file = folder / "fleet.toml"
    file.write_text(
        FLEET.format(floor=f'"{floor}"', warm=warm, cwd=Path.cwd(), blanks=blanks, idle=idle)
    )
    return file


async def full(client: Client, blanks: int) -> ZygoteState:
    """The zygote that keeps blanks, once all of them wait."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = next(z for z in await client.zygotes() if z.name == "with")
        if len(state.blank_pids) == blanks:
            return state
        await asyncio.sleep(0.02)
    raise SystemExit("blanks.py: the blanks are never complete")


async def enough(client: Client) -> None:
    """Until one waits at least, and no refill is under way: it would be in the next spawn's way."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = next(z for z in await client.zygotes() if z.name == "with")
        if 2 * len(state.blank_pids) > state.blanks:
            return
        await asyncio.sleep(0.02)


async def one(client: Client, way: str) -> tuple[WorkerState, float]:
    """Start the worker, look, stop it; its state and the seconds that the call took."""
    before = time.monotonic()
    (result,) = await client.spawn([way])
    took = time.monotonic() - before
    if not result.ok:
        raise SystemExit(f"blanks.py: {way}: {result.error} {result.hint}")
    (state,) = await client.workers([way])
    await client.stop([way])
    return state, took


def costs(pids: list[int]) -> dict[str, float]:
    """What one of these processes costs, on average, in MB."""
    found = [memory for pid in pids if (memory := procfs.read_memory(pid))]
    private = sum(memory.uss_kib for memory in found) / len(found) * 1024 / 1e6
    tables = sum(memory.pagetables_kib for memory in found) / len(found) * 1024 / 1e6
    return {
        "private_mb": round(private, 3),
        "pagetables_mb": round(tables, 3),
        "mb": round(private + tables, 3),
    }


async def measure(client: Client, n: int, blanks: int) -> dict[str, Any]:
    """All rounds."""
    state = await full(client, blanks)
    memory = costs(state.blank_pids)
    zygote = procfs.read_memory(state.pid or 0)
    spawns: dict[str, list[float]] = {way: [] for way in WAYS}
    forks: dict[str, list[float]] = {way: [] for way in WAYS}
    calls: dict[str, list[float]] = {way: [] for way in WAYS}
    missed = 0
    for number in range(n + 5):
        for way in WAYS:
            await enough(client)
            worker, took = await one(client, way)
            if number < 5:  # the first ones warm the machine up
                continue
            if way == "with" and worker.origin != "blank":
                missed += 1
                continue
            spawns[way].append((worker.spawn_ms or 0.0) / 1e3)
            forks[way].append((worker.fork_ms or 0.0) / 1e3)
            calls[way].append(took)
    return {
        "fork_ms": {way: percentiles(forks[way]) for way in WAYS},
        "spawn_ms": {way: percentiles(spawns[way]) for way in WAYS},
        "call_ms": {way: percentiles(calls[way]) for way in WAYS},
        "blank": memory,
        "zygote_rss_mb": round((zygote.rss_kib if zygote else 0) * 1024 / 1e6, 1),
        "modules": state.modules,
        "n": n,
        "blanks": blanks,
        "missed": missed,
    }


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """Start the manager, measure, stop it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="blanks-") as name:
        folder = Path(name)
        file = fleet_file(folder, given.floor, given.blanks)
        starting = start_manager(file, folder / "run", detach=False)
        try:
            with open(os.dup(starting.answer_fd), "rb") as answer:
                said, errors = starting.read_answer(await asyncio.to_thread(answer.readline))
            if errors:
                raise SystemExit(f"blanks.py: {errors[0][0]}\n{errors[0][1]}")
            async with await Client.connect(said["control"]) as client:
                found = await measure(client, given.n, given.blanks)
                await client.shutdown(wait=True)
            return {**found, "floor": given.floor, **about()}
        finally:
            starting.process.terminate()
            await asyncio.to_thread(starting.process.wait)
            starting.close()


def show(found: dict[str, Any]) -> None:
    """For people."""
    print(f"floor {found['floor']}, {found['modules']} modules, {found['zygote_rss_mb']} MB RSS, "
          f"Python {found['python']}, {found['n']} rounds")  # fmt: skip
    for kind in ("fork_ms", "spawn_ms", "call_ms"):
        for way in WAYS:
            row = found[kind][way]
            print(f"  {kind[:-3]:6}{way:9} p50 {row['p50']:8.2f} ms   p99 {row['p99']:8.2f} ms")
    cost = found["blank"]
    print(f"  a blank: {cost['mb']:.2f} MB: private {cost['private_mb']:.2f}, "
          f"page tables {cost['pagetables_mb']:.2f}")  # fmt: skip


def main() -> int:
    parser = options.on_a_floor(__doc__, 200)
    parser.add_argument("--blanks", type=int, default=8, help="size of the pool (default 8)")
    given = parser.parse_args()
    print(f"blanks.py: two bakes of {given.floor}, {given.n} rounds …", file=sys.stderr)
    found = asyncio.run(run(given))
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    met = found["fork_ms"]["with"]["p50"] <= SPAWN_GOAL_MS
    return 0 if met and found["blank"]["mb"] <= BLANK_GOAL_MB else 1


if __name__ == "__main__":
    sys.exit(main())
