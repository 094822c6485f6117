"""What a branch is worth: decnet's eighteen workers on four arrangements of zygotes, idle.

    .venv/bin/python benchmarks/tree.py [--rounds 1] [--modes tree,cold] [--json]

    tree    as shipped: the zygote `packet` is forked from `floor`, for sniffer and probe
    flat    `packet` without `parent`: it starts from nothing and imports what these two need
    one     no `packet`: `floor` preloads decnet.packets.floor as well, all workers are its copies
    cold    no `packet`: sniffer and probe are cold processes

No decoys: they have a zygote of their own, which is the same in all four. All else is the fleet as
it ships, each mode on a scratch state folder and free ports, one after the other; of several rounds
the one with the median of the whole is told, and all wholes are in the JSON.

Sums over all processes, manager and zygotes included: PSS and page tables. `alone` is what a zygote
shares with nobody once its own workers have ended: of a branch, what it adds to its parent. Memory
is firm. Seconds are not: they depend on what else the machine does, so the CPU time of each bake is
told beside them (the zygote's own, without its rehearsals in clones). MB of 10^6 bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fleet import MB, Pids, as_processes, sums, under_manager
from benchmarks.support import options
from benchmarks.support.about import about
from decnet.run.__main__ import FLEET, arguments, surroundings
from decnet.run.prepare import prepare
from zygote.client.api import Client
from zygote.sys import procfs

PACKET = ("sniffer", "probe")
PRELOAD = "decnet.packets.floor"
BRANCH, FLOOR = "[zygote.packet]", "[zygote.floor]"
QUIET_SECONDS, QUIET_CPU, PATIENCE_SECONDS = 4.0, 0.1, 90.0
"""The fleet has settled when its processes together use less of a CPU than this, for so long."""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"tree.py: {line}", file=sys.stderr, flush=True)


def tables(text: str) -> dict[str, str]:
    """The tables of a fleet file by their heads, each with its lines; "" is what comes first."""
    parts = re.split(r"(?m)^(?=\[)", text)
    return {part.partition("\n")[0] if part.startswith("[") else "": part for part in parts}


def tree(parts: dict[str, str]) -> None:
    """As shipped."""


def flat(parts: dict[str, str]) -> None:
    """Two zygotes that start from nothing."""
    _change(parts, BRANCH, 'parent = "floor"\n', "")


def one(parts: dict[str, str]) -> None:
    """One zygote for all."""
    del parts[BRANCH]
    for key, entry in (("preload", PRELOAD), ("warm", f"{PRELOAD}:warm")):
        _change(parts, FLOOR, f"{key} = [", f'{key} = ["{entry}", ')
    for name in PACKET:
        _change(parts, f"[worker.{name}]", 'zygote = "packet"\n', "")


def cold(parts: dict[str, str]) -> None:
    """Without those that will be processes of their own."""
    for head in (BRANCH, *(f"[worker.{name}]" for name in PACKET)):
        del parts[head]


MODES: dict[str, Callable[[dict[str, str]], None]] = {
    each.__name__: each for each in (tree, flat, one, cold)
}


def fleet_file(mode: str) -> str:
    """The text of decnet's fleet file, arranged so, without decoys.

    Raises:
        KeyError, ValueError: the fleet file is no longer as this program knows it.
    """
    parts = tables(FLEET.read_text())
    MODES[mode](parts)
    return "".join(text for head, text in parts.items() if "decoy" not in head)


def _change(parts: dict[str, str], head: str, old: str, new: str) -> None:
    if old not in parts[head]:
        raise ValueError(f"{head} of {FLEET.name} has no {old.strip()!r}")
    parts[head] = parts[head].replace(old, new)


async def measure(mode: str, folder: Path) -> dict[str, Any]:
    """One mode: start, wait until it is quiet, look, stop."""
    prepare()
    before = procfs.read_meminfo_kib("MemAvailable")
    began = time.monotonic()
    async with contextlib.AsyncExitStack() as stack:
        pids, _ = await stack.enter_async_context(under_manager(fleet_file(mode), folder))
        took = time.monotonic() - began
        client = await stack.enter_async_context(
            await Client.connect(Path(os.environ["ZYGOTE_RUNTIME_DIR"]) / "control.sock")
        )
        baked = {z.name: (z.pid or 0, z.bake_seconds) for z in await client.zygotes()}
        cpu = {name: _cpu(pid) for name, (pid, _) in baked.items()}
        everybody: Pids = pids
        if mode == "cold":
            ways = {name: arguments(name) for name in PACKET}
            others, _ = await stack.enter_async_context(as_processes(ways, folder))

            async def everybody() -> dict[str, int]:
                return await pids() | await others()

        await settled(everybody)
        found = sums(await everybody(), before)
        # A worker that started anew would be missing from the sums.
        missing = set(await everybody()) - set(found["parts"])
        if missing:
            raise SystemExit(f"tree.py: {mode}: ended meanwhile: {', '.join(sorted(missing))}")
        workers = {name: uss for name, (_, uss) in found["parts"].items() if _is_worker(name)}
        rss = {name: _memory(pid).rss_kib for name, (pid, _) in baked.items()}
        await client.stop([name for name in workers if mode != "cold" or name not in PACKET])
        alone = {name: _memory(pid).uss_kib for name, (pid, _) in baked.items()}
    return {
        "mode": mode,
        "whole_mb": round(found["pss_mb"] + found["pagetables_mb"], 1),
        "pss_mb": found["pss_mb"],
        "pagetables_mb": found["pagetables_mb"],
        "processes": found["processes"],
        "private_mb": workers,
        "zygotes": {
            name: {
                "rss_mb": round(rss[name] * MB, 1),
                "alone_mb": round(alone[name] * MB, 1),
                "bake_s": seconds,
                "bake_cpu_s": round(cpu[name], 2),
            }
            for name, (_, seconds) in baked.items()
        },
        "start_s": round(took, 1),
    }


async def settled(pids: Pids) -> None:
    """Wait until these processes are idle; not for ever."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_SECONDS:
        before = sum(map(_cpu, (await pids()).values()))
        await asyncio.sleep(QUIET_SECONDS)
        if sum(map(_cpu, (await pids()).values())) - before < QUIET_CPU * QUIET_SECONDS:
            return
    say(f"still busy after {PATIENCE_SECONDS:.0f} s; measured all the same")


def _cpu(pid: int) -> float:
    stat = procfs.read_stat(pid)
    return stat.cpu if stat else 0.0


def _memory(pid: int) -> procfs.Memory:
    found = procfs.read_memory(pid)
    if found is None:
        raise SystemExit(f"tree.py: zygote {pid} ended meanwhile")
    return found


def _is_worker(name: str) -> bool:
    return name != "manager" and not name.startswith("zygote.")


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The round whose whole is in the middle (of two, the smaller), with the wholes of all."""
    ordered = sorted(rounds, key=lambda each: each["whole_mb"])
    wholes = [each["whole_mb"] for each in rounds]
    return {**ordered[(len(ordered) - 1) // 2], "wholes_mb": wholes}


def show(result: dict[str, Any]) -> None:
    """The table for people."""
    print(f"18 workers, no decoys, Python {result['python']}; MB, seconds")
    print(f"  {'':6}{'whole':>8}{'tables':>8}{'packet alone':>14}{'sniffer':>9}{'probe':>7}"
          f"{'others':>8}{'bake':>7}{'CPU':>6}{'start':>7}")  # fmt: skip
    for row in result["modes"]:
        private, zygotes = row["private_mb"], row["zygotes"]
        others = statistics.median(v for name, v in private.items() if name not in PACKET)
        packet = f"{zygotes['packet']['alone_mb']:.1f}" if "packet" in zygotes else "–"
        bake = sum(each["bake_s"] for each in zygotes.values())
        used = sum(each["bake_cpu_s"] for each in zygotes.values())
        print(
            f"  {row['mode']:6}{row['whole_mb']:8.1f}{row['pagetables_mb']:8.1f}{packet:>14}"
            f"{private['sniffer']:9.1f}{private['probe']:7.1f}{others:8.1f}"
            f"{bake:7.1f}{used:6.1f}{row['start_s']:7.1f}"
        )
    print("  packet alone: what only that zygote has; others: the median of the other workers")


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="each mode so often (default 1)")
    parser.add_argument("--modes", default=",".join(MODES), help="which, comma-separated")
    given = parser.parse_args()
    modes = given.modes.split(",")
    if unknown := [mode for mode in modes if mode not in MODES]:
        parser.error(f"no mode {unknown[0]!r}; there are: {', '.join(MODES)}")
    if given.rounds < 1:
        parser.error("--rounds: at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then
    rows: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
    load = round(os.getloadavg()[0], 1)
    for number in range(given.rounds):
        for mode in modes:
            say(f"{mode}, round {number + 1} of {given.rounds} …")
            saved = dict(os.environ)
            with surroundings(scratch=True) as env, tempfile.TemporaryDirectory() as folder:
                os.environ.update(env)
                rows[mode].append(asyncio.run(measure(mode, Path(folder))))
            os.environ.clear()
            os.environ.update(saved)
    result = {
        "modes": [median(found) for found in rows.values()],
        **about(),
        "load_before": load,
        "date": datetime.now(UTC).date().isoformat(),
    }
    if given.json:
        print(json.dumps(result))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
