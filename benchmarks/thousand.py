"""A thousand live decoys on one small machine: memory, start, stop, `ps`, the idle manager, leaks.

    .venv/bin/python benchmarks/thousand.py [--n 1000] [--rounds 3] [--json]

A fleet of the bus and N decoys (ssh, http, ftp, telnet, smtp and redis in equal parts), each a
process with a port, a log and, where cgroups can be had, a limit of its own. Every decoy is then
visited by a real client. In each further round all decoys are stopped and started again.

    memavailable_mb  by how much MemAvailable fell from before the manager's start to N visited
                     decoys: kernel memory, page tables, manager and zygote included. Others on the
                     machine move it too: back_mb is by how much it rose again after the stop
    per_worker_mb    memavailable_mb by N
    pss_mb           PSS of all processes, from smaps_rollup; pagetables_mb: their page tables
    start_s, down_s  from "start them" to all ready; from `down` to the manager's end
    ps_s             `zygotectl ps` from its start to its end, best of three (ps_json_s: --json);
                     ps_cpu_s: CPU time that it took itself
    top_s            `zygotectl top --once`, which looks twice, 0.3 s apart
    manager_cpu_percent  of one CPU, over 20 s in which nobody asks anything
    answered         decoys that answered their client as they should
    load_before      the machine's load average before: times are what others left of it
    storm            all decoys are killed at once: seconds until the first, half and all of them
                     are ready again, at `restart_rate` a second; bus_pid_kept: nobody else fell

Goals are those of 1,000 decoys; exit code 1 where one is missed, which is said.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from benchmarks.support.figures import (
    best,
    count_fds,
    footprint,
    idle_percent,
    leaked,
    steady,
)
from benchmarks.support.visitors import KINDS, decoys
from decnet.run.manager import Manager, running
from decnet.run.ports import free_ports
from decnet.settings import Settings
from zygote.errors import ZygoteError
from zygote.sys import procfs

VISITORS = Path(__file__).parent / "support" / "visitors.py"
FLEET = """
[fleet]
name = "thousand"

[zygote.decoy]
preload = ["decnet.decoys.floor"]
warm = ["decnet.decoys.floor:warm"]

[defaults]
type = "notify"
memory_max = "96M"
tasks_max = 32
watchdog = "60s"
start_timeout = "120s"

[worker.bus]
run = "decnet.workers.bus:run"

[worker."decoy@"]
run = "decnet.workers.decoy:run"
args = ["%i"]
after = ["bus"]
autostart = false
"""
GOALS = {
    "memavailable_mb": 1500.0, "start_s": 20.0, "down_s": 10.0, "ps_s": 1.0,
    "manager_cpu_percent": 2.0, "manager_mb": 60.0,
}  # fmt: skip
"""The most that 1,000 decoys may cost."""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"thousand.py: {line}", file=sys.stderr, flush=True)


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The whole of it."""
    Settings.from_env().prepare()
    fleet = folder / "fleet.toml"
    fleet.write_text(FLEET)
    runtime, log = folder / "run", folder / "manager.log"
    names = decoys(given.n)
    before = steady("MemAvailable"), steady("PageTables")
    result: dict[str, Any] = {"n": given.n, "load_before": round(os.getloadavg()[0], 1)}
    async with running(fleet, runtime, dict(os.environ), log, lambda _: None) as manager:
        client = await manager.client()
        quiet = footprint(manager, runtime)
        rounds = []
        for number in range(given.rounds):
            rounds.append(await one_round(manager, names, number == 0))
            if number == 0:
                result |= await look(given, manager, runtime, names, before)
            if number == 0:
                result["storm"] = await storm(manager)
            began = time.monotonic()
            await client.stop(["decoy@"])
            rounds[-1]["stop_s"] = round(time.monotonic() - began, 2)
            await asyncio.sleep(1)
            rounds[-1]["left"] = leaked(quiet, footprint(manager, runtime))
            say(f"round {number + 1}: {rounds[-1]}")
        await start(manager, names)
        result["down_s"] = await down(manager, runtime)
    after = steady("MemAvailable")
    result["back_mb"] = round(after - (before[0] - result["memavailable_mb"]))
    result["rounds"] = rounds
    result["start_s"] = rounds[0]["start_s"]
    result["answered"] = rounds[0]["answered"]
    result["leaked"] = [line for each in rounds for line in each["left"]]
    result["processes_left"] = len(procfs.read_children(os.getpid()) or ())
    result |= about()
    return result


async def one_round(manager: Manager, names: list[str], visited: bool) -> dict[str, Any]:
    """Start them all; visit each."""
    took = await start(manager, names)
    return {
        "start_s": took,
        "answered": await visit(len(names)) if visited else None,
    }


async def storm(manager: Manager) -> dict[str, Any]:
    """Kill every decoy at once, and wait until all are back."""
    client = await manager.client()
    before = {worker.name: worker.pid for worker in await client.workers()}
    decoys = {name: pid for name, pid in before.items() if name.startswith("decoy@") and pid}
    for pid in decoys.values():
        os.kill(pid, signal.SIGKILL)
    at: dict[str, float] = {}
    began, back = time.monotonic(), 0
    while back < len(decoys) and time.monotonic() - began < 300:
        await asyncio.sleep(0.25)
        now = await client.workers()
        back = sum(w.ready and w.pid != decoys.get(w.name) for w in now if w.name in decoys)
        for name, count in (("first", 1), ("half", len(decoys) // 2), ("all", len(decoys))):
            if back >= count:
                at.setdefault(f"{name}_s", round(time.monotonic() - began, 2))
    bus = next(worker for worker in await client.workers() if worker.name == "bus")
    return {"killed": len(decoys), "back": back, **at, "bus_pid_kept": bus.pid == before["bus"]}


async def start(manager: Manager, names: list[str]) -> float:
    """Seconds until all are ready.

    Raises:
        ZygoteError: one does not start; the first such.
    """
    began = time.monotonic()
    results = await (await manager.client()).spawn(names)
    wrong = [result for result in results if not result.ok]
    if wrong:
        raise ZygoteError(f"{len(wrong)} do not start; {wrong[0].name}: {wrong[0].error}",
                          hint=wrong[0].hint)  # fmt: skip
    return round(time.monotonic() - began, 2)


async def visit(count: int) -> int:
    """How many answered a client of their protocol. The clients' memory is gone afterwards."""
    visitors = await asyncio.create_subprocess_exec(
        sys.executable, str(VISITORS), str(count), stdout=subprocess.PIPE
    )
    told, _ = await visitors.communicate()
    return int(told)


async def look(
    given: argparse.Namespace, manager: Manager, runtime: Path, names: list[str],
    before: tuple[float, float],
) -> dict[str, Any]:  # fmt: skip
    """All figures of a fleet that is up."""
    pid = manager.process.pid
    idle = await idle_percent(pid)  # meanwhile the last visitor's traces are tidied up
    fell = before[0] - steady("MemAvailable")
    tables = steady("PageTables") - before[1]
    memory = procfs.read_memory(pid)
    assert memory
    workers = await (await manager.client()).workers()
    zygotes = await (await manager.client()).zygotes()
    say("reading smaps_rollup of all of them …")
    pids = [w.pid for w in workers if w.pid] + [z.pid for z in zygotes if z.pid] + [pid]
    found = [figures for each in pids if (figures := procfs.read_memory(each))]
    mb = 1024 / 1e6
    decoy = [f for w in workers if w.pid and w.name in set(names)
             if (f := procfs.read_memory(w.pid))]  # fmt: skip
    decoy.sort(key=lambda figures: figures.uss_kib)
    return {
        "memavailable_mb": round(fell),
        "per_worker_mb": round(fell / given.n, 3),
        "meminfo_pagetables_mb": round(tables),
        "pss_mb": round(sum(f.pss_kib for f in found) * mb),
        "pagetables_mb": round(sum(f.pagetables_kib for f in found) * mb),
        "private_mb": {"median": round(decoy[len(decoy) // 2].uss_kib * mb, 2),
                       "most": round(decoy[-1].uss_kib * mb, 2)},
        "manager_mb": round(memory.pss_kib * mb + memory.pagetables_kib * mb, 1),
        "manager_cpu_percent": idle,
        "manager_fds": count_fds(pid),
        **best(runtime, "ps", "ps"),
        **best(runtime, "ps_json", "ps", "--json"),
        **best(runtime, "top", "top", "--once"),
        "limits": (await (await manager.client()).status()).limits,
    }  # fmt: skip


async def down(manager: Manager, runtime: Path) -> float:
    """`zygotectl down`: seconds until the manager is gone."""
    began = time.monotonic()
    argv = [str(Path(sys.executable).with_name("zygotectl")), "--runtime-dir", str(runtime), "down"]
    process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.DEVNULL)
    await process.wait()
    await manager.process.wait()
    return round(time.monotonic() - began, 2)


def missed(result: dict[str, Any]) -> list[str]:
    """Goals that were not reached; those of memory and time grow with N."""
    share = max(0.2, result["n"] / 1000)
    grow = ("memavailable_mb", "start_s", "down_s")
    most = {name: goal * (share if name in grow else 1) for name, goal in GOALS.items()}
    found = [f"{name} is {result[name]}, {goal:g} is the most" for name, goal in most.items()
             if result[name] > goal]  # fmt: skip
    if result["storm"]["back"] != result["n"] or not result["storm"]["bus_pid_kept"]:
        found.append(f"the storm: {result['storm']}")
    if result["answered"] != result["n"]:
        found.append(f"{result['n'] - result['answered']} decoys did not answer")
    return found + result["leaked"]


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--n", type=int, default=1000, help="decoys")
    parser.add_argument("--rounds", type=int, default=3, help="starts and stops of all of them")
    given = parser.parse_args()
    import tempfile

    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="thousand-") as name:
        folder = Path(name)
        os.environ.update(
            free_ports(-(-given.n // len(KINDS))), DECNET_STATE_DIR=str(folder / "state"),
            ZYGOTE_RUNTIME_DIR=str(folder / "run"),
        )  # fmt: skip
        result = asyncio.run(measure(given, folder))
    result["missed"] = missed(result)
    if given.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"  {key:22} {value}")
    return 1 if result["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
