"""The table that `ps` and `top` show: one row a process, and the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zygote.cli import layouts, render
from zygote.cli.context import current
from zygote.cli.render import STATES, Column
from zygote.cli.text import clean
from zygote.client.memory import Census, Row, sum_up
from zygote.control.interface import WorkerState

NOTE = "memory in MB; what each figure means: help memory"


@dataclass(frozen=True, slots=True)
class Line:
    """One row.

    Attributes:
        kind: worker, zygote, blanks (all of a zygote's), manager or total.
        percent: of one CPU, since the last look; None: not known.
        history: private memory at the last looks, KiB, the newest last.
        zygote: what it is a copy of: a worker's zygote, a branch's parent.
        outdated: it is older than the code on disk.
    """

    kind: str
    name: str
    state: str
    row: Row
    worker: WorkerState | None = None
    generation: int = 0
    percent: float | None = None
    zygote: str = ""
    outdated: bool = False
    history: tuple[int, ...] = ()


def note(census: Census) -> str:
    """What stands below the table."""
    count = sum(row.estimated for row in census.rows())
    text = f"{NOTE}; ~: estimated, of {count} processes (ps --exact)" if count else NOTE
    old = [zygote.outdated for zygote, _ in census.zygotes if zygote.outdated]
    old += [worker.outdated for worker, _ in census.workers if worker.outdated]
    if old:
        text = f"*: older than {clean(old[0])} ({current.program} reload)\n{text}"
    return text


def lines_of(census: Census, percents: Mapping[int, float] | None = None) -> list[Line]:
    """Workers in start order, then zygotes, each with its blanks, the manager, and the total."""
    share = percents or {}
    manager, row = census.manager
    found = [
        Line(
            *("worker", w.name, w.state, r, w, w.generation, share.get(w.pid or 0), w.zygote),
            outdated=bool(w.outdated),
        )
        for w, r in census.workers
    ]
    for z, r in census.zygotes:
        line = Line(
            *("zygote", f"zygote.{z.name}", z.state, r, None, z.generation),
            percent=share.get(z.pid or 0),
            zygote=z.parent,
            outdated=bool(z.outdated),
        )
        found.append(line)
        if z.blanks:
            rows = census.blanks.get(z.name, ())
            state = f"{len(z.blank_pids)} of {z.blanks}"
            found.append(Line("blanks", "  its blanks", state, _summed(rows), zygote=z.name))
    state = "stopping" if manager.stopping else "ready"
    found.append(Line("manager", "manager", state, row, None, 0, share.get(manager.pid)))
    found.append(Line("total", "total", "", _summed(list(census.rows())),
                      percent=sum(share.values()) if share else None))  # fmt: skip
    return found


def _summed(rows: Sequence[Row]) -> Row:
    sums = sum_up(rows)
    return Row(
        None,
        pss_kib=_int(sums["pss_kib"]),
        uss_kib=_int(sums["uss_kib"]),
        private_dirty_kib=_int(sums["private_dirty_kib"]),
        pagetables_kib=_int(sums["pagetables_kib"]),
        cpu_s=sums["cpu_s"],
        estimated=bool(sums["estimated"]),
    )


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)


def _ready(line: Line) -> str:
    """After how long it was ready; `yes` where that is not known, `no` for one that is not."""
    worker = line.worker
    if worker is None or worker.pid is None:
        return ""
    if not worker.ready:
        return "no"
    return render.milliseconds(worker.ready_ms) or "yes"


def _of_worker(name: str) -> Any:
    def cell(line: Line) -> str:
        value = getattr(line.worker, name) if line.worker else None
        return "" if value is None else clean(str(value))

    return cell


def _end(line: Line) -> str:
    if line.worker is None:
        return ""
    detail = line.worker.last_end_detail
    return f"{line.worker.last_end} ({detail})" if detail else line.worker.last_end


def _memory(name: str) -> Any:
    return lambda line: render.megabytes(getattr(line.row, name))


def _walked(name: str) -> Any:
    """A figure that may be estimated."""

    def cell(line: Line) -> str:
        text = render.megabytes(getattr(line.row, name))
        return f"~{text}" if text and line.row.estimated else text

    return cell


def _whole(line: Line) -> str:
    return {"total": "bold", "manager": "dim", "zygote": "dim", "blanks": "dim"}.get(line.kind, "")


NAME = Column("NAME", lambda line: clean(line.name), style=_whole)
STATE = Column("STATE", lambda line: line.state, style=lambda line: STATES.get(line.state, ""))
READY = Column("READY", _ready, right=True, drop=6)
PID = Column("PID", lambda line: str(line.row.pid or ""), right=True)
AGE = Column("AGE", lambda line: render.age(line.row.age_s), right=True, drop=3)
RESTARTS = Column("RESTARTS", _of_worker("restarts"), right=True, drop=7)
MEMORY = (
    Column("RSS", _memory("rss_kib"), right=True, drop=2, plain="RSS_MB"),
    Column("PSS", _walked("pss_kib"), right=True, plain="PSS_MB"),
    Column("USS", _walked("uss_kib"), right=True, plain="USS_MB"),
    Column("DIRTY", _walked("private_dirty_kib"), right=True, drop=1, plain="DIRTY_MB"),
    Column("PTAB", _memory("pagetables_kib"), right=True, drop=4, plain="PTAB_MB"),
)
CPU = Column("CPU", lambda line: render.cpu(line.row.cpu_s), right=True, drop=5)
PERCENT = Column(
    "CPU%", lambda line: "" if line.percent is None else f"{line.percent:.1f}", right=True
)
LIMIT = Column(
    "LIMIT", lambda line: render.limit(line.worker.memory_max) if line.worker else "",
    right=True, drop=8,
)  # fmt: skip
ZYGOTE = Column("ZYGOTE", lambda line: clean(line.zygote), drop=9)
RECYCLES = Column("RECYCLES", _of_worker("recycles"), right=True, drop=11)
GENERATION = Column(
    "GEN", lambda line: f"{line.generation or ''}{'*' * line.outdated}", right=True, drop=10,
    style=lambda line: "yellow" if line.outdated else "",
)  # fmt: skip

PS = (NAME, STATE, READY, PID, AGE, RESTARTS, *MEMORY, CPU, LIMIT, ZYGOTE, GENERATION, RECYCLES)
HISTORY_LENGTH = 12
"""Looks that `top` remembers."""
_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
_LEAST_KIB = 1024
"""Less than this up and down is no more than a ripple."""


def spark(history: tuple[int, ...], bars: str = _BARS) -> str:
    """A line of bars: from the least that was seen, to the most, or to a MB above it."""
    if not history:
        return ""
    low = min(history)
    span = max(max(history) - low, _LEAST_KIB)
    return "".join(bars[min(len(bars) - 1, (kib - low) * len(bars) // (span + 1))]
                   for kib in history)  # fmt: skip


def _history(bars: str) -> Column:
    return Column("HISTORY", lambda line: spark(line.history, bars), style=lambda _: "cyan")


TOP = (NAME, STATE, PID, AGE, RESTARTS, *MEMORY, PERCENT, CPU, LIMIT, ZYGOTE, GENERATION)
"""In a pipe; on a terminal `fit_for_top`."""


_LAST = {"HISTORY": 3, "PSS": 2, "CPU%": 1}
"""What goes last on a narrow terminal."""


def fit_for_top(encoding: str) -> tuple[Column, ...]:
    """The columns of `top` on a terminal: with each worker's history behind its private memory."""
    bars = _BARS if encoding.lower().startswith("utf") else _PLAIN_BARS
    found = []
    for column in TOP:
        found.append(replace(column, drop=_LAST.get(column.title, column.drop and column.drop + 3)))
        if column.title == "USS":
            found.append(replace(_history(bars), drop=_LAST["HISTORY"]))
    return tuple(found)


WIDE = (
    *PS,
    Column("PPID", lambda line: str(line.row.ppid or ""), right=True),
    Column("THREADS", lambda line: str(line.row.threads or ""), right=True),
    Column(
        "SPAWN",
        lambda line: render.milliseconds(line.worker.spawn_ms) if line.worker else "",
        right=True,
    ),
    Column("LAYOUT", lambda line: layouts.cell(line.worker)),
    Column("LAST_END", _end),
    Column("STATUS", _of_worker("status")),
)


def as_json(census: Census) -> dict[str, Any]:
    """The object of `ps --json`; keys are stable, memory in KiB, the limit in bytes."""
    manager, row = census.manager
    return {
        "workers": [_worker_json(worker, each) for worker, each in census.workers],
        "manager": {
            "name": "manager",
            "fleet": manager.fleet,
            "runtime_dir": manager.runtime_dir,
            **_figures(row),
        },
        "zygotes": [
            {
                "name": z.name,
                "state": z.state,
                "generation": z.generation,
                "parent": z.parent,
                "blanks": {"wanted": z.blanks, **sum_up(census.blanks.get(z.name, ()))},
                "outdated": z.outdated,
                **_figures(each),
            }
            for z, each in census.zygotes
        ],
        "layouts": layouts.twins(worker for worker, _ in census.workers),
        "totals": census.totals(),
    }


def _worker_json(worker: WorkerState, row: Row) -> dict[str, Any]:
    return {
        "name": worker.name,
        "state": worker.state,
        "ready": worker.ready,
        "restarts": worker.restarts,
        "recycles": worker.recycles,
        "max_private": worker.max_private,
        "limit": worker.memory_max,
        "limits_enforced": worker.limits_enforced,
        "zygote": worker.zygote,
        "isolation": worker.isolation,
        "layout": worker.layout,
        "generation": worker.generation,
        "outdated": worker.outdated,
        "spawn_ms": worker.spawn_ms,
        "origin": worker.origin,
        "ready_ms": worker.ready_ms,
        "status": worker.status,
        "last_end": worker.last_end,
        "last_end_detail": worker.last_end_detail,
        "throttled": worker.throttled,
        "error": worker.error,
        **_figures(row),
        "pid": worker.pid,
    }


def _figures(row: Row) -> dict[str, Any]:
    names = ("pid", "ppid", "age_s", "rss_kib", "pss_kib", "uss_kib", "private_dirty_kib",
             "pagetables_kib", "cpu_s", "threads", "denied", "estimated")  # fmt: skip
    return {name: getattr(row, name) for name in names}
