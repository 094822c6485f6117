"""Memory of decnet's whole fleet in five ways of running it, idle and under the same load.

    .venv/bin/python benchmarks/fleet.py [--seconds 60] [--rate 6] [--modes cold,zygote] [--json]

    cold        each worker and decoy is a Python process of its own
    supervise   all eighteen workers as tasks of one process (decoys: processes of their own)
    naive       forked after the imports and the warm-up, with no other stage of the bake
    freeze      the same, and the collector leaves the floor alone
    zygote      the fleet as it ships: the whole bake

One after the other on this machine, each on a scratch state folder and free ports, each visited by
the same crowd (same seed, same plan). Sums over all processes, managers and zygotes included: PSS
counts a shared page once, page tables are added because every process has its own; beside it the
drop of MemAvailable. `series` in the JSON has the same sum every few seconds from the start of the
load: [seconds, MB of all, MB of the workers]. Held constant: interpreter, code, compiled bytecode,
load. Not constant: the page cache, and in `cold` and `supervise` nobody restarts what dies, nor
recycles what has grown over its `max_private` (`replaced` in the JSON: who has another pid after
the load than before). MB of 10^6 bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from decnet.load.audit import audited
from decnet.load.crowd import Target, plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready, arguments, surroundings
from decnet.run.manager import running
from decnet.run.prepare import prepare
from decnet.settings import Settings
from decnet.workers import WORKERS
from zygote.sys import procfs

BAKES: dict[str, list[str] | None] = {
    "naive": ["warm"],
    "freeze": ["warm", "collect", "trim", "freeze"],
    "zygote": None,
}
MODES = ("cold", "supervise", *BAKES)
MB = 1024 / 1e6
SETTLE_SECONDS = 5.0
SAMPLE_SECONDS = 5.0
"""Between two points of `series`. One costs 0.1 to 0.4 s of CPU, in a thread."""
Pids = Callable[[], Awaitable[dict[str, int]]]
"""Process name -> pid, at this moment: a worker over its limit is recycled, and has another."""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"fleet.py: {line}", file=sys.stderr, flush=True)


def decoys() -> list[str]:
    """The decoys that the fleet file starts."""
    lines = FLEET.read_text().splitlines()
    names = [line.split('"')[1] for line in lines if line.startswith('[worker."decoy@')]
    return [name for name in names if not name.endswith("@")]


def baked_by(mode: str) -> str:
    """The fleet file, with the mode's stages of the bake."""
    text = FLEET.read_text()
    if BAKES[mode] is None:
        return text
    lines = text.splitlines()
    stages = f"bake = {json.dumps(BAKES[mode])}"
    return "\n".join(f"{x}\n{stages}" if x.startswith("[zygote.") else x for x in lines)


@contextlib.asynccontextmanager
async def under_manager(text: str, folder: Path) -> AsyncIterator[tuple[Pids, list[Target]]]:
    """A fleet file of this text, all its workers ready."""
    file = folder / "fleet.toml"
    file.write_text(text)
    runtime = Path(os.environ["ZYGOTE_RUNTIME_DIR"])
    quiet: Callable[[str], None] = lambda line: None  # noqa: E731
    async with running(file, runtime, dict(os.environ), folder / "log", quiet) as manager:
        await all_ready(manager, asyncio.Event(), quiet)
        client = await manager.client()

        async def pids() -> dict[str, int]:
            found: dict[str, int] = {"manager": manager.process.pid}
            found |= {f"zygote.{z.name}": z.pid for z in await client.zygotes() if z.pid}
            return found | {w.name: w.pid for w in await client.workers() if w.pid}

        yield pids, await targets(manager.socket, Settings.from_env())


def processes_of(mode: str) -> dict[str, str]:
    """What is started cold: one process a worker, or one for all workers."""
    commands = {name: arguments(name) for name in WORKERS}
    if mode == "supervise":
        commands = {"supervise": "-m decnet.cli.app supervise --all"}
    return commands | {name: arguments(name) for name in decoys()}


@contextlib.asynccontextmanager
async def as_processes(
    commands: dict[str, str], folder: Path
) -> AsyncIterator[tuple[Pids, list[Target]]]:
    """Cold processes: name -> what comes after the interpreter."""
    settings = Settings.from_env()
    started: dict[str, asyncio.subprocess.Process] = {}
    with (folder / "log").open("ab") as log:
        try:
            for name, words in commands.items():
                started[name] = await asyncio.create_subprocess_exec(
                    *(sys.executable, *words.split()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                if name in ("bus", "supervise"):
                    await _listens(settings.bus_socket)
            found = [await _target(name, settings) for name in commands if "decoy@" in name]
            await _answers(settings.api_host, settings.api_port)

            async def pids() -> dict[str, int]:
                return {n: p.pid for n, p in started.items() if p.returncode is None}

            yield pids, found
        finally:
            for process in started.values():
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGTERM)
            for process in started.values():
                try:
                    await asyncio.wait_for(process.wait(), 20)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _target(name: str, settings: Settings) -> Target:
    from decnet.decoys.catalogue import parse_instance

    kind, number, _ = parse_instance(name)
    port = settings.decoy_port(kind, number)
    await _answers(settings.decoy_host, port)
    return Target(name, kind, port)


async def _listens(socket: Path) -> None:
    async with asyncio.timeout(120):
        while not socket.exists():
            await asyncio.sleep(0.05)


async def _answers(host: str, port: int) -> None:
    async with asyncio.timeout(180):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return
            await asyncio.sleep(0.1)


def sums(pids: dict[str, int], before_kib: int) -> dict[str, Any]:
    """Memory of these processes; a zygote's clones share pages with it, so PSS adds up."""
    rows = {name: procfs.read_memory(pid) for name, pid in pids.items()}
    live = {name: row for name, row in rows.items() if row is not None}
    private = sorted(row.uss_kib for name, row in live.items() if name in WORKERS)
    return {
        "pss_mb": round(sum(r.pss_kib for r in live.values()) * MB, 1),
        "pagetables_mb": round(sum(r.pagetables_kib for r in live.values()) * MB, 1),
        "memavailable_mb": round((before_kib - procfs.read_meminfo_kib("MemAvailable")) * MB, 1),
        "processes": len(live),
        "workers_mb": round(
            sum(r.pss_kib + r.pagetables_kib for n, r in live.items() if "decoy" not in n) * MB, 1
        ),
        "private_mb": [round(private[0] * MB, 1), round(private[-1] * MB, 1)] if private else None,
        "parts": {
            name: [round(row.pss_kib * MB, 1), round(row.uss_kib * MB, 1)]
            for name, row in live.items()
            if "decoy@" not in name
        },
    }


async def sample(pids: Pids, before_kib: int, series: list[list[float]]) -> None:
    """A point of the curve each few seconds, until cancelled."""
    began = time.monotonic()
    while True:
        at = time.monotonic() - began
        found = await asyncio.to_thread(sums, await pids(), before_kib)
        whole = round(found["pss_mb"] + found["pagetables_mb"], 1)
        series.append([round(at, 1), whole, found["workers_mb"]])
        await asyncio.sleep(SAMPLE_SECONDS)


async def measure(mode: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One mode: start, look, load, look, stop."""
    settings = Settings.from_env()
    prepare()
    before = procfs.read_meminfo_kib("MemAvailable")
    began = time.monotonic()
    if mode in BAKES:
        way = under_manager(baked_by(mode), folder)
    else:
        way = as_processes(processes_of(mode), folder)
    async with way as (pids, found):
        took = time.monotonic() - began
        await asyncio.sleep(SETTLE_SECONDS)
        first = await pids()
        idle = sums(first, before)
        series: list[list[float]] = []
        async with audited(settings) as audit:
            sampling = asyncio.create_task(sample(pids, before, series))
            try:
                steps = plan(found, given.seconds, given.rate, given.seed)
                tally = await send(steps, settings.decoy_host, asyncio.Event())
                outcome = await audit.settled(tally)
            finally:
                sampling.cancel()
                await asyncio.gather(sampling, return_exceptions=True)
        last = await pids()
        worked = sums(last, before)
    return {
        "mode": mode,
        **worked,
        "idle": idle,
        "series": series,
        "workers": len(WORKERS),
        "decoys": len(decoys()),
        "events": outcome.stored,
        "lost": outcome.lost,
        "replaced": sorted(name for name in first if last.get(name) != first[name]),
        "start_s": round(took, 1),
    }


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the load")
    parser.add_argument("--rate", type=float, default=6.0, help="deeds a second, on average")
    parser.add_argument("--seed", type=int, default=7, help="of the crowd")
    parser.add_argument("--modes", default=",".join(MODES), help="which, comma-separated")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then
    rows = []
    for mode in given.modes.split(","):
        if mode not in MODES:
            parser.error(f"no mode {mode!r}; there are: {', '.join(MODES)}")
        say(f"{mode} …")
        saved = dict(os.environ)
        with surroundings(scratch=True) as env, tempfile.TemporaryDirectory() as folder:
            os.environ.update(env)
            rows.append(asyncio.run(measure(mode, given, Path(folder))))
        os.environ.clear()
        os.environ.update(saved)
    result = {
        "modes": rows,
        "seconds": given.seconds,
        **about(),
    }
    if given.json:
        print(json.dumps(result))
        return 0
    print(f"{len(WORKERS)} workers, {len(decoys())} decoys, Python {result['python']}; MB")
    print(f"  {'':11}{'idle':>9}{'worked':>9}{'workers':>9}{'tables':>8}{'start s':>9}{'lost':>6}")
    for row in rows:
        idle = row["idle"]["pss_mb"] + row["idle"]["pagetables_mb"]
        worked = row["pss_mb"] + row["pagetables_mb"]
        print(
            f"  {row['mode']:11}{idle:9.1f}{worked:9.1f}{row['workers_mb']:9.1f}"
            f"{row['pagetables_mb']:8.1f}{row['start_s']:9.1f}{row['lost']:6}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
