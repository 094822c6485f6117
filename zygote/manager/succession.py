"""A worker's next process beside, or after, the one that runs: over its budget, or amid a reload.

The process that is put aside is *retiring*: it goes when its successor is ready (and, amid a
reload, does well), and is what runs, as before, if the successor comes to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zygote.manager import recycle
from zygote.manager.children import Child
from zygote.manager.parts import Parts
from zygote.manager.passage import Passage
from zygote.manager.policy import End
from zygote.manager.unit import Do, State

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


class Succession:
    """The successions of one worker, whose `retiring` and `passage` it keeps."""

    def __init__(self, worker: Worker, parts: Parts) -> None:
        self._worker = worker
        self._parts = parts

    @property
    def held(self) -> bool:
        """The one that retires stays until it is released."""
        passage = self._worker.passage
        return passage is not None and passage.holds

    def weigh(self) -> None:
        """Look at its private memory, and recycle it if that is due."""
        self._worker.fenced(self._weigh)

    def move(self, passage: Passage) -> None:
        """Have a successor take over, as the passage says; see `Worker.change` for the outcome."""
        self._worker.passage = passage
        self._worker.fenced(self._move)

    def release(self) -> None:
        """Its successor does well: what it took over from may go."""
        if self._worker.passage:
            self._worker.passage.holds = False
        self._worker.fenced(self.end_retiring)

    def abandon(self, reason: str) -> None:
        """Its successor, held, is not wanted: end it, and what it was to take over from stays."""
        worker = self._worker
        if worker.passage and worker.passage.holds and worker.retiring:
            worker.passage.reason = reason
            worker.fenced(lambda: worker.do(Do.KILL))

    def end_retiring(self) -> None:
        """Ask the retiring process, if there is one, to end."""
        worker = self._worker
        if worker.retiring:
            worker.retiring.end(worker.unit.spec.stop_signal, worker.unit.spec.stop_grace)

    def ended(self, child: Child, end: End) -> bool:
        """Whether it was the retiring process that ended; then that is all there is to it."""
        worker = self._worker
        if worker.retiring is None or child is not worker.retiring.child:
            return False
        worker.retiring.gone()
        worker.retiring = None
        self._parts.events.emit("retired", worker.name, child.pid, str(end))
        worker.settle()
        return True

    def roll_back(self, reason: str) -> bool:
        """The successor is no more. True: its predecessor is what runs again."""
        worker, old, unit = self._worker, self._worker.retiring, self._worker.unit
        early = unit.state in (State.STARTING, State.UP)
        if old is None or old.ending or not (early or (self.held and unit.state is State.READY)):
            return False
        if worker.passage:
            reason = worker.passage.reason or unit.verdict or reason
            worker.passage.reason = reason
        if old.spec and old.spec is not unit.spec:
            worker.pending = unit.spec
            worker.respec(old.spec)
        worker.drop_leaf()
        worker.retiring, worker.child, worker.leaf = None, old.child, old.leaf
        worker.generation, worker.layout, worker.spawn_id = old.identity
        self._parts.state.write_pid(worker.name, *old.record, worker.spawn_id.hex())
        unit.roll_back(old.child.pid, old.started_at, reason)
        worker.settle()
        return True

    def _weigh(self) -> None:
        worker = self._worker
        if worker.child is None or worker.passage:  # or it is about to be replaced anyhow
            return
        now = self._parts.clock.monotonic()
        verdict = recycle.look(worker.budget, worker, worker.child, now)
        if verdict.event:
            self._parts.events.emit(verdict.event, worker.name, worker.child.pid, verdict.detail)
        if verdict.recycle and worker.unit.spec.overlap and worker.retiring is None:
            self._put_aside()
        elif verdict.recycle:
            worker.do(worker.unit.recycle())

    def _move(self) -> None:
        worker = self._worker
        assert worker.passage
        if worker.unit.state is not State.READY:
            worker.do(worker.unit.stop())
            worker.start()
        elif worker.passage.holds and worker.retiring is None:
            self._put_aside(moves=True)
        else:
            worker.do(worker.unit.recycle(moves=True))

    def _put_aside(self, *, moves: bool = False) -> None:
        """Start a successor beside the process that runs."""
        worker = self._worker
        assert worker.child
        identity = (worker.generation, worker.layout, worker.spawn_id)
        old = recycle.Retiring(
            worker.child, worker.leaf, self._parts, identity, worker.unit.started_at
        )
        old.spec = worker.unit.spec
        do = worker.unit.succeed(moves=moves)
        if do is Do.SPAWN:
            worker.retiring, worker.child, worker.leaf = old, None, None
            worker.record.write(False)  # before its pid record goes
        worker.do(do)
