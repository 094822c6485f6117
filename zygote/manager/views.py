"""What others are told of a worker: its state for `ps` and `status`, and what came of a verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zygote.control.interface import Result, WorkerState
from zygote.manager.unit import State

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


def view(worker: Worker) -> WorkerState:
    """For `ps` and `status`."""
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
