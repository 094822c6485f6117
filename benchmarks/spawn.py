"""Spawn latency: a worker from a baked zygote, against os.fork of the same heap and a cold start.

    .venv/bin/python benchmarks/spawn.py [--json] [--n 100] [--floor decnet.floor]

Three figures, milliseconds, all from "decided" to "the first line of the user's code runs", on one
machine in one run, the same floor imported in each:

    fork    os.fork() in a process that imported, collected and froze the same floor
    spawn   a request from the manager's side of a zygote's link to the report of the worker
    cold    a new interpreter that imports the floor

The rounds of fork and spawn alternate, so that a busy moment of the machine hits both. What is held
constant: interpreter, floor, compiled bytecode, no cgroup. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from zygote.fleet.model import ZygoteSpec
from zygote.inspect.lone import LoneZygote

FORK_GOAL = 1.5
COLD_GOAL = 200.0


def percentiles(samples: list[float]) -> dict[str, float]:
    """p50 and p99 of samples in seconds, as milliseconds."""
    ordered = sorted(samples)
    at = min(len(ordered) - 1, round(len(ordered) * 0.99))
    return {"p50": round(statistics.median(ordered) * 1e3, 3), "p99": round(ordered[at] * 1e3, 3)}


FORKER = """
import gc, importlib, os, sys, time
gc.disable()
for name in sys.argv[1].split(","):
    importlib.import_module(name)
gc.collect(); gc.freeze()
sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    r, w = os.pipe()
    before = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.write(w, repr(time.monotonic()).encode())
        os._exit(0)
    after = float(os.read(r, 64))
    os.close(r); os.close(w)
    os.waitpid(pid, 0)
    sys.stdout.write(f"{after - before}\\n"); sys.stdout.flush()
"""


class Forker:
    """A process with the same floor that forks once per request."""

    def __init__(self, floor: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER, floor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        assert self.process.stdout is not None and self.process.stdin is not None
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"spawn.py: the floor {floor!r} does not import; see above")

    def fork(self) -> float:
        """One fork; seconds until the child's code ran."""
        assert self.process.stdout is not None and self.process.stdin is not None
        self.process.stdin.write("fork\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()


def clean_environment() -> dict[str, str]:
    """This environment without what would forbid bytecode: see --help's 'held constant'."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def cold_start(floor: str) -> float:
    """One cold start; seconds until the first line after the imports."""
    code = f"import {floor}, time, os; os.write(1, repr(time.monotonic()).encode())"
    before = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=clean_environment()
    )
    return float(done.stdout) - before


def measure(floor: str, n: int) -> dict[str, Any]:
    """Run all three; see the module's docstring."""
    cold_start(floor)  # bytecode and page cache
    gc.disable()
    forker = Forker(floor)
    forks, spawns = [], []
    spec = ZygoteSpec("bench", (floor,), cwd=str(Path.cwd()))
    with LoneZygote(spec, clean_environment()) as zygote:
        for _ in range(10):
            forker.fork()
            zygote.spawn_and_wait()
        for _ in range(n):
            forks.append(forker.fork())
            spawns.append(zygote.spawn_and_wait())
        report = zygote.baked
    forker.close()
    colds = [cold_start(floor) for _ in range(max(3, n // 20))]
    fork, spawn, cold = percentiles(forks), percentiles(spawns), percentiles(colds)
    return {
        "fork_ms": fork,
        "spawn_ms": spawn,
        "cold_ms": cold,
        "spawn_over_fork": round(spawn["p50"] / fork["p50"], 3),
        "cold_over_spawn": round(cold["p50"] / spawn["p50"], 1),
        "n": n,
        "floor": floor,
        "modules": report.get("modules"),
        "spawn_path": report.get("spawn_path"),
        **about(),
        "compiled": not sys.flags.dont_write_bytecode or "PYTHONDONTWRITEBYTECODE removed",
    }


def main() -> int:
    parser = options.on_a_floor(__doc__, 100)
    given = parser.parse_args()
    print(f"spawn.py: {given.n} rounds on floor {given.floor} …", file=sys.stderr)
    result = measure(given.floor, given.n)
    fork_ok = result["spawn_over_fork"] <= FORK_GOAL
    cold_ok = result["cold_over_spawn"] >= COLD_GOAL
    if given.json:
        print(json.dumps(result))
    else:
        print(
            f"floor {result['floor']}, {result['modules']} modules, Python {result['python']}, ",
            end="",
        )
        print(f"path {result['spawn_path']}, {result['cores']} cores")
        for name in ("fork", "spawn", "cold"):
            row = result[f"{name}_ms"]
            print(f"  {name:6} p50 {row['p50']:9.2f} ms   p99 {row['p99']:9.2f} ms")
        over, times = result["spawn_over_fork"], result["cold_over_spawn"]
        print(f"  spawn / fork  {over:.2f}   (goal ≤ {FORK_GOAL}: {_word(fork_ok)})")
        print(f"  cold / spawn  {times:.0f}   (goal ≥ {COLD_GOAL:.0f}: {_word(cold_ok)})")
    return 0 if fork_ok and cold_ok else 1


def _word(reached: bool) -> str:
    return "reached" if reached else "missed"


if __name__ == "__main__":
    sys.exit(main())
