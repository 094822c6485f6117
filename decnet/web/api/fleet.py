"""The fleet as the manager, the heartbeats and /proc see it; and what an admin may do with it."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pydantic import BaseModel, Field

from decnet.bus import topics
from decnet.context import Context
from decnet.estate import manager
from decnet.web.api.registry import STALE_SECONDS, Registry
from zygote.client.memory import Row, measure
from zygote.client.shares import estimate_hidden
from zygote.control.interface import WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError


class Memory(BaseModel):
    """Of one process, in KiB; null where the kernel does not tell."""

    private_kib: int | None
    shared_kib: int | None
    pss_kib: int | None
    rss_kib: int | None
    estimated: bool = Field(
        default=False, description="a wall hides it: an even share of what is shared"
    )


class Worker(BaseModel):
    """One worker. `state` is the manager's word; without a manager what the heartbeat allows."""

    name: str
    state: str
    status: str = ""
    pid: int | None = None
    zygote: str = ""
    restarts: int = 0
    since: float | None = None
    started_at: float | None = None
    last_end: str = ""
    error: str = ""
    hint: str = ""
    memory_max: int | None = None
    memory: Memory | None = None
    beat_age_s: float | None = Field(None, description="seconds since the last heartbeat")
    stale: bool = Field(description="no heartbeat for more than 90 s")
    health: dict[str, Any] = Field(default_factory=dict, description="the last heartbeat's fields")


class Zygote(BaseModel):
    """A zygote: what its workers share."""

    name: str
    state: str
    pid: int | None
    generation: int
    modules: int
    bake_seconds: float | None
    error: str
    memory: Memory | None = None


class Fleet(BaseModel):
    """Everything that runs."""

    manager: str = Field(description='"ok", or why it does not answer')
    limits: str = ""
    workers: list[Worker]
    zygotes: list[Zygote] = []
    manager_memory: Memory | None = None


class Unmanaged(Exception):
    """There is nobody to ask; the text says so."""


async def look(registry: Registry) -> Fleet:
    """The whole fleet now."""
    try:
        async with await manager.connect() as client:
            state = await client.status()
            workers, zygotes = await client.workers(), await client.zygotes()
    except ZygoteError as error:
        return Fleet(manager=error.message, workers=_from_beats(registry, set()))
    pids = [p for p in (state.pid, *(w.pid for w in workers), *(z.pid for z in zygotes)) if p]
    rows = await asyncio.to_thread(lambda: {pid: measure(pid) for pid in pids})
    found = estimate_hidden(rows, workers, zygotes)
    memory = {pid: _memory(row) for pid, row in found.items()}
    managed = {topics.bus_name(w.name) for w in workers}
    return Fleet(
        manager="ok",
        limits=state.limits,
        workers=[
            *(_worker(w, memory.get(w.pid or 0), registry) for w in workers),
            *_from_beats(registry, managed),
        ],
        zygotes=[_zygote(z, memory.get(z.pid or 0)) for z in zygotes],
        manager_memory=memory.get(state.pid),
    )


async def command(ctx: Context, name: str, verb: str, by: str) -> str:
    """Start, stop or restart a worker; how it stands after that.

    Without a manager a worker that hears the bus can be asked to stop, and no more.

    Raises:
        Unmanaged: nobody can do it.
        ZygoteError: the manager refused, or the worker did not do as asked.
    """
    try:
        client = await manager.connect()
    except manager.ManagerAway as error:
        if verb == "stop" and ctx.bus.connected:
            order = {"action": "stop", "requested_by": by, "ts": time.time()}
            if ctx.bus.publish(topics.control(name), order):
                return "asked"
        raise Unmanaged(f"{verb}: {error.message}") from error
    async with client:
        if verb == "start":
            results = await client.spawn([name])
        elif verb == "stop":
            results = await client.stop([name])
        else:
            results = await client.restart([name])
    for result in results:
        if not result.ok:
            raise ZygoteError(
                f"{result.name}: {result.error or 'failed'}",
                hint=result.hint,
                exit_code=Exit.NO_SUCH_WORKER if result.code == "no-such-worker" else Exit.FAILED,
            )
    return results[0].state if results else ""


def _worker(worker: WorkerState, memory: Memory | None, registry: Registry) -> Worker:
    beat = registry.get(worker.name)
    if beat is not None and beat.pid != worker.pid:
        beat = None  # its predecessor's
    # The bus echoes nothing to its sender: we do not hear ourselves, and need not.
    is_me = worker.pid == os.getpid()
    running_s = time.time() - worker.started_at if worker.started_at else 0.0
    return Worker(
        name=worker.name,
        state=worker.state,
        status=worker.status,
        pid=worker.pid,
        zygote=worker.zygote,
        restarts=worker.restarts,
        since=worker.since or None,
        started_at=worker.started_at,
        last_end=worker.last_end,
        error=worker.error,
        hint=worker.hint,
        memory_max=worker.memory_max,
        memory=memory,
        beat_age_s=0.0 if is_me else beat.age() if beat else None,
        stale=worker.pid is not None and not is_me and registry.is_stale(beat, running_s),
        health=dict(beat.fields) if beat else {},
    )


def _from_beats(registry: Registry, managed: set[str]) -> list[Worker]:
    """Those that beat and that no manager knows: started alone."""
    found = []
    for name, beat in sorted(registry.beats.items()):
        if name in managed:
            continue
        stale = beat.age() > STALE_SECONDS
        found.append(
            Worker(
                name=name,
                state="silent" if stale else "up",
                pid=beat.pid,
                memory=Memory(
                    private_kib=beat.private_kib or None,
                    shared_kib=None,
                    pss_kib=None,
                    rss_kib=None,
                ),
                beat_age_s=beat.age(),
                stale=stale,
                health=dict(beat.fields),
            )
        )
    return found


def _zygote(zygote: ZygoteState, memory: Memory | None) -> Zygote:
    return Zygote(
        name=zygote.name,
        state=zygote.state,
        pid=zygote.pid,
        generation=zygote.generation,
        modules=zygote.modules,
        bake_seconds=zygote.bake_seconds,
        error=zygote.error,
        memory=memory,
    )


def _memory(row: Row) -> Memory:
    shared = None
    if row.rss_kib is not None and row.uss_kib is not None:
        shared = max(0, row.rss_kib - row.uss_kib)
    return Memory(
        private_kib=row.uss_kib, shared_kib=shared, pss_kib=row.pss_kib, rss_kib=row.rss_kib,
        estimated=row.estimated,
    )  # fmt: skip
