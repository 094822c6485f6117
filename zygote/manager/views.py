"""What others are told of workers and zygotes: for `ps` and `status`, and what came of a verb."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from zygote.control.interface import Result, WorkerState, ZygoteState
from zygote.fleet.model import WorkerSpec
from zygote.manager import findings
from zygote.manager.unit import State

if TYPE_CHECKING:
    from zygote.manager.slot import Slot
    from zygote.manager.worker import Worker


def view(worker: Worker) -> WorkerState:
    """A worker, for `ps` and `status`."""
    unit, spec, leaf = worker.unit, worker.unit.spec, worker.leaf
    blocked = worker.needs.blocked
    return WorkerState(
        name=spec.name,
        state=str(unit.state),
        pid=worker.child.pid if worker.child else None,
        ready=unit.state is State.READY,
        status=unit.status,
        since=unit.since,
        started_at=unit.started_at,
        restarts=unit.restarts,
        recycles=unit.recycles,
        zygote=spec.zygote if spec.is_copy else "",
        isolation=spec.isolation,
        layout=worker.layout if worker.child else "",
        generation=worker.generation,
        spawn_ms=unit.spawn_ms,
        fork_ms=None if unit.spawn_ms is None else worker.fork_ms,
        origin=worker.origin if worker.child else "",
        ready_ms=unit.ready_ms,
        memory_max=spec.memory_max,
        memory_high=spec.memory_high,
        throttled=leaf.throttled() if leaf and spec.memory_high else 0,
        peak=worker.peak,
        priority=spec.priority,
        max_private=spec.max_private,
        private=worker.budget.private if spec.max_private and worker.child else None,
        limits_enforced=leaf is not None and not leaf.unenforced,
        walls=list(worker.standing.walls) if worker.child else [],
        gaps=list(worker.standing.gaps) if worker.child else [],
        cgroup=str(leaf.path) if leaf else "",
        log=worker.log,
        adopted=unit.adopted,
        autostart=spec.autostart,
        last_end=str(unit.last_end or ""),
        last_end_detail=unit.last_end.detail if unit.last_end else "",
        last_end_at=unit.last_end_at,
        next_start_at=unit.next_start_at,
        error=blocked.message if blocked else unit.error or worker.shed_for,
        hint=blocked.hint if blocked else unit.hint,
        place=spec.place,
        outdated=str(worker.outdated or "") if worker.child else "",
    )


def view_zygote(slot: Slot, workers: Iterable[WorkerSpec], env: Mapping[str, str]) -> ZygoteState:
    """A zygote, for `status`.

    Args:
        workers: those that are copies of it.
        env: what it inherits.
    """
    zygote, following = slot.current, slot.following
    report = zygote.report if zygote else {}
    word = "baking"
    if zygote and zygote.ready:
        word = "ready"
    elif slot.error:
        word = "failed"
    elif zygote and zygote.baked.done():
        word = "dead"
    reason = report.get("spawn_path_reason")
    path = str(report.get("spawn_path", "")) + (f" ({reason})" if reason else "")
    seconds = report.get("seconds")
    return ZygoteState(
        name=slot.spec.name,
        state=word,
        pid=zygote.pid if zygote and not zygote.gone else None,
        generation=zygote.generation if zygote else 0,
        parent=slot.spec.parent,
        python=str(report.get("python", "")),
        spawn_path=path,
        **(zygote.blanks.view() if zygote else {}),
        bake_seconds=None if seconds is None else float(seconds),
        modules=int(report.get("modules", 0)),
        stages=zygote.stage_lines() if zygote else [],
        findings=findings.lines(slot.spec, report, workers, env),
        outdated=str(slot.outdated or ""),
        next_pid=following.pid or None if following else None,
        next_generation=following.generation if following else 0,
        next_state=("ready" if following.ready else "baking") if following else "",
        log=slot.log,
        error=slot.error.message if slot.error else "",
        hint=slot.error.hint if slot.error else "",
    )


def result_of(worker: Worker, ok: bool, error: str = "", hint: str = "", code: str = "") -> Result:
    """What came of a verb. Without `error`, a failure is explained by the unit's own."""
    unit = worker.unit
    if ok:
        return Result(worker.name, True, unit.pid, str(unit.state), unit.spawn_ms)
    own = not error
    return Result(
        worker.name,
        False,
        unit.pid,
        str(unit.state),
        error=unit.error if own else error,
        hint=unit.hint if own else hint,
        code=unit.code if own else code,
        step=unit.step if own else "",
        errno=unit.errno if own else 0,
    )
