"""Private memory of each worker over time, under steady load: does what is shared stay shared?

    .venv/bin/python benchmarks/drift.py [--minutes 60] [--every 30s] [--rate 4] [--json]
    .venv/bin/python benchmarks/drift.py --from benchmarks/results/drift.csv

Starts decnet's fleet on free ports and a scratch state folder, lets the scripted crowd of
decnet.load visit it without a pause, and looks at every worker each 30 seconds. A line of the CSV:

    time        seconds since all workers were ready
    worker, pid
    uss, pss, private_dirty, page_tables       bytes, as /proc has them
    unshared    of the USS, pages that the worker's zygote has as well: copied from the floor
    fresh       of the USS, pages that it has beyond the floor: what the worker itself stores
    file        of the USS, clean pages of files; see benchmarks/support/unshared.py for the three
    restarts    automatic ones; recycles are not among them

Each line is written at once, so a run that is cut short leaves all it saw; --from makes figures and
picture of such a file. Printed is what each worker gained from minute one (the first look at or
after 60 s, or the second look of a shorter run) to the last look: of the USS as a whole, and of
`unshared` alone, which leaves out what the worker itself stores. A worker whose pid changed is
measured from the minute after that. Held constant: interpreter, compiled bytecode, rate. Not
constant: the database grows, as it does in life. Exit code 1 where a worker's `unshared` gained
more than 1 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import func, select

from benchmarks.support import curves, options
from benchmarks.support.about import about
from benchmarks.support.looks import Look, Table, look, read_table
from decnet.db.engine import Database
from decnet.db.tables import Log
from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import Manager, running
from decnet.run.prepare import prepare
from decnet.settings import Settings
from zygote.errors import ZygoteError
from zygote.fleet import where
from zygote.units import parse_seconds

RESULTS = Path(__file__).resolve().parent / "results"
SETTLED_SECONDS = 60.0
GOAL = 1_000_000
"""Bytes of `unshared` that a worker may gain."""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"drift.py: {line}", file=sys.stderr, flush=True)


@contextlib.asynccontextmanager
async def crowd(rate: float) -> AsyncIterator[None]:
    """decnet.load, in a process of its own, for as long as this lasts."""
    words = ("-m", "decnet.load", "--rate", str(rate), "--seed", "7")
    load = await asyncio.create_subprocess_exec(sys.executable, *words)
    try:
        yield
        if load.returncode is not None:
            say(f"the crowd ended before the time: exit code {load.returncode}")
    finally:
        if load.returncode is None:
            load.terminate()
        await load.wait()


async def watch(manager: Manager, given: argparse.Namespace, table: Table) -> list[Look]:
    """Look, until the time is over, somebody interrupts, or the manager is gone."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    client = await manager.client()
    looks: list[Look] = []
    began = time.monotonic()
    end = given.minutes * 60
    due = 0.0
    while not stopped.is_set():
        if manager.process.returncode is not None:
            say("the manager ended: what was seen so far is kept")
            break
        try:
            workers, zygotes = await client.workers(), await client.zygotes()
        except (ZygoteError, OSError) as error:
            say(f"the manager does not answer: {error}")
            break
        at = time.monotonic() - began
        new = await asyncio.to_thread(look, at, workers, zygotes)
        table.add(new)
        looks += new
        private = sum(each.uss for each in new) / 1e6
        say(f"minute {at / 60:.1f} of {given.minutes:g}: {len(new)} workers, {private:.1f} MB")
        if at >= end:
            break
        due = min(due + given.every, end)
        with contextlib.suppress(TimeoutError):
            wait = max(0.1, due - (time.monotonic() - began))
            await asyncio.wait_for(stopped.wait(), wait)
    return looks


async def run(given: argparse.Namespace, table: Table) -> tuple[list[Look], int]:
    """The whole of it; the looks, and how many log rows the crowd made."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    log = settings.state_dir / "manager.log"
    runtime_dir = where.runtime_dir(str(FLEET), None)
    told: set[str] = set()

    def progress(line: str) -> None:
        if line not in told:
            told.add(line)
            say(line)

    async with running(FLEET, runtime_dir, dict(os.environ), log, progress) as manager:
        await all_ready(manager, asyncio.Event(), progress)
        async with crowd(given.rate):
            looks = await watch(manager, given, table)
        database = Database(settings.db_url)
        await database.open()
        try:
            async with database.session() as session:
                rows = (await session.execute(select(func.count()).select_from(Log))).scalar_one()
        finally:
            await database.close()
    return looks, rows


def drift(looks: list[Look]) -> list[dict[str, Any]]:
    """For each worker, what it gained from minute one to the last look."""
    by_worker: dict[str, list[Look]] = {}
    for each in looks:
        by_worker.setdefault(each.worker, []).append(each)
    rows = []
    for name, own in by_worker.items():
        last = own[-1]
        life = [each for each in own if each.pid == last.pid]
        born = life[0].time
        settled = [each for each in life[:-1] if each.time >= born + SETTLED_SECONDS]
        first = settled[0] if settled else life[min(1, len(life) - 1)]
        known = first.unshared >= 0 and last.unshared >= 0
        rows.append({
            "worker": name,
            "from_s": first.time,
            "to_s": last.time,
            "processes": len({each.pid for each in own}),
            "restarts": last.restarts,
            "uss": last.uss,
            "uss_gained": last.uss - first.uss,
            "unshared": last.unshared,
            "unshared_gained": last.unshared - first.unshared if known else None,
            "fresh": last.fresh,
            "fresh_gained": last.fresh - first.fresh if known else None,
            "page_tables": last.page_tables,
        })  # fmt: skip
    return rows


def picture(looks: list[Look], file: Path) -> None:
    """USS on the left, the part of it that was copied from the floor on the right."""
    whole, copied = curves.Lines(), curves.Lines()
    for each in sorted(looks, key=lambda each: each.time):
        whole.setdefault(each.worker, []).append((each.time / 60, each.uss / 1e6))
        if each.unshared >= 0:
            copied.setdefault(each.worker, []).append((each.time / 60, each.unshared / 1e6))
    panels = [("private memory (USS), MB", whole), ("of that, copied from the floor, MB", copied)]
    curves.draw(file, panels, x="minutes", title="Private memory of each worker under steady load")


def show(rows: list[dict[str, Any]]) -> None:
    """The table, for people."""
    widths = (8, 9, 10, 9, 8, 9)
    titles = ("USS", "gained", "unshared", "gained", "fresh", "gained")
    head = "".join(f"{title:>{width}}" for title, width in zip(titles, widths, strict=True))
    print(f"  {'MB':22}{head}")
    for row in rows:
        cells = [row["uss"], row["uss_gained"], row["unshared"], row["unshared_gained"],
                 row["fresh"], row["fresh_gained"]]  # fmt: skip
        text = "".join(
            f"{'-' if cell is None else f'{cell / 1e6:.2f}':>{width}}"
            for cell, width in zip(cells, widths, strict=True)
        )
        again = f"  {row['processes']} processes" if row["processes"] > 1 else ""
        print(f"  {row['worker']:22}{text}{again}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = options.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default 60)")
    parser.add_argument("--every", default="30s", help="between two looks (default 30s)")
    parser.add_argument("--rate", type=float, default=4.0, help="deeds a second, on average")
    parser.add_argument("--csv", type=Path, default=RESULTS / "drift.csv", help="where to write")
    parser.add_argument("--png", type=Path, help="the picture (default: beside the CSV)")
    parser.add_argument("--from", dest="old", type=Path, help="a CSV to make the figures of")
    given = parser.parse_args()
    try:
        given.every = parse_seconds(given.every)
    except ZygoteError as error:
        parser.error(f"--every: {error.message}")
    return given


def main() -> int:
    given = parse()
    rows_stored = None
    if given.old:
        looks, file = read_table(given.old), given.old
    else:
        file = given.csv
        table = Table(file)
        try:
            with surroundings(scratch=True) as env:
                os.environ.update(env)
                looks, rows_stored = asyncio.run(run(given, table))
        finally:
            table.close()
    if not looks:
        say(f"nothing was seen; {file} is empty")
        return 1
    png = given.png or file.with_suffix(".png")
    picture(looks, png)
    say(f"{len(looks)} looks in {file}, the picture in {png}")
    rows = drift(looks)
    if given.json:
        minutes = round(max(each.time for each in looks) / 60, 1)
        print(json.dumps({**about(), "minutes": minutes, "rows": rows_stored, "workers": rows}))
    else:
        show(rows)
    return 1 if any((row["unshared_gained"] or 0) > GOAL for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
