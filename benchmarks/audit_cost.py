#!/usr/bin/env python3
"""What the audit costs a bake: CPU seconds of importing a floor, plain and with blame.

    .venv/bin/python benchmarks/audit_cost.py [--floor decnet.floor] [--rounds 5] [--json]

Each figure is of a fresh interpreter; plain and audited ones alternate, so that a busy moment of
the machine hits both, and the median is taken. `study` is the walk over objects, modules and
mappings; `look` asks the kernel; `fork` is two copies, which must draw different numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = """
import gc, importlib, json, sys, time
gc.disable()
from zygote import audit
from zygote.audit import twins
ledger, floor, watched = audit.Ledger(), sys.argv[1], sys.argv[2] == "audited"
def spent(work):
    since = time.process_time()
    work()
    return time.process_time() - since
def load():
    if not watched:
        importlib.import_module(floor)
        return
    with ledger.imports(), ledger.during(floor):
        importlib.import_module(floor)
seconds = {"import": spent(load)}
modules = len(sys.modules)
if watched:
    seconds["study"] = spent(lambda: audit.study(ledger))
    seconds["look"] = spent(lambda: audit.look(-1, ledger))
    seconds["fork"] = spent(twins.look)
print(json.dumps({"modules": modules, **seconds}))
"""


def measure(floor: str, kind: str) -> dict[str, float]:
    """One fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, floor, kind],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--floor", default="decnet.floor")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measure(options.floor, "plain")  # bytecode and page cache
    rounds = [
        (measure(options.floor, "plain"), measure(options.floor, "audited"))
        for _ in range(options.rounds)
    ]

    def median(index: int, key: str) -> float:
        return round(statistics.median(pair[index][key] for pair in rounds), 4)

    plain, audited = median(0, "import"), median(1, "import")
    report = {
        "floor": options.floor,
        "modules": int(rounds[0][1]["modules"]),
        "import_s": plain,
        "import_with_blame_s": audited,
        "blame_per_module_us": round((audited - plain) / rounds[0][1]["modules"] * 1e6),
        **{f"{key}_s": median(1, key) for key in ("study", "look", "fork")},
    }
    if options.json:
        print(json.dumps(report))
        return
    print(
        f"{report['floor']}: {report['modules']} modules, CPU seconds, median of {options.rounds}"
    )
    print(f"  import {plain:.3f}, with blame {audited:.3f} "
          f"({report['blame_per_module_us']} µs a module)")  # fmt: skip
    print(
        f"  study {report['study_s']:.3f}, look {report['look_s']:.4f}, fork {report['fork_s']:.3f}"
    )


if __name__ == "__main__":
    main()
