"""What each stage of the bake saves: private memory of workers, stage added by stage.

    .venv/bin/python benchmarks/bake.py [--json] [--rounds 100]

For each row a fresh zygote bakes decnet's floor with one more stage than in the row above, the last
row is the default bake. From each three workers are forked:

    idle     an asyncio worker that has started and waits
    gc       the same after a full collection
    worked   after ROUNDS rounds of store-and-profile through the real workers' code on a real
             SQLite file (the warm-up runs the same code 12 times)

Figures are private memory (USS) in MB of 10^6 bytes, and the zygote's RSS. Held constant:
interpreter, floor, compiled bytecode, no cgroup. Exit code 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.zygote_link import Zygote
from zygote.fleet.words import BAKE_STAGES
from zygote.sys import procfs

FLOOR = "decnet.floor"
WARM = "decnet.floor:warm"
ORDER = ("freeze", "warm", "collect", "trim", "immortalise", "seal", "relocate", "collapse")
"""In which stages are added: what helps most without the others first."""
MB = 1024 / 1e6
IDLE_GOAL, WORKED_GOAL = 0.5, 5.0

IDLE = """
import asyncio, os
async def main():
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""
GC = """
import asyncio, gc, os
async def main():
    gc.collect()
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""
WORKED = """
import asyncio, os, pathlib, decnet.rehearsal
async def main():
    folder = pathlib.Path({mark!r}).parent / "work"
    folder.mkdir()
    await decnet.rehearsal.rehearse(folder, rounds={rounds})
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""


def measure(zygote: Zygote, code: str, rounds: int) -> float:
    """Private MB of a worker once it has made its mark."""
    with tempfile.TemporaryDirectory(prefix="zygote-bench-") as folder:
        mark = Path(folder) / "mark"
        pid, _ = zygote.spawn(code.format(mark=str(mark), rounds=rounds))
        deadline = time.monotonic() + 120
        while not mark.exists():
            if time.monotonic() > deadline or not Path(f"/proc/{pid}").exists():
                raise SystemExit(f"bake.py: a worker did not do its work:\n{code}")
            time.sleep(0.01)
        figures = procfs.read_memory(pid)
        zygote.end(pid)
        assert figures is not None
        return round(figures.uss_kib * MB, 2)


def row(name: str, stages: tuple[str, ...] | None, rounds: int) -> dict[str, Any]:
    """One bake, three workers."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.monotonic()
    with Zygote((FLOOR,), env, warm=(WARM,), bake=stages) as zygote:
        took = time.monotonic() - began
        # The first worker also maps pages of libraries that nobody had touched before.
        measure(zygote, IDLE, rounds)
        figures = procfs.read_memory(zygote.pid)
        assert figures is not None
        return {
            "name": name,
            "idle_mb": measure(zygote, IDLE, rounds),
            "gc_mb": measure(zygote, GC, rounds),
            "worked_mb": measure(zygote, WORKED, rounds),
            "zygote_mb": round(figures.rss_kib * MB, 1),
            "seconds": round(took, 2),
            "skipped": [s["name"] for s in zygote.baked["skipped"] if s["name"] in (stages or ())],
        }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of work (default 100)")
    parser.add_argument("--last", action="store_true", help="the default bake only")
    given = parser.parse_args()
    assert set(ORDER) == set(BAKE_STAGES)
    rows = []
    steps = [("nothing", ())] + [(f"+ {name}", ORDER[: n + 1]) for n, name in enumerate(ORDER)]
    for name, stages in steps[-1:] if given.last else steps:
        print(f"bake.py: {name} …", file=sys.stderr, flush=True)
        rows.append(row(name, stages, given.rounds))
    result = {
        "python": platform.python_version(),
        "floor": FLOOR,
        "floor_mb": rows[0]["zygote_mb"],
        "rounds": given.rounds,
        "stages": rows,
    }
    if given.json:
        print(json.dumps(result))
    else:
        print(f"floor {FLOOR}, Python {result['python']}; private MB of 10^6 bytes a worker")
        print(f"  {'bake':14}{'idle':>8}{'gc':>8}{'worked':>8}{'zygote':>9}{'bake s':>8}")
        for each in rows:
            figures = "".join(f"{each[n]:8.2f}" for n in ("idle_mb", "gc_mb", "worked_mb"))
            print(f"  {each['name']:14}{figures}{each['zygote_mb']:9.1f}{each['seconds']:8.2f}")
    last = rows[-1]
    return 0 if last["idle_mb"] <= IDLE_GOAL and last["worked_mb"] <= WORKED_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
