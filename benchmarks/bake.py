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

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from zygote.fleet.model import ZygoteSpec
from zygote.inspect import bakes
from zygote.inspect.lone import environment

FLOOR = "decnet.floor"
SPEC = ZygoteSpec("bench", (FLOOR,), warm=("decnet.floor:warm",), cwd=str(Path.cwd()))
IDLE_GOAL, WORKED_GOAL = 0.5, 5.0

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


def tell(row: str, what: str) -> None:
    """One line a bake."""
    if what == "baking":
        print(f"bake.py: {row} …", file=sys.stderr, flush=True)


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="rounds of work (default 100)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        help="rows at a time (default 2; 1: `seconds` is undisturbed)",
    )
    parser.add_argument("--last", action="store_true", help="the default bake only")
    given = parser.parse_args()
    rows = bakes.compare(
        SPEC,
        environment(SPEC),
        bakes.chosen(SPEC, ["last"] if given.last else []),
        WORKED.replace("{rounds}", str(given.rounds)),
        jobs=given.jobs,
        tell=tell,
    )
    result = {
        **about(),
        "floor": FLOOR,
        "floor_mb": rows[0].zygote_mb,
        "rounds": given.rounds,
        "stages": [each.as_json() for each in rows],
    }
    if given.json:
        print(json.dumps(result))
    else:
        print(f"floor {FLOOR}, Python {result['python']}; private MB of 10^6 bytes a worker")
        print(f"  {'bake':14}{'idle':>8}{'gc':>8}{'worked':>8}{'zygote':>9}{'bake s':>8}")
        for each in result["stages"]:
            figures = "".join(f"{each[n]:8.2f}" for n in ("idle_mb", "gc_mb", "worked_mb"))
            print(f"  {each['name']:14}{figures}{each['zygote_mb']:9.1f}{each['seconds']:8.2f}")
    last = rows[-1]
    worked = last.worked_mb if last.worked_mb is not None else WORKED_GOAL + 1
    return 0 if last.idle_mb <= IDLE_GOAL and worked <= WORKED_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
