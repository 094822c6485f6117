"""What a worker says on the notify socket, and what follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zygote.manager.children import Child
from zygote.manager.notify import microseconds
from zygote.manager.parts import Parts
from zygote.manager.unit import State

if TYPE_CHECKING:
    from zygote.manager.worker import Worker

_KEPT = ("STATUS", "READY", "WATCHDOG", "X_ZYGOTE_IDLE", "EXTEND_TIMEOUT_USEC", "STOPPING")
"""What is kept, the last of each, of one that was quicker than the news that it is up."""


class Words:
    """Hears one worker."""

    def __init__(self, worker: Worker, parts: Parts) -> None:
        self._worker = worker
        self._parts = parts
        self._early: dict[str, str] = {}

    def are_of(self, child: Child) -> bool:
        """Whether what `child` says is this worker's: not if it is retiring."""
        worker = self._worker
        if worker.retiring and child is worker.retiring.child:
            return False
        return child is worker.child or worker.unit.state is State.STARTING

    def heard(self, message: dict[str, str]) -> None:
        """It spoke."""
        worker = self._worker
        if worker.unit.state is State.STARTING:
            self._early |= {key: message[key] for key in _KEPT if key in message}
            return

        def take() -> None:
            self._apply(message)
            worker.settle()

        worker.fenced(take)

    def heard_sockets(self, message: dict[str, str], fds: list[int]) -> None:
        """It gave us sockets, or wants us to forget one. Owns the descriptors."""
        store = self._worker.store
        name = message.get("FDNAME", "stored")
        if message.get("FDSTOREREMOVE") == "1":
            store.drop(name)
        if message.get("FDSTORE") == "1":
            while fds:
                store.keep(name, fds.pop(0))
        self._worker.fenced(self._worker.record.keep)

    def take_early(self) -> None:
        """It is up: what it said before holds now."""
        early, self._early = self._early, {}
        self._apply(early)

    def _apply(self, message: dict[str, str]) -> None:
        worker, unit = self._worker, self._worker.unit
        if "STATUS" in message:
            unit.said_status(message["STATUS"])
        if message.get("READY") == "1":
            unit.said_ready()
        if message.get("WATCHDOG") == "1":
            unit.alive()
        if (idle := message.get("X_ZYGOTE_IDLE")) in ("0", "1"):
            worker.budget.said_idle(idle == "1", self._parts.clock.monotonic())
        if (seconds := microseconds(message.get("EXTEND_TIMEOUT_USEC", ""))) is not None:
            unit.extend(seconds)
        if message.get("STOPPING") == "1":
            unit.told.append(("said-stopping", ""))
