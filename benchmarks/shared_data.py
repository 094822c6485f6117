"""What baking data into a zygote saves a worker: private memory of a fork that uses it.

    .venv/bin/python benchmarks/shared_data.py [--json] [--ranges 500000] [--lookups 10000]

For each data set, one parent imports the same modules, collects and freezes, and forks a child
for each way to get at the data. The child does the same look-ups in every one of them and then
tells its own private memory (USS of /proc/self/smaps_rollup) in KiB, beyond that of a child that
has no data at all and does the same look-ups' parsing:

    baked    the parent had the data before the fork
    mapped   the child maps the compiled file, which another process has mapped as well
    loaded   the child reads the compiled file into its own memory
    lists    the child builds parallel Python lists of the ranges, the plain way

The geo table is synthetic: as many ranges as a full routing table has, 70,000 systems. The rule
set is the package's own; it has no compiled form, so "loaded" reads and compiles the rules.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import ipaddress
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from decnet.geo.table import Sources, Table, compile_table
from decnet.geo.where import map_table
from zygote.sys.procfs import read_memory

SYSTEMS = 70_000
Use = Callable[[], Any]


def synthetic(ranges: int) -> Sources:
    """So many networks, one in five IPv6, each announced by one of `SYSTEMS`."""
    chance, sources = random.Random(1), Sources()
    names = [f"EXAMPLE-{n} Example Network Number {n}" for n in range(SYSTEMS)]
    v4, v6 = ranges - ranges // 5, ranges // 5
    for start in chance.sample(range(1 << 22), v4):
        first, number = start << 10, chance.randrange(SYSTEMS)
        sources.systems[4].append((first, first + 1023, number + 1, names[number]))
        if start % 2:
            sources.countries[4].append((first, first + 1023, chance.choice(("DE", "FR", "JP"))))
    for start in chance.sample(range(1 << 28), v6):
        first, number = (0x20000000 + start) << 96, chance.randrange(SYSTEMS)
        sources.systems[6].append((first, first + (1 << 96) - 1, number + 1, names[number]))
    return sources


def addresses(count: int) -> list[str]:
    """The same in every child."""
    chance = random.Random(2)
    found = []
    for _ in range(count):
        if chance.random() < 0.8:
            found.append(str(ipaddress.IPv4Address(chance.randrange(1 << 32))))
        else:
            number = (0x20000000 + chance.randrange(1 << 28)) << 96 | 1
            found.append(str(ipaddress.IPv6Address(number)))
    return found


def in_child(use: Use) -> dict[str, float]:
    """Run it in a fork: its private KiB at the end, and how long it took."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            gc.enable()
            started = time.perf_counter()
            kept = use()
            seconds = time.perf_counter() - started
            memory = read_memory(os.getpid())
            assert memory is not None
            told = {"uss_kib": memory.uss_kib, "seconds": round(seconds, 4)}
            os.write(writing, json.dumps(told).encode())
            del kept
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return dict(told)


def settle() -> None:
    """What a zygote does before it forks."""
    gc.disable()
    gc.collect()
    gc.freeze()


def in_order(uses: dict[str, Use], base: Use, rounds: int) -> dict[str, Any]:
    """The median of some rounds, beyond the base."""
    settle()
    in_child(base)
    nothing = sorted(in_child(base)["uss_kib"] for _ in range(rounds))[rounds // 2]
    rows: dict[str, Any] = {"base_kib": nothing}
    for name, use in uses.items():
        found = sorted((in_child(use) for _ in range(rounds)), key=lambda t: t["uss_kib"])
        middle = found[rounds // 2]
        rows[f"{name}_kib"] = middle["uss_kib"] - nothing
        rows[f"{name}_seconds"] = middle["seconds"]
    return rows


def lists_of(sources: Sources) -> Any:
    """The plain way: one Python object a number, one list a column."""
    rows = sorted(sources.systems[4])
    other = sorted(sources.systems[6])
    kept = []
    for some in (rows, other):
        # Text to number to object, as from a file: nothing may be shared with the parent.
        kept.append(
            (
                [int(str(first)) for first, _, _, _ in some],
                [int(str(last)) for _, last, _, _ in some],
                [int(str(number)) for _, _, number, _ in some],
                [(name + " ")[:-1] for _, _, _, name in some],
            )
        )
    return kept


def measure_geo(ranges: int, lookups: int, rounds: int, folder: Path) -> dict[str, Any]:
    """The table of countries and systems."""
    sources = synthetic(ranges)
    file = folder / "geo.table"
    file.write_bytes(compile_table(sources, 0.0))
    asked = addresses(lookups)
    baked = Table(file.read_bytes())
    neighbour = map_table(file)

    def look(table: Table) -> Table:
        for address in asked:
            table.find(address)
        return table

    def parse() -> None:
        for address in asked:
            ipaddress.ip_address(address)

    look(neighbour)
    rows = in_order(
        {
            "baked": lambda: look(baked),
            "mapped": lambda: look(map_table(file)),
            "loaded": lambda: look(Table(file.read_bytes())),
            "lists": lambda: lists_of(sources),
        },
        parse,
        rounds,
    )
    return {"ranges": ranges, "lookups": lookups, "table_kib": baked.bytes >> 10, **rows}


def measure_rules(rounds: int) -> dict[str, Any] | None:
    """The rule set of ttp; None where it is not there."""
    try:
        catalogue = importlib.import_module("decnet.ttp.catalogue")
        shared = catalogue.load_package()
    except (ImportError, AttributeError) as error:
        print(f"shared_data.py: no rule set: {error}", file=sys.stderr)
        return None

    def walk(rules: Any) -> Any:
        return [repr(rule)[:1] for rule in getattr(rules, "rules", ())] and rules

    return in_order(
        {"baked": lambda: walk(shared), "loaded": lambda: walk(catalogue.load_package())},
        lambda: None,
        rounds,
    )


def report(found: dict[str, Any]) -> None:
    """For people."""
    for name, row in found.items():
        if row is None:
            continue
        sizes = {k.removesuffix("_kib"): v for k, v in row.items() if k.endswith("_kib")}
        print(f"{name}:  " + "  ".join(f"{k} {v:,} KiB" for k, v in sizes.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ranges", type=int, default=500_000)
    parser.add_argument("--lookups", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    # The small set first: the large one leaves a heap that every later fork would inherit.
    found: dict[str, Any] = {"ttp_rules": measure_rules(options.rounds)}
    with tempfile.TemporaryDirectory() as folder:
        found["geo"] = measure_geo(options.ranges, options.lookups, options.rounds, Path(folder))
    print(json.dumps(found)) if options.json else report(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
