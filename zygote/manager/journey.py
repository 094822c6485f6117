"""One worker's move to another generation, and its way back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from zygote.fleet.model import Fleet
from zygote.manager import weigh
from zygote.manager.moves import How
from zygote.manager.parts import Parts
from zygote.manager.passage import Passage
from zygote.manager.unit import LIVE, State
from zygote.manager.worker import Worker
from zygote.units import spell_bytes

if TYPE_CHECKING:
    from zygote.manager.slot import Slot
    from zygote.manager.zygote import Zygote

LOOK = 0.2
"""Seconds between two looks where nothing tells of a change."""

Tell = Callable[[str, str, str], None]
"""Told of each step: what happened, to whom, and the rest."""


class MoveError(Exception):
    """A move came to nothing; the argument says why."""


class Journey:
    """A worker on its way, or there. It stands as it was when the journey was made.

    Attributes:
        how: whether the successor starts beside it, or after it.
        arrived: its successor does well, and it has gone; or somebody stopped it meanwhile.
    """

    def __init__(self, worker: Worker, how: How, fleet: Fleet, parts: Parts, tell: Tell) -> None:
        self.worker = worker
        self.how = how
        self.arrived = False
        self._fleet, self._parts, self._tell = fleet, parts, tell
        self._spec = worker.unit.spec
        self._generation = worker.generation
        self._private = weigh.try_private(worker)
        self._failures = worker.unit.failures
        self._pid = worker.child.pid if worker.child else 0

    async def go(self) -> None:
        """Until the worker is another process, does well, and its predecessor has gone.

        Raises:
            MoveError: it comes to nothing. Its predecessor runs on, if it was moved beside that.
        """
        worker, slot = self.worker, slot_of(self.worker, self._parts)
        target = (slot.following or slot.current) if slot else None
        way = "started beside it" if self.how is How.BESIDE else "stopped first"
        turn = f"{self._generation} -> {target.generation}, " if target else ""
        self._tell("moving", worker.name, turn + way)
        began = self._parts.loop.time()
        passage = Passage(slot.following if slot else None, holds=self.how is How.BESIDE)
        worker.succession.move(passage)
        if await self._arrives(passage):
            if target and worker.generation != target.generation:
                raise MoveError(f"'{worker.name}' is no copy of {number(target)}: that has ended")
            private = self._check_private()
            worker.succession.release()
            while worker.retiring:
                await worker.change()
            size = f", {spell_bytes(private)} private" if private is not None else ""
            seconds = self._parts.loop.time() - began
            self._tell("moved", worker.name, f"pid {worker.unit.pid}, {seconds:.2f} s{size}")
        self.arrived = True

    def check(self) -> None:
        """One that has arrived still does well.

        Raises:
            MoveError: it has failed since.
        """
        unit = self.worker.unit
        if self.arrived and unit.failures > self._failures:
            raise MoveError(f"'{self.worker.name}' had moved, and then: {unit.last_end}")

    async def come_back(self) -> bool:
        """Whether the worker is ready again, as what it was before."""
        worker, unit, slot = self.worker, self.worker.unit, slot_of(self.worker, self._parts)
        if unit.dismissed:
            return True
        new = unit.spec
        if worker.retiring and not worker.retiring.ending:
            worker.succession.abandon("the reload was taken back")
            while worker.retiring:
                await worker.change()
        elif worker.generation != self._generation or unit.state is not State.READY:
            if slot and slot.following is None and worker.generation != self._generation:
                self._tell("stays", worker.name, "its old zygote has died")
            else:
                if new is not self._spec:
                    worker.pending = self._spec
                room = weigh.read_room(self._fleet.memory_reserve)
                holds = unit.spec.overlap and weigh.need(worker) <= room
                worker.succession.move(Passage(None, holds=holds))
        if not await self._is_back(unit.failures):
            return False
        if new is not self._spec and not worker.pending:
            worker.pending = new  # that is what the fleet file says, still
        self._tell("went-back", worker.name, f"pid {unit.pid}")
        return True

    async def _arrives(self, passage: Passage) -> bool:
        """Whether the successor is ready, and stays so for `min_ready`. False: it was stopped."""
        worker, unit, loop = self.worker, self.worker.unit, self._parts.loop
        since: float | None = None
        while True:
            if unit.dismissed:
                return False
            if passage.reason or unit.failures > self._failures or unit.state not in LIVE:
                why = passage.reason or unit.error or f"it ended: {unit.last_end}"
                raise MoveError(f"'{worker.name}': {why}")
            if worker.needs.blocked:
                raise MoveError(worker.needs.blocked.message)
            there = unit.state is State.READY and worker.child and worker.child.pid != self._pid
            since = (since or loop.time()) if there else None
            left = LOOK if since is None else since + self._fleet.min_ready - loop.time()
            if since is not None and left <= 0:
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.001, left)):
                    await worker.change()

    def _check_private(self) -> int | None:
        """Its private memory, which must not be much more than its predecessor's."""
        before, after = self._private, weigh.try_private(self.worker)
        most = self.worker.unit.spec.max_regression
        if before is None or after is None or most is None or after <= before + most:
            return after
        raise MoveError(
            f"'{self.worker.name}' has {spell_bytes(after)} of private memory, its predecessor had "
            f"{spell_bytes(before)}: that is beyond max_regression ({spell_bytes(most)})"
        )

    async def _is_back(self, failures: int) -> bool:
        worker, unit = self.worker, self.worker.unit
        while worker.retiring or unit.state is not State.READY:
            if unit.failures > failures or unit.state not in LIVE or worker.needs.blocked:
                return unit.dismissed
            if unit.state is State.READY:
                worker.succession.release()
            await worker.change()
        return True


def slot_of(worker: Worker, parts: Parts) -> Slot | None:
    """The slot of the zygote that the worker's next process is to be a copy of, if of any."""
    spec = worker.pending or worker.unit.spec
    return parts.zygotes.slots.get(spec.zygote) if spec.is_copy else None


def number(zygote: Zygote | None) -> str:
    """`generation 4`."""
    return f"generation {zygote.generation}" if zygote else "none"
