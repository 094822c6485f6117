"""A reload: a new generation of zygotes beside the old one, and workers that move over, in turn.

    bake beside ─▶ move, one after another ─▶ promote
         │                  │
         ▼                  ▼ a successor crashes, is not ready in time, or is too large
    old serves on     those that moved go back; old serves on

Until the end the old zygotes serve: whatever starts by itself meanwhile is a copy of them, and
those that moved can go back. Which worker is next is decided by `moves.py`, what is to be done at
all by `targets.py`; how one worker moves is in `journey.py`.
"""

from __future__ import annotations

import asyncio

from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet
from zygote.manager import weigh
from zygote.manager.journey import LOOK, Journey, MoveError, Tell, number, slot_of
from zygote.manager.moves import How, Limits, Member, Stage, is_done, next_moves
from zygote.manager.parts import Parts
from zygote.manager.slot import Slot
from zygote.manager.targets import Targets
from zygote.manager.unit import LIVE, State
from zygote.manager.worker import Worker
from zygote.units import spell_bytes


class Roll:
    """One reload, from the bake of the next generation to the end of the last predecessor."""

    def __init__(self, targets: Targets, fleet: Fleet, parts: Parts, tell: Tell) -> None:
        self.targets = targets
        self._fleet = fleet
        self._parts = parts
        self._tell = tell
        self._journeys: dict[str, Journey] = {}

    @property
    def summary(self) -> str:
        """Where it is, in a few words."""
        arrived = sum(journey.arrived for journey in self._journeys.values())
        zygotes = ", ".join(slot.spec.name for slot in self.targets.slots)
        moved = f"{arrived} of {len(self.targets.workers)} workers moved"
        return f"zygote {zygotes}, {moved}" if zygotes else moved

    async def run(self) -> None:
        """Do it all.

        Raises:
            ZygoteError: the old generation serves on; what had moved is back.
        """
        slots = self.targets.slots
        try:
            await self._bake(slots)
            await self._move_all()
        except MoveError as error:
            raise await self._go_back(str(error)) from None
        except ZygoteError as error:
            serving = ", ".join(f"'{s.spec.name}' {number(s.current)}" for s in slots if s.current)
            error.message += f"; {serving} serves on" if serving else ""
            raise
        finally:
            for worker in self.targets.workers:
                worker.passage = None
            for slot in slots:  # those that were promoted follow nobody any more
                slot.drop_next()

    # The bake

    async def _bake(self, slots: list[Slot]) -> None:
        """Parents before branches; those of one level side by side."""
        left = list(slots)
        while left:
            names = {slot.spec.name for slot in left}
            now = [slot for slot in left if slot.spec.parent not in names]
            left = [slot for slot in left if slot.spec.parent in names]
            weigh.check_bake(now, self._fleet.memory_reserve)
            outcomes = await asyncio.gather(*map(self._bake_one, now), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
        for slot in {slot_of(worker, self._parts) for worker in self.targets.workers}:
            if slot and slot.following is None:
                await _serves(slot)

    async def _bake_one(self, slot: Slot) -> None:
        name = f"zygote.{slot.spec.name}"
        mold = self.targets.molds.get(slot.spec.name)
        source = f", from worker '{mold.name}'" if mold else ""
        self._tell("baking", name, f"beside {number(slot.current)}{source}")
        parent = next((s for s in self.targets.slots if s.spec.name == slot.spec.parent), None)
        zygote = await slot.bake_next(mold or (parent.following if parent else None))
        took = float(zygote.report.get("seconds", 0.0))
        self._tell("baked", name, f"{number(zygote)}, {took:.1f} s")

    # The moves

    async def _move_all(self) -> None:
        going: set[asyncio.Task[None]] = set()
        try:
            while not (self._is_done() and not going):
                for worker, how in self._next():
                    journey = Journey(worker, how, self._fleet, self._parts, self._tell)
                    self._journeys[worker.name] = journey
                    going.add(self._parts.loop.create_task(journey.go()))
                if not going:
                    await asyncio.sleep(LOOK)
                    continue
                done, going = await asyncio.wait(
                    going, timeout=LOOK, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                self._check_zygotes()
                for journey in self._journeys.values():
                    journey.check()
            for slot in self.targets.slots:
                if slot.following:
                    slot.promote()
        finally:
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)

    def _is_done(self) -> bool:
        return is_done(self._member(worker, True) for worker in self.targets.workers)

    def _next(self) -> list[tuple[Worker, How]]:
        """The moves to begin now; beside the old one only where there is memory for both."""
        limits = Limits(self._fleet.max_surge, self._fleet.max_unavailable)
        workers = {worker.name: worker for worker in self.targets.workers}
        tight: set[str] = set()
        while True:
            members = [self._member(worker, name not in tight) for name, worker in workers.items()]
            chosen = [(workers[name], how) for name, how in next_moves(members, limits)]
            room = weigh.read_room(self._fleet.memory_reserve) if chosen else 0
            more = []
            for worker, how in chosen:
                if how is How.BESIDE and (room := room - weigh.need(worker)) < 0:
                    more.append(worker.name)
                    spare = spell_bytes(max(0, room + weigh.need(worker)))
                    self._tell("tight", worker.name, f"{spare} to spare, so it is stopped first")
            if not more:
                return chosen
            tight.update(more)

    def _member(self, worker: Worker, fits: bool) -> Member:
        spec, journey = worker.unit.spec, self._journeys.get(worker.name)
        how = journey.how if journey else How.AFTER
        stage = _stage(worker, journey)
        return Member(worker.name, stage, spec.after, spec.overlap, fits, how)

    def _check_zygotes(self) -> None:
        for slot in self.targets.slots:
            if slot.following and slot.following.gone:
                raise MoveError(f"zygote '{slot.spec.name}' of {number(slot.following)} ended")
            if slot.following and not (slot.current and slot.current.ready):
                # The old one has died, so nobody can go back to it; and somebody has to serve.
                slot.promote()
                detail = "its predecessor has died: there is no way back"
                self._tell("promoted", f"zygote.{slot.spec.name}", detail)

    # The way back

    async def _go_back(self, reason: str) -> ZygoteError:
        """Bring those that moved back to what serves; the error to raise."""
        self._tell("going-back", "manager", reason)
        stuck = []
        for journey in reversed(self._journeys.values()):
            if not await journey.come_back():
                stuck.append(journey.worker.name)
        text = f"the reload was taken back: {reason}"
        hint = "correct it and reload again; zygotectl logs and events have the details"
        if stuck:
            text += f"; not ready again: {', '.join(stuck)}"
            hint = f"zygotectl status {' '.join(stuck)}"
        return ZygoteError(text, code="reload-taken-back", step="move", hint=hint)


def _stage(worker: Worker, journey: Journey | None) -> Stage:
    unit = worker.unit
    if journey:
        return Stage.MOVED if journey.arrived else Stage.MOVING
    if unit.state is State.READY and not worker.retiring:
        return Stage.WAITING
    if unit.state not in LIVE or (unit.state is State.STARTING and unit.deadline is None):
        return Stage.LEFT  # it waits for something else, and starts from what serves then
    return Stage.UNSETTLED


async def _serves(slot: Slot) -> None:
    """Until the zygote serves. One that could not be baked is tried again, at once.

    A bake under way does not count: it may have read the files before they were put right.

    Raises:
        ZygoteError: it cannot be baked.
    """
    old, begun = slot.error, slot.begun
    slot.retry()
    while not (slot.current and slot.current.ready):
        if slot.error and slot.error is not old:
            if slot.failed > begun:
                raise slot.error
            old = slot.error
            slot.retry()
        await slot.change()
