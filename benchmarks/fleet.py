"""Memory of the embedded fleet: the same workers as cold processes, and from a zygote.

    .venv/bin/python benchmarks/fleet.py [--json] [--visits 20]

Both run on this machine, one after the other, idle after they are ready; the zygote's fleet is
measured again after a number of real SSH visits. Sums over all processes, manager and zygotes
included: PSS counts a shared page once, page tables are added because every fork has its own.
Held constant: interpreter, code, state on a scratch folder, compiled bytecode.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from decnet.run import cold
from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import Manager, running
from decnet.run.prepare import prepare
from decnet.run.probe import processes
from decnet.run.visit import ssh_visit
from decnet.settings import Settings
from zygote.fleet import where

FIGURES = ("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib")
MB = 1024 / 1e6


async def from_zygote(visits: int) -> dict[str, Any]:
    """Start the fleet, measure it idle and after the visits, stop it."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    log = settings.state_dir / "manager.log"
    runtime_dir = where.runtime_dir(str(FLEET), None)
    async with running(FLEET, runtime_dir, dict(os.environ), log, say) as manager:
        await all_ready(manager, asyncio.Event(), say)
        await asyncio.sleep(2)
        idle = await snapshot(manager)
        for number in range(visits):
            host, port = settings.decoy_host, settings.decoy_ssh_port
            await ssh_visit(host, port, f"bench-{number}", "secret", "id")
        await asyncio.sleep(2)
        return {"idle": idle, "worked": await snapshot(manager)}


async def snapshot(manager: Manager) -> dict[str, Any]:
    """Sums over every process of the fleet, and the rows that they were made of."""
    report = await processes(manager)
    rows = [*report["workers"], *report["zygotes"], report["manager"]]
    return {
        **{name: sum(row[name] or 0 for row in rows) for name in FIGURES},
        "worker_uss_kib": {row["name"]: row["uss_kib"] for row in report["workers"]},
        "manager_pss_kib": report["manager"]["pss_kib"],
        "processes": len(rows),
    }


def cold_workers() -> dict[str, list[str]]:
    """The fleet's workers as `python -m …` arguments."""
    names = ("bus", "collect", "profiler", "api")
    workers = {name: ["-m", f"decnet.workers.{name}"] for name in names}
    for kind in ("ssh", "http"):
        workers[f"decoy@{kind}"] = ["-m", "decnet.workers.decoy", kind]
    return workers


SAID: set[str] = set()


def say(line: str) -> None:
    """Progress, for people; each line once."""
    if line in SAID:
        return
    SAID.add(line)
    print(f"fleet.py: {line}", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--visits", type=int, default=20, help="real SSH visits (default 20)")
    given = parser.parse_args()
    say("cold processes …")
    cold_result = cold.measure(cold_workers())
    say("from a zygote …")
    with surroundings(scratch=True) as env:
        os.environ.update(env)
        ours = asyncio.run(from_zygote(given.visits))
    result = {
        "cold": cold_result,
        "zygote": ours,
        "visits": given.visits,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }
    if given.json:
        print(json.dumps(result))
        return 0
    count = cold_result["workers"]
    print(f"{count} workers, Python {result['python']}; MB of 10^6 bytes, all processes")
    print(f"  {'':28}{'PSS':>8}{'tables':>8}{'sum':>8}")
    for label, row in (
        ("cold processes, idle", cold_result),
        ("zygote, idle", ours["idle"]),
        (f"zygote, after {given.visits} visits", ours["worked"]),
    ):
        pss, tables = row["pss_kib"] * MB, row["pagetables_kib"] * MB
        print(f"  {label:28}{pss:8.1f}{tables:8.1f}{pss + tables:8.1f}")
    private = ours["worked"]["worker_uss_kib"]
    print("  private per worker after the visits: ", end="")
    print(", ".join(f"{name} {kib * MB:.1f}" for name, kib in private.items()))
    print(f"  manager: {ours['worked']['manager_pss_kib'] * MB:.1f} MB PSS")
    return 0


if __name__ == "__main__":
    sys.exit(main())
