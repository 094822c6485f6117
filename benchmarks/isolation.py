"""What it costs that workers do not share address layout, canary and hash seed.

    .venv/bin/python benchmarks/isolation.py [--workers 8] [--restarts 5] [--json]

Workers of decnet's floor that import it, and wait, in three arrangements, one after the other:

    fork    all are copies of one zygote: layout twins
    class   half of them are a class: copies of a second zygote, of an exec of its own
    exec    one of them is a process of its own, which imports the floor for itself

Sums over all processes, manager and zygotes included, of PSS and page tables, in MB of 10^6 bytes:
`class_mb` and `exec_mb` are what the second and the third have more than the first. The floor is
baked by import, collect, trim, freeze, seal and the audit only, without its warm-up: of the whole
bake a class has the same memory more or less, and pays its seconds once more. `ready_ms` is from
the request to READY=1, the median of the restarts; memory is firm, milliseconds are not.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fleet import MB, under_manager
from benchmarks.support import options
from benchmarks.support.about import about
from decnet.run.__main__ import surroundings
from zygote.client.api import Client
from zygote.sys import procfs

ROOT = Path(__file__).resolve().parent.parent
MODES = ("fork", "class", "exec")
FLOOR = f"""
[fleet]
name = "isolation"
[zygote.floor]
cwd = "{ROOT}"
preload = ["decnet.floor"]
bake = ["collect", "trim", "freeze", "seal"]
"""
SETTLE_SECONDS = 2.0


def say(line: str) -> None:
    """Progress, for people."""
    print(f"isolation.py: {line}", file=sys.stderr, flush=True)


def fleet_file(mode: str, workers: int) -> str:
    """Workers w0, w1 …: the first of them, or the first half, are set apart."""
    apart = {"fork": 0, "class": workers // 2, "exec": 1}[mode]
    key = {"class": 'isolation = "class:apart"\n', "exec": 'isolation = "exec"\n'}.get(mode, "")
    return FLOOR + "".join(
        f'[worker.w{number}]\nrun = "benchmarks.support.waiter:run"\ntype = "notify"\n'
        f'zygote = "floor"\nstart_timeout = "120s"\n{key if number < apart else ""}'
        for number in range(workers)
    )


async def measure(mode: str, workers: int, restarts: int, folder: Path) -> dict[str, Any]:
    """One arrangement: start, look, restart the first worker a few times."""
    async with under_manager(fleet_file(mode, workers), folder) as (pids, _):
        await asyncio.sleep(SETTLE_SECONDS)
        rows = {name: procfs.read_memory(pid) for name, pid in (await pids()).items()}
        client = await Client.connect(Path(os.environ["ZYGOTE_RUNTIME_DIR"]) / "control.sock")
        async with client:
            bakes = [zygote.bake_seconds or 0.0 for zygote in await client.zygotes()]
            layouts = {worker.layout or worker.name for worker in await client.workers()}
            times = []
            for _ in range(restarts):
                await client.restart(["w0"])
                (worker,) = await client.workers(["w0"])
                times.append(worker.ready_ms or 0.0)
    live = {name: row for name, row in rows.items() if row is not None}
    if len(live) != len(rows):
        raise SystemExit(f"isolation.py: {mode}: ended meanwhile: {sorted(set(rows) - set(live))}")
    return {
        "mode": mode,
        "whole_mb": round(sum(r.pss_kib + r.pagetables_kib for r in live.values()) * MB, 1),
        "first_uss_mb": round(live["w0"].uss_kib * MB, 1),
        "layouts": len(layouts),
        "bake_s": [round(seconds, 2) for seconds in bakes],
        "ready_ms": round(statistics.median(times), 1),
    }


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--workers", type=int, default=8, help="in each arrangement (default 8)")
    parser.add_argument("--restarts", type=int, default=5, help="of the first worker (default 5)")
    given = parser.parse_args()
    if given.workers < 2 or given.restarts < 1:
        parser.error("--workers: at least 2; --restarts: at least 1")
    rows = {}
    for mode in MODES:
        say(f"{mode} …")
        saved = dict(os.environ)
        with surroundings(scratch=True) as env, tempfile.TemporaryDirectory() as folder:
            os.environ.update(env)
            rows[mode] = asyncio.run(measure(mode, given.workers, given.restarts, Path(folder)))
        os.environ.clear()
        os.environ.update(saved)
    base = rows["fork"]["whole_mb"]
    result = {
        "workers": given.workers,
        "modes": list(rows.values()),
        "class_mb": round(rows["class"]["whole_mb"] - base, 1),
        "exec_mb": round(rows["exec"]["whole_mb"] - base, 1),
        **about(),
    }
    if given.json:
        print(json.dumps(result))
        return 0
    print(f"{given.workers} workers of decnet's floor, Python {result['python']}; MB, ms")
    print(f"  {'':6}{'whole':>8}{'first alone':>13}{'layouts':>9}{'ready ms':>10}")
    for row in result["modes"]:
        print(f"  {row['mode']:6}{row['whole_mb']:8.1f}{row['first_uss_mb']:13.1f}"
              f"{row['layouts']:9}{row['ready_ms']:10.1f}")  # fmt: skip
    print(f"  a class costs {result['class_mb']} MB, an exec {result['exec_mb']} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
