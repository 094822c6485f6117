"""What sharing the ttp rules saves: private memory of a forked worker that tags 2,000 events.

    python -m benchmarks.ttp_rules [--json]

The parent has the worker's modules and has run its rehearsal, as a zygote's floor has. Then
children are forked from it and tag the same events from a database of their own: `shared` find
the compiled rules and the ATT&CK table in the parent's memory, `own` read and compile them
themselves. KiB of Private_Clean + Private_Dirty in smaps_rollup, the median of ROUNDS.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import decnet.workers.ttp as worker
from decnet.context import open_context
from decnet.db.migrate import migrate
from decnet.settings import Settings
from decnet.ttp import shared
from decnet.ttp.service import Tagger
from decnet.ttp.settings import TtpSettings
from tests.support.ttp import seed, visits

EVENTS = 2_000
ROUNDS = 5


def private_kib() -> int:
    """Of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


async def tag(folder: Path) -> int:
    """The worker's own work, without its loop; how many tags."""
    environment = {"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"}
    async with open_context("ttp", Settings.from_env(environment), notifies=False) as ctx:
        tagger = Tagger(ctx, TtpSettings())
        await tagger.start()
        while await tagger.tick(everything=True):
            pass
        return tagger.tagged


def child(folder: Path, own: bool) -> dict[str, float]:
    """Fork, tag, tell."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        if own:
            shared._made.clear()
        started = time.monotonic()
        shared.get_shared()
        ready = time.monotonic() - started
        tags = asyncio.run(tag(folder))
        told = {"private_kib": private_kib(), "tags": tags, "ready_ms": round(ready * 1000, 1)}
        os.write(write, json.dumps(told).encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as file:
        return dict(json.load(file))


def main() -> None:
    """Print both, and the difference."""
    with tempfile.TemporaryDirectory(prefix="ttp-rules-") as name:
        folder = Path(name)
        warm = folder / "warm"
        warm.mkdir()
        asyncio.run(worker.rehearse(warm))
        gc.collect()
        gc.freeze()
        found: dict[str, list[dict[str, float]]] = {"shared": [], "own": []}
        for number in range(ROUNDS):
            for kind, results in found.items():
                place = folder / f"{kind}{number}"
                place.mkdir()
                migrate(f"sqlite:///{place}/decnet.db")
                seed(place / "decnet.db", visits(EVENTS))
                results.append(child(place, own=kind == "own"))
    report = {
        kind: {key: statistics.median(one[key] for one in results) for key in results[0]}
        for kind, results in found.items()
    }
    report["saved"] = {
        key: round(report["own"][key] - report["shared"][key], 1)
        for key in ("private_kib", "ready_ms")
    }
    if "--json" in sys.argv:
        print(json.dumps(report))
        return
    for kind, numbers in report.items():
        print(f"{kind:7}", *(f"{key}={value:g}" for key, value in numbers.items()))


if __name__ == "__main__":
    main()
