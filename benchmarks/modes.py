"""Ways to run workers under systemd: one service, a unit per worker, plain cold units.

    tests/system/bench.sh modes.py [--n 8]          in the VM of the system tests, as root

    A      `install --systemd`: one service, the manager makes the workers
    B      `install --systemd --units`: each worker a unit, cloned from a zygote's unit
    cold   each worker a unit that starts python and imports by itself, nothing of ours

The workers are alike: they import the same modules, say that they are ready, wait. Memory: PSS and
page tables of all processes of the way, managers, zygotes and doorkeepers included, MB of 10^6
bytes. `start`: from asking (systemd's D-Bus tool, or our control socket) to the worker's first own
line, one after the other, the median. `restart`: from SIGKILL to the same line of the next process.
Memory is firm. Times are an emulated machine's: only their proportions mean something.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support.about import about
from zygote.client.api import Client
from zygote.sys import procfs
from zygote.sys.cgroupfs import Group

MB = 1e6
FOLDER = Path("/srv/modes")
UNITS = Path("/etc/systemd/system")
MODULES = ("asyncio", "json", "email.mime.text", "http.client", "sqlite3", "pydantic", "sqlmodel")
WORKER = f'''"""One worker: import, say when, wait."""
import {", ".join(MODULES)}
import os, signal, sys, time
from pathlib import Path
from zygote import notify

def main() -> None:
    name = os.environ.get("ZYGOTE_WORKER") or sys.argv[1]
    path = Path("{FOLDER}") / f"{{name}}.at"
    draft = path.with_suffix(f".{{os.getpid()}}")
    draft.write_text(f"{{time.monotonic()}} {{os.getpid()}}")
    draft.replace(path)
    notify.ready()
    while True:
        signal.pause()

if __name__ == "__main__":
    main()
'''
ISOLATED = {
    "A": "pid, cgroup limits, user, capabilities, seccomp, landlock, namespaces of the fleet file; "
    "layout and hash seed shared",
    "B": "a unit each: all that systemd's settings do to a cold unit but PrivateUsers=, and "
    "landlock and seccomp of the fleet file; layout and hash seed shared",
    "cold": "all that systemd's settings do; own layout and hash seed",
}


def say(line: str) -> None:
    """Progress, for people."""
    print(f"modes.py: {line}", file=sys.stderr, flush=True)


def systemctl(*words: str) -> str:
    """Run it; what it printed."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def stamp(name: str) -> tuple[float, int]:
    """When a worker's current process came to its own first line, and its pid."""
    try:
        at, pid = (FOLDER / f"{name}.at").read_text().split()
    except (OSError, ValueError):
        return 0.0, 0
    return float(at), int(pid)


async def came(name: str, after: float) -> tuple[float, int]:
    """The stamp of a process that came after that moment."""
    deadline = time.monotonic() + 300
    while (found := stamp(name))[0] <= after:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} did not come")
        await asyncio.sleep(0.005)
    return found


def install(*words: str) -> None:
    """Our installer, on the fleet file in FOLDER."""
    file = str(FOLDER / "fleet.toml")
    program = [sys.executable, "-m", "zygote.cli", "--fleet", file]
    subprocess.run([*program, *words], check=True, stdout=sys.stderr)


async def start_a(name: str) -> None:
    async with await Client.connect(Path("/run/zygote/modes/control.sock")) as manager:
        await manager.spawn([name])


async def start_b(name: str) -> None:
    await asyncio.to_thread(systemctl, "start", f"modes-worker@{name}")


async def start_cold(name: str) -> None:
    await asyncio.to_thread(systemctl, "start", f"modes-cold@{name}")


async def measure(names: list[str], start: Callable[[str], Awaitable[None]]) -> dict[str, Any]:
    """Start all, weigh them, kill and see them return."""
    starts, restarts = [], []
    for name in names:
        began = time.monotonic()
        work = asyncio.ensure_future(start(name))
        at, _ = await came(name, began)
        await work
        starts.append(at - began)
    await asyncio.sleep(2)
    memory = weigh()
    for name in names:
        _, pid = stamp(name)
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        at, _ = await came(name, killed)
        restarts.append(at - killed)
        await asyncio.sleep(0.2)
    return {
        **memory,
        "start_s": statistics.median(starts),
        "restart_s": statistics.median(restarts),
    }


def weigh() -> dict[str, Any]:
    """Everything in the slice."""
    pids = [
        pid for group in subtree(Group(Path("/sys/fs/cgroup/modes.slice"))) for pid in group.pids()
    ]
    found = [memory for pid in pids if (memory := procfs.read_memory(pid))]
    total = sum(each.pss_kib + each.pagetables_kib for each in found) * 1024
    private = sorted(procfs_private(stamp_pid) for stamp_pid in workers())
    return {
        "processes": len(found),
        "memory_mb": total / MB,
        "private_mb": statistics.median(private) / MB,
    }


def workers() -> list[int]:
    return [stamp(path.stem)[1] for path in FOLDER.glob("*.at")]


def procfs_private(pid: int) -> int:
    memory = procfs.read_memory(pid)
    return memory.uss_kib * 1024 if memory else 0


def subtree(group: Group) -> list[Group]:
    return [group] + [each for child in group.children() for each in subtree(child)]


def prepare(n: int) -> list[str]:
    """A fresh folder, its fleet file and the worker."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "one.py").write_text(WORKER)
    names = [f"w{number}" for number in range(n)]
    tables = "".join(f'[worker.{name}]\nrun = "one:main"\n' for name in names)
    (FOLDER / "fleet.toml").write_text(
        '[fleet]\nname = "modes"\n[zygote.floor]\npreload = ["one"]\n[defaults]\ntype = "notify"\n'
        'autostart = false\nrestart = "always"\nrestart_delay = "0s"\nstart_timeout = "5min"\n'
        f"start_limit = 0\n{tables}"
    )
    return names


async def run(n: int) -> dict[str, Any]:
    """All three, one after the other."""
    found: dict[str, Any] = {}
    names = prepare(n)
    say("A: one service")
    install("install", "--systemd", "--writable", str(FOLDER))
    found["A"] = await measure(names, start_a)
    install("uninstall", "--systemd")
    names = prepare(n)
    say("B: a unit per worker")
    install("install", "--systemd", "--units")
    systemctl("start", "modes-zygote@floor")
    found["B"] = await measure(names, start_b)
    install("uninstall", "--systemd")
    names = prepare(n)
    say("cold units")
    (UNITS / "modes-cold@.service").write_text(
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=notify\nSlice=modes.slice\n"
        f"Restart=always\nRestartSec=0\nTimeoutStartSec=300\nWorkingDirectory={FOLDER}\n"
        f"ExecStart={sys.executable} {FOLDER}/one.py %i\n"
    )
    systemctl("daemon-reload")
    found["cold"] = await measure(names, start_cold)
    systemctl("stop", "modes-cold@*")
    for mode, figures in found.items():
        figures["isolated"] = ISOLATED[mode]
    return {"workers": n, "modules": list(MODULES), "modes": found, "about": about()}


def table(result: dict[str, Any]) -> list[str]:
    """The page's table."""
    lines = [
        "| way | memory, all | private, median worker | start | restart | isolated |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for mode, each in result["modes"].items():
        lines.append(
            f"| {mode} | {each['memory_mb']:.0f} MB | {each['private_mb']:.1f} MB | "
            f"{each['start_s'] * 1e3:.0f} ms | {each['restart_s'] * 1e3:.0f} ms | "
            f"{each['isolated']} |"
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
        sys.exit("modes.py: it needs root and systemd: tests/system/bench.sh modes.py")
    result = asyncio.run(run(given.n))
    print(json.dumps(result) if given.json else "\n".join(table(result)))
