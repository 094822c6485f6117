"""What of a worker is to outlive the manager, and when it is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from zygote.fleet.model import worker_to_json
from zygote.manager.parts import Parts
from zygote.manager.unit import State

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


class Record:
    """The state file of one worker; see `zygote.manager.state`."""

    def __init__(self, worker: Worker, parts: Parts) -> None:
        self._worker = worker
        self._parts = parts
        self._written: tuple[object, ...] = ()

    def content(self, ready: bool) -> dict[str, Any]:
        """All of it. `ready`: it said so."""
        worker, unit = self._worker, self._worker.unit
        return {
            "worker": worker.name,
            "spawn_id": worker.spawn_id.hex(),
            "wanted": unit.wanted,
            "ready": ready,
            "failed": unit.state is State.FAILED,
            "restarts": unit.restarts,
            "recycles": unit.recycles,
            "recycling": self._recycling,
            "retiring": worker.retiring.record if worker.retiring else None,
            "zygote": unit.spec.zygote,
            "generation": worker.generation,
            "file": worker.file,
            "sockets": worker.store.record,
            "layout": worker.layout,
            "walls": worker.standing.walls,
            "gaps": worker.standing.gaps,
            "spec": worker_to_json(unit.spec),
        }

    def keep(self) -> None:
        """Write it, if what counts of it has changed."""
        worker, unit = self._worker, self._worker.unit
        if unit.state is State.STARTING:
            return  # written right before the spawn is sent
        if unit.state is State.INACTIVE and not self._written and not unit.last_end:
            return
        ready = unit.state is State.READY and unit.spec.type == "notify"
        now = (
            unit.wanted, ready, unit.state is State.FAILED, worker.spawn_id, self._recycling,
            worker.retiring, worker.standing, worker.store.record,
        )  # fmt: skip
        if now != self._written:
            self._written = now
            self.write(ready)

    def write(self, ready: bool) -> OSError | None:
        """Write it; why not (told as well), if it cannot be."""
        return self._parts.state.write(self._worker.name, self.content(ready))

    def open_pid(self) -> int:
        """The blank pid record of a new process; the intention to start it is written.

        Called right before the spawn is sent: first the old record goes, then this.

        Raises:
            OSError: neither can be written, and no trace of it would be left if we died.
        """
        worker, state = self._worker, self._parts.state
        record = state.open_record(worker.name)
        self._written = (
            True, False, False, worker.spawn_id, False, worker.retiring, worker.standing,
            worker.store.record,
        )  # fmt: skip
        error = self.write(False)
        if error and not state.is_known(worker.name):
            os.close(record)
            raise error
        return record

    @property
    def _recycling(self) -> bool:
        unit = self._worker.unit
        return unit.state is State.STOPPING and unit.wanted
