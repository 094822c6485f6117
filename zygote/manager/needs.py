"""What a start waits for: the workers that it comes `after`, and a zygote to be a copy of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zygote.errors import ZygoteError
from zygote.manager.alone import Alone
from zygote.manager.parts import Parts
from zygote.manager.unit import State
from zygote.manager.zygote import Zygote

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


class Needs:
    """The waits of one worker's starts.

    Attributes:
        blocked: why it cannot go on at present: what it needs has failed. It goes on by itself
            once that is cured.
        automatic: the start under way is a restart that nobody asked for.
    """

    def __init__(self, worker: Worker, parts: Parts) -> None:
        self.blocked: ZygoteError | None = None
        self.automatic = False
        self._worker = worker
        self._parts = parts

    async def wait_for_zygote(self) -> Zygote | Alone:
        """One that serves; of a worker that is no copy, what starts it."""
        spec = self._worker.unit.spec
        if not spec.is_copy:
            return self._parts.zygotes.alone(spec.zygote)
        slot = self._parts.zygotes.slots[spec.zygote]
        while not (slot.current and slot.current.ready):
            why = slot.error
            fault = ("bake-failed", why.message, why.hint) if why else None
            self._wait(f"zygote '{slot.spec.name}'", fault)
            await slot.change()
        self.go_on()
        return slot.current

    async def wait_for_workers(self) -> None:
        """Until all that it comes after are ready."""
        for name in self._worker.unit.spec.after:
            while (other := self._parts.find(name)) and not self._served_by(other):
                down = other.unit.state in (State.FAILED, State.INACTIVE, State.UNKNOWN)
                error = other.unit.error or "it is not started"
                hint = other.unit.hint if other.unit.error else f"zygotectl spawn {name}"
                self._wait(f"'{name}'", ("needs-failed", error, hint) if down else None)
                await other.change()
        self.go_on()

    def lacks(self) -> str:
        """What an automatic start would wait for just now; "" if nothing."""
        spec = self._worker.unit.spec
        if spec.is_copy:
            current = self._parts.zygotes.slots[spec.zygote].current
            if not (current and current.ready):
                return f"zygote '{spec.zygote}'"
        for name in spec.after:
            other = self._parts.find(name)
            if other and other.unit.state not in (State.READY, State.INACTIVE):
                return f"'{name}'"
        return ""

    def go_on(self) -> None:
        """It waits for nothing any more."""
        self.blocked = None
        self._worker.unit.status = ""

    def _served_by(self, other: Worker) -> bool:
        unit = other.unit
        if unit.state is State.READY:
            return True
        if unit.state is not State.INACTIVE:
            return False
        # One that did its work and ended has served. One that was stopped on purpose is not
        # brought back, or waited for, by the automatic restart of another.
        return self.automatic or (unit.last_end is not None and unit.last_end.clean)

    def _wait(self, what: str, fault: tuple[str, str, str] | None) -> None:
        name, unit = self._worker.name, self._worker.unit
        self.blocked = None
        if fault:
            code, error, hint = fault
            self.blocked = ZygoteError(f"'{name}' waits for {what}: {error}", code=code, hint=hint)
        if (text := f"waiting for {what}") != unit.status:
            unit.status = text
            self._parts.events.emit("waiting", name, None, f"for {what}")
        self._worker.wake()
