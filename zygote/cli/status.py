"""`zygotectl status`: how the manager, or a worker, is."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from zygote.cli import journal, layouts, render
from zygote.cli.context import current
from zygote.cli.options import Json, Names
from zygote.cli.render import STATES
from zygote.cli.report import own_words
from zygote.client.api import Client
from zygote.client.memory import Census, Row, sum_up, take_census
from zygote.control.interface import ManagerState, WorkerState, ZygoteState
from zygote.errors import Exit
from zygote.sys.logfile import read_tail
from zygote.units import format_seconds, spell_bytes

LOG_LINES = 10
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


def show_worker(worker: WorkerState, row: Row, every: list[WorkerState]) -> None:
    """One worker, with its last words; `every` is all of the fleet."""
    since = f" for {ago(worker.since)}" if worker.since else ""
    render.heading(f"{worker.name} {worker.state}{since}", STATES.get(worker.state, "bold"))
    render.lines([
        ("status", worker.status, ""),
        ("error", told(worker), "red"),
        ("pid", process(worker, row), ""),
        ("started", started(worker), ""),
        ("restarts", str(worker.restarts), ""),
        ("recycles", recycles(worker), ""),
        ("last end", ended(worker), ""),
        ("next start", in_future(worker.next_start_at), "yellow"),
        ("zygote", zygote_of(worker), ""),
        ("outdated", outdated(worker), "yellow"),
        ("layout", layouts.of_worker(worker, every), ""),
        ("limit", limit(worker), "" if worker.limits_enforced else "yellow"),
        ("held up", held_up(worker), "yellow"),
        ("budget", budget(worker, row), ""),
        ("memory", memory(row), ""),
        ("cpu", render.cpu(row.cpu_s), ""),
        ("walls", ", ".join(worker.walls), ""),
        ("no wall", "\n".join(worker.gaps), "yellow"),
        ("cgroup", worker.cgroup, ""),
        ("log", worker.log, ""),
        ("defined", worker.place, ""),
        ("last words", "\n".join(last_words(worker)), "dim"),
    ])  # fmt: skip


def told(worker: WorkerState) -> str:
    """What is wrong with a worker; of one that is well again, its last end tells."""
    return "" if worker.ready else with_hint(worker.error, worker.hint)


def with_hint(error: str, hint: str) -> str:
    """The error and, on a line below, the way out."""
    return f"{error}\nhint: {own_words(hint)}" if error and hint else error


def count(workers: list[WorkerState]) -> str:
    """`7: 5 ready, 1 failed, 1 inactive`."""
    states: dict[str, int] = {}
    for worker in workers:
        states[worker.state] = states.get(worker.state, 0) + 1
    order = sorted(states, key=list(STATES).index)
    parts = ", ".join(f"{states[state]} {state}" for state in order)
    return f"{len(workers)}: {parts}" if workers else "none"


def spawn_paths(census: Census) -> str:
    """How workers are forked, and why if not by clone3."""
    return ", ".join(dict.fromkeys(z.spawn_path for z, _ in census.zygotes if z.spawn_path))


def memory(row: Row) -> str:
    """`RSS 41.2 MB, PSS 6.1, USS 0.9, private dirty 0.8, page tables 0.2`."""
    if row.rss_kib is None:
        return ""
    parts = [f"RSS {render.megabytes(row.rss_kib)} MB"]
    for name, kib in (
        ("PSS", row.pss_kib),
        ("USS", row.uss_kib),
        ("private dirty", row.private_dirty_kib),
        ("page tables", row.pagetables_kib),
    ):
        if kib is not None:
            parts.append(f"{name} {render.megabytes(kib)}")
    if row.denied:
        parts.append("the rest may not be read: it is another user's process")
    return ", ".join(parts)


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


def process(worker: WorkerState, row: Row) -> str:
    """Pid, parent, threads."""
    if worker.pid is None:
        return ""
    parent = f", child of {row.ppid}" if row.ppid is not None else ""
    threads = f", {row.threads} threads" if row.threads and row.threads > 1 else ""
    adopted = ", adopted from an earlier manager" if worker.adopted else ""
    return f"{worker.pid}{parent}{threads}{adopted}"


def started(worker: WorkerState) -> str:
    """When, and how long it took."""
    if worker.started_at is None or worker.pid is None:
        return ""
    parts = [f"{clock(worker.started_at)}, {ago(worker.started_at)} ago"]
    if worker.spawn_ms is not None:
        named = {"": "", "blank": " from a blank", "clone": ""}
        of = named.get(worker.origin, f" ({worker.origin})")
        parts.append(f"spawned in {render.milliseconds(worker.spawn_ms)}{of}")
    if worker.ready_ms is not None:
        parts.append(f"ready after {render.milliseconds(worker.ready_ms)}")
    return ", ".join(parts)


def ended(worker: WorkerState) -> str:
    """How its last process ended, and when."""
    when = f", {ago(worker.last_end_at)} ago" if worker.last_end_at else ""
    why = f" ({worker.last_end_detail})" if worker.last_end_detail else ""
    return f"{worker.last_end}{why}{when}" if worker.last_end else ""


def zygote_of(worker: WorkerState) -> str:
    """`floor, generation 2`."""
    if worker.isolation == "exec":
        return 'none: a process of its own (isolation = "exec")'
    return worker.zygote + (f", generation {worker.generation}" if worker.generation else "")


def outdated(of: WorkerState | ZygoteState) -> str:
    """The file on disk that is newer than what runs."""
    return f"older than {of.outdated}: {current.program} reload" if of.outdated else ""


def limit(worker: WorkerState) -> str:
    """Its memory_max, and whether that is more than a wish."""
    if worker.memory_max is None:
        return ""
    size = spell_bytes(worker.memory_max)
    if worker.pid is None:
        return size
    return f"{size} of private memory" if worker.limits_enforced else f"{size}, not enforced"


def held_up(worker: WorkerState) -> str:
    """`31 times above memory_high (96M)`."""
    if not worker.throttled or worker.memory_high is None:
        return ""
    return f"{worker.throttled} times above memory_high ({spell_bytes(worker.memory_high)})"


def recycles(worker: WorkerState) -> str:
    """How often it was beyond its budget; of one without a budget nothing."""
    return "" if worker.max_private is None and not worker.recycles else str(worker.recycles)


def budget(worker: WorkerState, row: Row) -> str:
    """`24M of private memory, 31 % used`."""
    if worker.max_private is None:
        return ""
    text = f"{spell_bytes(worker.max_private)} of private memory"
    if row.uss_kib is not None:
        text += f", {row.uss_kib * 1024 * 100 / worker.max_private:.0f} % used"
    return text


def last_words(worker: WorkerState) -> list[str]:
    """The end of its log."""
    try:
        if identifier := journal.identifier_of(worker.log):
            return journal.read_tail(identifier, LOG_LINES)
        return read_tail(Path(worker.log), LOG_LINES) if worker.log else []
    except OSError:
        return []


def clock(at: float) -> str:
    """Local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(at: float) -> str:
    """For how long, until now."""
    return format_seconds(max(0.0, time.time() - at))


def in_future(at: float | None) -> str:
    """`in 3.2s`."""
    return f"in {format_seconds(max(0.0, at - time.time()))}" if at else ""


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
