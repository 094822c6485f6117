"""New code without down time: N reloads of a small fleet under load, and what they cost.

    .venv/bin/python benchmarks/reload.py [--rolls 100] [--clients 8] [--json]

A floor with a module that is written anew before each reload, and five HTTP workers: four may run
twice (`overlap`), one is stopped before its successor starts. Half of the clients make a connection
for each request, half keep theirs until they are told "Connection: close"; all of them ask without
pause, in a process of their own. A request has failed if it was refused, reset, cut short, not
answered within 30 s, or not answered with 200. After each reload every worker must answer with the
new version.

    requests, failed    of all clients, from the first reload's beginning to the last one's end
    seconds             of one reload, the median and the longest (the machine decides them)
    overshoot_mb        by how much the fleet, manager and zygotes included, grew at most while a
                        reload was under way: PSS and page tables, sampled
    first_mb, last_mb   the fleet after the first reload and after the last, at rest
    manager_fds         descriptors of the manager, then
    ghosts              processes that were left: below the manager after a reload, or anywhere
                        after the end
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from benchmarks.support.askers import PATIENCE, crowded
from benchmarks.support.figures import count_fds
from decnet.run.manager import running
from zygote.client.api import Client
from zygote.sys import procfs

ROOT = Path(__file__).resolve().parent.parent
MB = 1024 / 1e6
BESIDE, AFTER = ("web-1", "web-2", "web-3", "web-4"), ("lone",)
SAMPLE = 0.1
REST = 1.0
FLEET = """
[fleet]
name = "reload"
min_ready = "100ms"
[zygote.floor]
cwd = "{folder}"
path = ["{root}"]
preload = ["asyncio", "email.parser", "http.client", "sqlite3", "decimal", "served_version",
           "benchmarks.support.served"]
[defaults]
run = "benchmarks.support.served:run"
type = "notify"
stop_grace = "30s"
start_timeout = "60s"
"""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"reload.py: {line}", file=sys.stderr, flush=True)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens."""
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


def fleet_file(folder: Path, ports: dict[str, int]) -> str:
    """The fleet's text."""
    text = FLEET.format(folder=folder, root=ROOT)
    for name, port in ports.items():
        overlap = "overlap = true\n" if name in BESIDE else ""
        text += f'[worker.{name}]\n{overlap}env = {{ SERVED_PORT = "{port}" }}\n'
    return text


def write_version(folder: Path, version: int) -> None:
    """The next version of the code. Its size differs: a .pyc is told by second and size."""
    draft = folder / "draft"
    draft.write_text(f"VERSION = {version}\n" + "#" * version)
    draft.replace(folder / "served_version.py")


def family(manager: int) -> list[int]:
    """The manager and its children, which all workers and zygotes are."""
    return [manager, *(procfs.read_children(manager) or ())]


def whole_mb(manager: int) -> float:
    """PSS and page tables of all of them."""
    rows = [procfs.read_memory(pid) for pid in family(manager)]
    return sum(row.pss_kib + row.pagetables_kib for row in rows if row) * MB


class Peak:
    """The most that the fleet had since `begin`."""

    def __init__(self, manager: int) -> None:
        self._manager = manager
        self.most = 0.0
        self.pids: set[int] = set()

    def look(self) -> float:
        """Sample once."""
        self.pids.update(family(self._manager))
        found = whole_mb(self._manager)
        self.most = max(self.most, found)
        return found

    async def watch(self) -> None:
        """Sample for ever."""
        while True:
            self.look()
            await asyncio.sleep(SAMPLE)


async def version_of(port: int) -> str:
    """What a worker answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.partition(b"Content-Length: ")[2].split(b"\r")[0])
        return (await reader.readexactly(size)).decode()
    finally:
        writer.close()


async def measure(rolls: int, clients: int, folder: Path) -> dict[str, Any]:
    """Start, reload so often, stop."""
    names = (*BESIDE, *AFTER)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    write_version(folder, 0)
    file = folder / "fleet.toml"
    file.write_text(fleet_file(folder, ports))
    seconds: list[float] = []
    rests: list[float] = []
    overshoots: list[float] = []
    fds: list[int] = []
    strays = 0
    quiet = lambda line: None  # noqa: E731
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    async with running(file, folder / "run", env, folder / "log", quiet) as manager:
        pid = manager.process.pid
        client = await Client.connect(folder / "run" / "control.sock")
        await client.spawn(names)
        peak = Peak(pid)
        async with client, crowded(list(ports.values()), clients) as seen:
            await asyncio.sleep(REST)
            for number in range(1, rolls + 1):
                write_version(folder, number)
                before, peak.most = peak.look(), 0.0
                watching = asyncio.create_task(peak.watch())
                began = time.monotonic()
                try:
                    async for _ in client.roll():
                        pass
                finally:
                    watching.cancel()
                seconds.append(time.monotonic() - began)
                overshoots.append(peak.most - before)
                for name, port in ports.items():
                    answer = await version_of(port)
                    if answer != str(number):
                        raise SystemExit(f"reload.py: {name} answers {answer}, not {number}")
                strays += await count_strays(pid, len(names) + 1)
                if number in (1, rolls):
                    await asyncio.sleep(REST)
                    rests.append(statistics.median([peak.look() for _ in range(5)]))
                    fds.append(count_fds(pid))
                if number % 10 == 0 or number == 1:
                    say(f"{number} of {rolls}: {seconds[-1]:.2f} s, {peak.look():.1f} MB")
    left = [pid for pid in peak.pids if (stat := procfs.read_stat(pid)) and not stat.is_zombie]
    return {
        "rolls": rolls,
        "workers": len(names),
        "clients": clients,
        "requests": seen["requests"],
        "failed": sum(seen["failures"].values()),
        "failures": seen["failures"],
        "seconds": {
            "p50": round(statistics.median(seconds), 2), "max": round(max(seconds), 2),
            "all": round(sum(seconds), 1),
        },
        "overshoot_mb": round(max(overshoots), 1),
        "first_mb": round(rests[0], 1),
        "last_mb": round(rests[-1], 1),
        "manager_fds": [fds[0], fds[-1]],
        "ghosts": strays + len(left),
    }  # fmt: skip


async def count_strays(manager: int, wanted: int) -> int:
    """Children of the manager beyond those that there should be; those on their way out may go."""
    deadline = time.monotonic() + PATIENCE
    while (more := len(family(manager)) - 1 - wanted) > 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return max(0, more)


def show(result: dict[str, Any]) -> None:
    """For people."""
    took = result["seconds"]
    print(f"{result['rolls']} reloads, {result['workers']} workers, {result['clients']} clients")
    print(
        f"  {result['requests']:,} requests, {result['failed']} failed {result['failures'] or ''}"
    )
    print(f"  {took['p50']} s each (median; the longest {took['max']} s)")
    print(f"  {result['first_mb']} MB after the first, {result['last_mb']} after the last, "
          f"{result['overshoot_mb']} more at most amid one")  # fmt: skip
    print(f"  ghosts {result['ghosts']}, descriptors of the manager {result['manager_fds']}")


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--rolls", type=int, default=100, help="so many reloads (default 100)")
    parser.add_argument("--clients", type=int, default=10, help="at once (default 10)")
    given = parser.parse_args()
    if given.rolls < 1 or given.clients < 1:
        parser.error("--rolls, --clients: at least 1")
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(given.rolls, given.clients, Path(folder)))
    result |= about()
    if given.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0 if not result["failed"] and not result["ghosts"] else 1


if __name__ == "__main__":
    sys.exit(main())
