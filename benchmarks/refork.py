"""What a warm worker as a mold is worth, against a plain bake: private memory of a worked worker.

    .venv/bin/python benchmarks/refork.py [--floor decnet.floor] [--rounds 3] [--json]

Two bakes of the same floor, one without the fleet's warm-up and one with it. From each a worker is
made, works, and its private memory is taken: `plain`. Another one works and becomes the mold of
the next generation (`zygotectl refork`); a worker made from that works, too: `reforked`. The work
is the fleet's own warm-up function, run so many rounds: the work that a warm-up knows best, so the
least that a mold can win over a bake with it.

    private   USS of the worker after its work
    tables    its page tables
    zygote    RSS of the zygote that it is a copy of
    seconds   that the generation took to make, from the start of the interpreter; of a mold, from
              the fork

MB of 10^6 bytes. Memory is firm; seconds depend on what else the machine does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from zygote.client.api import Client
from zygote.client.start import start_manager
from zygote.sys import procfs

PATIENCE = 300.0
BAKES = ("without warm-up", "with warm-up")

FLEET = """
[fleet]
name = "refork"
memory_reserve = "8M"
[zygote.floor]
preload = ["{module}"]
warm = [{warm}]
cwd = "{cwd}"
path = ["{folder}"]
[defaults]
type = "notify"
start_timeout = "{patience}s"
autostart = false
[worker.mold]
run = "work:mold"
refork = true
[worker.child]
run = "work:child"
"""

WORK = """
import asyncio, importlib, inspect
from zygote import mold as molds, notify

def work():
    function = getattr(importlib.import_module("{module}"), "{function}")
    for _ in range({rounds}):
        result = function()
        if inspect.isawaitable(result):
            asyncio.run(result)

async def stay(offer):
    if offer:
        molds.offer()
    notify.ready()
    await asyncio.sleep(3600)

def mold():
    work()
    return stay(True)

def child():
    work()
    return stay(False)
"""


def write(folder: Path, floor: str, rounds: int, warm: bool) -> Path:
    """The fleet file, and the program of its workers."""
    module, _, function = floor.partition(":")
    (folder / "work.py").write_text(
        WORK.format(module=module, function=function or "warm", rounds=rounds)
    )
    file = folder / "fleet.toml"
    entry = f'"{module}:{function or "warm"}"' if warm else ""
    file.write_text(
        FLEET.format(
            module=module, warm=entry, cwd=Path.cwd(), folder=folder, patience=int(PATIENCE)
        )
    )
    return file


async def worked(client: Client, name: str, seconds: float) -> dict[str, Any]:
    """Start the worker, let it work, measure, stop it."""
    (result,) = await client.spawn([name])
    if not result.ok:
        raise SystemExit(f"refork.py: {name}: {result.error} {result.hint}")
    (zygote,) = await client.zygotes()
    memory, floor = procfs.read_memory(result.pid or 0), procfs.read_memory(zygote.pid or 0)
    if memory is None or floor is None:
        raise SystemExit(f"refork.py: {name} ended meanwhile")
    await client.stop([name])
    return {
        "private_mb": _mb(memory.uss_kib),
        "pagetables_mb": _mb(memory.pagetables_kib),
        "zygote_rss_mb": _mb(floor.rss_kib),
        "modules": zygote.modules,
        "seconds": round(seconds, 1),
    }


def _mb(kib: int) -> float:
    return round(kib * 1024 / 1e6, 2)


async def measure(floor: str, rounds: int, warm: bool) -> dict[str, Any]:
    """One bake, and the mold that comes of it."""
    with tempfile.TemporaryDirectory(prefix="refork-") as name:
        folder = Path(name)
        began = time.monotonic()
        starting = start_manager(write(folder, floor, rounds, warm), folder / "run", detach=False)
        try:
            with open(os.dup(starting.answer_fd), "rb") as answer:
                said, errors = starting.read_answer(await asyncio.to_thread(answer.readline))
            if errors:
                raise SystemExit(f"refork.py: {errors[0][0]}\n{errors[0][1]}")
            took = time.monotonic() - began
            async with await Client.connect(said["control"]) as client:
                plain = await worked(client, "child", took)
                (result,) = await client.spawn(["mold"])
                if not result.ok:
                    raise SystemExit(f"refork.py: mold: {result.error} {result.hint}")
                steps = [step async for step in client.refork("mold")]
                await client.stop(["mold"])
                reforked = await worked(client, "child", steps[-1].seconds)
                await client.shutdown(wait=True)
            return {"plain": plain, "reforked": reforked}
        finally:
            starting.process.terminate()
            await asyncio.to_thread(starting.process.wait)
            starting.close()


def show(found: dict[str, Any]) -> None:
    """For people."""
    print(f"floor {found['floor']}, {found['rounds']} rounds of work, Python {found['python']}; MB")
    print(f"  {'':17}{'':10}{'private':>9}{'tables':>8}{'zygote':>8}{'modules':>9}{'made in':>9}")
    for bake in BAKES:
        for kind, row in found["bakes"][bake].items():
            print(
                f"  {bake:17}{kind:10}{row['private_mb']:9.2f}{row['pagetables_mb']:8.2f}"
                f"{row['zygote_rss_mb']:8.1f}{row['modules']:9}{row['seconds']:7.1f} s"
            )


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--floor", default="decnet.floor", help="module[:function]; default warm")
    parser.add_argument("--rounds", type=int, default=3, help="of work (default 3)")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    bakes = {}
    for bake in BAKES:
        print(f"refork.py: {given.floor}, {bake} …", file=sys.stderr)
        bakes[bake] = asyncio.run(measure(given.floor, given.rounds, bake == BAKES[1]))
    found = {"bakes": bakes, "floor": given.floor, "rounds": given.rounds, **about()}
    if given.json:
        print(json.dumps(found))
    else:
        show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
