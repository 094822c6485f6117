"""`zygotectl status`: how the manager, or a worker, is."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from zygote.cli import layouts, render
from zygote.cli.context import current
from zygote.cli.options import Json, Names
from zygote.cli.render import STATES
from zygote.cli.status_words import ago, count, memory, outdated, told, with_hint
from zygote.cli.status_worker import last_words, show_worker
from zygote.client.api import Client
from zygote.client.memory import Census, Row, sum_up, take_census
from zygote.control.interface import ManagerState, WorkerState, ZygoteState
from zygote.errors import Exit
from zygote.units import format_seconds

FINDINGS = 5
_RUNNING = ("ready", "up", "starting", "stopping")


def status(names: Names = [], /, *, as_json: Json = False) -> int:  # noqa: B006
    """Tell how the manager and its zygotes are; of workers named, everything.

    The exit code is 3 if a worker that was named does not run.
    """
    census, every = asyncio.run(_look(names))
    if as_json:
        sys.stdout.write(json.dumps(_as_json(census, bool(names))) + "\n")
    elif names:
        for number, (worker, row) in enumerate(census.workers):
            if number:
                sys.stdout.write("\n")
            show_worker(worker, row, every)
    else:
        show_manager(census)
    down = names and any(worker.state not in _RUNNING for worker, _ in census.workers)
    return Exit.NOT_RUNNING if down else Exit.DONE


async def _look(names: list[str]) -> tuple[Census, list[WorkerState]]:
    """The workers named, measured; and all workers."""
    async with await Client.connect(current.socket()) as manager:
        workers = every = await manager.workers(names or None)
        if names:
            every = await manager.workers()
        return take_census(await manager.status(), await manager.zygotes(), workers), every


def show_manager(census: Census) -> None:
    """The manager, its zygotes, and what is not as wished."""
    manager, row = census.manager
    workers = [worker for worker, _ in census.workers]
    state = "stopping" if manager.stopping else "running"
    render.heading(f"fleet '{manager.fleet}' {state}")
    limits_style = "" if manager.limits.startswith("enforced") else "yellow"
    changed = "the file has changed since it was read: reload" if manager.fleet_changed else ""
    render.lines([
        ("manager", f"pid {manager.pid}, up {ago(manager.started_at)}, Python {manager.python}, "
                    f"version {manager.version}", ""),
        ("file", manager.file, ""),
        ("", changed, "yellow"),
        ("runtime", manager.runtime_dir, ""),
        ("logs", manager.log_dir, ""),
        ("limits", manager.limits, limits_style),
        ("spawn path", spawn_paths(census), ""),
        ("spawns", str(manager.spawns), ""),
        ("workers", count(workers), ""),
        ("layout twins", layouts.lines(workers), ""),
        ("memory", memory(row), ""),
        ("notices", "\n".join(manager.notices), "yellow"),
    ])  # fmt: skip
    for zygote, zygote_row in census.zygotes:
        sys.stdout.write("\n")
        show_zygote(zygote, zygote_row, census.blanks.get(zygote.name, ()))
    amiss = [worker for worker in workers if told(worker)]
    if amiss:
        sys.stdout.write("\n")
        render.heading("not as wished")
        render.lines([(worker.name, told(worker), "red") for worker in amiss])


def show_zygote(zygote: ZygoteState, row: Row, waiting: Sequence[Row] = ()) -> None:
    """One zygote, with its blanks."""
    render.heading(f"zygote '{zygote.name}' {zygote.state}", STATES.get(zygote.state, "bold"))
    baked = ""
    if zygote.bake_seconds is not None:
        took = format_seconds(zygote.bake_seconds)
        baked = f"in {took}, {zygote.modules} modules, generation {zygote.generation}"
    render.lines([
        ("pid", str(zygote.pid or ""), ""),
        ("forked from", zygote.parent, ""),
        ("outdated", outdated(zygote), "yellow"),
        ("baked", baked, ""),
        ("spawn path", zygote.spawn_path, ""),
        ("stages", "\n".join(zygote.stages), "dim"),
        ("audit", "\n".join(shortened(zygote.findings)), "yellow"),
        ("memory", memory(row), ""),
        ("blanks", blanks(zygote, waiting), ""),
        ("", zygote.blank_trouble, "yellow"),
        ("log", zygote.log, ""),
        ("error", with_hint(zygote.error, zygote.hint), "red"),
    ])  # fmt: skip


def shortened(findings: list[str]) -> list[str]:
    """The first few lines; `zygotectl audit` has all of them, each with its remedy."""
    more = len(findings) - FINDINGS
    if more <= 0:
        return findings
    return [*findings[:FINDINGS], f"and {more} more: {current.program} audit tells them all"]


def spawn_paths(census: Census) -> str:
    """How workers are forked, and why if not by clone3."""
    return ", ".join(dict.fromkeys(z.spawn_path for z, _ in census.zygotes if z.spawn_path))


def blanks(zygote: ZygoteState, rows: Sequence[Row]) -> str:
    """`8 of 8 wait, 0.2 MB each (USS 0.1, page tables 0.1); 12 spawns took one, 3 found none`."""
    if not zygote.blanks:
        return ""
    text = f"{len(zygote.blank_pids)} of {zygote.blanks} wait"
    sums = sum_up(rows)
    private, tables = sums["uss_kib"], sums["pagetables_kib"]
    if rows and private is not None and tables is not None:
        whole, own, mapped = (
            render.megabytes(int(kib / len(rows))) for kib in (private + tables, private, tables)
        )
        text += f", {whole} MB each (USS {own}, page tables {mapped})"
    return f"{text}; {zygote.blank_spawns} spawns took one, {zygote.blank_misses} found none"


def _as_json(census: Census, named: bool) -> dict[str, object]:
    workers = []
    for worker, row in census.workers:
        entry: dict[str, object] = {**asdict(worker), "process": asdict(row)}
        if named:
            entry["last_words"] = last_words(worker)
        workers.append(entry)
    manager: tuple[ManagerState, Row] = census.manager
    return {
        "manager": {**asdict(manager[0]), "process": asdict(manager[1])},
        "zygotes": [
            {
                **asdict(z),
                "process": asdict(row),
                "blank_memory": sum_up(census.blanks.get(z.name, ())),
            }
            for z, row in census.zygotes
        ],
        "workers": workers,
    }
