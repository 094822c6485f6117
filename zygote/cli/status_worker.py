"""`zygotectl status NAME`: everything of one worker."""

from __future__ import annotations

from pathlib import Path

from zygote.cli import journal, layouts, render
from zygote.cli.render import STATES
from zygote.cli.status_words import ago, clock, in_future, memory, outdated, told
from zygote.client.memory import Row
from zygote.control.interface import WorkerState
from zygote.sys.logfile import read_tail
from zygote.units import spell_bytes

LOG_LINES = 10


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
