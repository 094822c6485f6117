"""A worker's starts: what is ordered, of which zygote, and what comes of it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec
from zygote.manager import credentials, journal, request, walls
from zygote.manager.alone import Alone
from zygote.manager.faults import is_transient, prepare_error
from zygote.manager.flight import Order
from zygote.manager.freshness import file_of
from zygote.manager.mold import Mold
from zygote.manager.parts import Parts
from zygote.manager.zygote import Zygote

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


class Launch:
    """Starts the processes of one worker, one after the other."""

    def __init__(self, worker: Worker, parts: Parts) -> None:
        self._worker = worker
        self._parts = parts
        self._task: asyncio.Task[None] | None = None

    @property
    def under_way(self) -> bool:
        """A start has begun, and neither come to something nor been given up."""
        return self._task is not None

    def begin(self) -> None:
        """Start one; the worker is told `up` or `no_start`."""
        self._task = self._parts.loop.create_task(self._run(), name=f"spawn {self._worker.name}")

    def cancel(self) -> None:
        """Give up the one under way, if there is one."""
        if self._task:
            self._task.cancel()

    async def _run(self) -> None:
        worker = self._worker
        try:
            try:
                await worker.needs.wait_for_workers()
                spawned = await self._parts.spawner.spawn(self._order(), self._zygote)
            finally:
                self._task = None
                worker.needs.go_on()
        except asyncio.CancelledError:
            limit = worker.unit.spec.start_timeout
            error = ZygoteError(
                f"no sign of life within {limit:g} s (start_timeout)", code="start-timeout"
            )
            worker.no_start(error, transient=True)
        except ZygoteError as error:
            worker.no_start(error, transient=is_transient(error))
        except OSError as error:
            fault = prepare_error(worker.name, error)
            worker.no_start(fault, transient=is_transient(fault))
        except Exception as error:
            worker.broke(error)
        else:
            worker.up(spawned)

    async def _zygote(self) -> Zygote | Alone:
        worker = self._worker
        pinned = worker.passage.zygote if worker.passage else None
        zygote = pinned if pinned and pinned.ready else await worker.needs.wait_for_zygote()
        worker.generation, worker.layout = zygote.generation, zygote.layout
        return zygote

    def _order(self) -> Order:
        """What to start.

        Raises:
            ZygoteError: an identity or a cgroup that cannot be had.
            OSError: a folder, or a descriptor.
        """
        worker, parts = self._worker, self._parts
        spec = worker.unit.spec
        spawn_id = worker.spawn_id = os.urandom(16)
        slot = parts.zygotes.slots.get(spec.zygote)
        worker.file = file_of(spec, slot.spec if slot else None)
        uid, gid, *_ = request.resolve_identity(spec)  # its errors come before anything is made
        walls.make_folders(spec, parts.house.runtime_dir, uid, gid)
        worker.leaf = parts.leaves.leaf("worker", spec.name, spec)
        for refused in worker.leaf.unenforced if worker.leaf else ():
            parts.events.emit("limit-refused", spec.name, detail=refused)
        stdio = self._open_stdio(spec)
        return Order(
            name=spec.name,
            kind="worker",
            spawn_id=spawn_id,
            body=lambda roles: request.worker_body(
                spec, parts.house, spawn_id, roles, journal.stream_name(stdio[1])
            ),
            stdio=stdio,
            open_record=worker.record.open_pid,
            open_sockets=worker.store.open_all,
            open_mold=self._open_mold if spec.refork else None,
            open_credentials=lambda first: credentials.open_all(
                spec, parts.house.runtime_dir, uid, first
            ),
            leaf=worker.leaf,
            sent=worker.sent,
        )

    def _open_stdio(self, spec: WorkerSpec) -> list[int]:
        """/dev/null and, twice, its log; the caller's."""
        opened: list[int] = []
        try:
            opened.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
            opened.append(self._parts.logs.open(spec.name))
            opened.append(os.dup(opened[1]))
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            raise
        return opened

    def _open_mold(self) -> int:
        worker = self._worker
        worker.mold = worker.mold or Mold(self._parts.loop, worker.name)
        return worker.mold.open()
