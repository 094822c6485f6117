"""A worker takes over the process that an earlier manager started, or learns that it is gone.

The earlier manager was killed (`adopt`, `adopt_retiring`, `lost`), or was this very process before
it was exec'd anew (`resume`). `record` is in all of them what stood in the state file.
"""

from __future__ import annotations

from typing import Any

from zygote.manager.children import Child
from zygote.manager.parts import Parts
from zygote.manager.recycle import Retiring
from zygote.manager.unit import Do, State
from zygote.manager.walls import Standing
from zygote.manager.worker import Worker


def adopt(
    worker: Worker, parts: Parts, child: Child, started_at: float, record: dict[str, Any]
) -> None:
    """Its process lives."""
    _recall(worker, child, record)
    # One that had been told to end so that another could start is told, and counted, again.
    recycling = bool(record.get("recycling"))
    unit = worker.unit
    ready = unit.spec.type == "simple" or bool(record.get("ready")) or recycling
    unit.adopt(child.pid, started_at, ready=ready, restarts=int(record.get("restarts", 0)))
    unit.recycles = int(record.get("recycles", 0)) - recycling
    worker.budget.adopted(parts.clock.monotonic())
    worker.store.recover(record.get("sockets") or {}, child.pid, child.pidfd)
    worker.fenced(lambda: worker.do(unit.recycle() if recycling else Do.NOTHING))


def adopt_retiring(worker: Worker, retiring: Retiring) -> None:
    """A process that was put aside lives: its successor is ours or will be."""
    worker.retiring = retiring
    worker.follow(retiring.child)
    worker.fenced(worker.succession.end_retiring)


def displace(worker: Worker, child: Child, started_at: float, *, again: bool) -> None:
    """Its process lives, and is to end, because nothing else is known of it.

    Args:
        again: another is to be started after it.
    """
    worker.child, worker.leaf = child, child.leaf
    worker.follow(child)
    worker.fenced(lambda: worker.do(worker.unit.displace(child.pid, started_at, again=again)))


def lost(worker: Worker, parts: Parts, record: dict[str, Any]) -> None:
    """Its process is gone without a trace."""
    parts.state.forget_pid(worker.name)
    worker.needs.automatic = True
    worker.fenced(lambda: worker.do(worker.unit.lost(int(record.get("restarts", 0)))))


def resume(
    worker: Worker, child: Child | None, retiring: Retiring | None, record: dict[str, Any]
) -> None:
    """Go on in the middle of whatever it was; unit and budget are as they were."""
    _recall(worker, child, record)
    worker.retiring = retiring
    if retiring:
        worker.follow(retiring.child)
    starting = worker.unit.state is State.STARTING and child is None
    worker.fenced(lambda: worker.do(Do.SPAWN if starting else Do.NOTHING))


def _recall(worker: Worker, child: Child | None, record: dict[str, Any]) -> None:
    """What a record says of a process that is there, and of what it was made of."""
    worker.child, worker.leaf = child, child.leaf if child else None
    worker.generation = int(record.get("generation", 0))
    worker.layout = str(record.get("layout", ""))
    worker.spawn_id = bytes.fromhex(record["spawn_id"])
    file = record.get("file")
    worker.file = (file[0], file[1], file[2], file[3]) if file else None
    worker.standing = Standing.read(record)
    if child:
        worker.follow(child)
