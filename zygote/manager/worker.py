"""Drives one worker: does what its state machine decides, and tells it what happened.

Its parts have files of their own: `launch`, `succession`, `words`, `record`, `needs`, `budget`,
`store`; `views` tells others of it, `takeover` gives it a process of an earlier manager's.

Every way in is fenced: an exception in the handling of one worker is charged to that worker (an
event, and state *failed*) and never reaches another, or the manager.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable

from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec
from zygote.manager.budget import Budget
from zygote.manager.children import Child
from zygote.manager.flight import Spawned
from zygote.manager.freshness import Change, Generation, Print
from zygote.manager.launch import Launch
from zygote.manager.leaves import Leaf
from zygote.manager.mold import Mold
from zygote.manager.needs import Needs
from zygote.manager.parts import Parts
from zygote.manager.passage import Passage
from zygote.manager.policy import End
from zygote.manager.record import Record
from zygote.manager.recycle import Retiring
from zygote.manager.store import Store
from zygote.manager.succession import Succession
from zygote.manager.unit import LIVE, Do, State, Unit
from zygote.manager.walls import Standing
from zygote.manager.watchdog import Alarm
from zygote.manager.words import Words

_HELD_UP = 1.0
"""Seconds that an alarm may be late before it says more about us than about a worker."""


class Worker:
    """One worker of the fleet, running or not.

    Attributes:
        needs: what its start waits for.
        budget: what it may have of private memory, and whether it keeps to that.
        store: sockets that it gave us for its next process.
        child, leaf: the process that runs, or that is about to be replaced, and its cgroup.
        retiring: a process of its that goes when its successor is ready.
        passage: its way to another generation, while a reload is under way.
        generation, layout: of the zygote that its process is a copy of; "" for one of its own.
        spawn_id, file: of its last start; `file` is what it runs, as that was then.
        standing: the walls around its process.
        mold: where it may be asked to become one.
        origin, fork_ms: how its process came to be, and in what time; see `Spawned`.
        pending: its spec in the fleet file has changed; the new one holds from the next start.
        peak: the most bytes that a process of its that has ended had for itself; None: unknown.
        shed_for: why it was stopped though nobody asked for that; "" otherwise.
    """

    def __init__(self, parts: Parts, spec: WorkerSpec) -> None:
        self.unit = Unit(
            spec, parts.clock, parts.chance, parts.pace, parts.groups.of(spec.name),
            lambda: parts.is_needed(self.name),
        )  # fmt: skip
        self.needs = Needs(self, parts)
        self.budget = Budget()
        self.store = Store(
            lambda event, detail: parts.events.emit(event, self.name, self.unit.pid, detail)
        )
        self.launch = Launch(self, parts)
        self.record = Record(self, parts)
        self.succession = Succession(self, parts)
        self.words = Words(self, parts)
        self.child: Child | None = None
        self.leaf: Leaf | None = None
        self.retiring: Retiring | None = None
        self.passage: Passage | None = None
        self.mold: Mold | None = None
        self.pending: WorkerSpec | None = None
        self.generation = 0
        self.layout = ""
        self.origin = ""
        self.fork_ms = 0.0
        self.spawn_id = bytes(16)
        self.file: Print | None = None
        self.standing = Standing()
        self.peak: int | None = None
        self.shed_for = ""
        self._parts = parts
        self._alarm = Alarm(parts.loop, lambda: self.fenced(self._rung))
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """Of the worker."""
        return self.unit.spec.name

    @property
    def log(self) -> str:
        """Where its lines are, for people."""
        return self._parts.logs.place(self.name)

    @property
    def generations(self) -> list[Generation]:
        """Those that its processes are copies of."""
        zygote, retiring = self.unit.spec.zygote, self.retiring
        found = [(zygote, self.generation)] if self.unit.state in LIVE else []
        return [*found, (zygote, retiring.identity[0])] if retiring else found

    @property
    def outdated(self) -> Change | None:
        """How the code on disk differs from what its process runs."""
        fresh = self._parts.freshness
        return fresh.look((self.unit.spec.zygote, self.generation)) or fresh.look_at(self.file)

    # What somebody asks for

    def start(self) -> None:
        """Start it unless it runs; see `change` for what comes of it."""
        if self.unit.state not in LIVE or self.unit.state is State.STOPPING:
            self.needs.automatic = False
        self.fenced(lambda: self.do(self.unit.start()))

    def stop(self) -> None:
        """Stop it, gracefully, and keep it stopped."""
        self.fenced(lambda: self.do(self.unit.stop()))
        self.fenced(self.succession.end_retiring)

    def signal(self, number: int) -> bool:
        """Send a signal to its main process; False if there is none.

        Raises:
            PermissionError: it runs as another user, and the manager is not root.
        """
        return self.child is not None and self._parts.children.signal(self.child, number)

    def respec(self, spec: WorkerSpec) -> None:
        """Another spec holds from now on; a running process is not touched."""
        self.unit.spec = self.unit.policy.spec = spec

    async def change(self) -> None:
        """Wait for the next change of anything about it."""
        await self._changed.wait()

    # What happens to it

    def sent(self) -> None:
        """The request for its next process is on its way."""
        self.unit.status = ""
        self.unit.sent()
        self._alarm.set(self.unit.deadline)

    def up(self, spawned: Spawned) -> None:
        """Its process is about to run its code."""
        self.fenced(lambda: self._up(spawned))

    def no_start(self, error: ZygoteError, *, transient: bool) -> None:
        """Its start came to nothing; see `Unit.start_failed`."""
        self.fenced(lambda: self._no_start(error, transient))

    def follow(self, child: Child) -> None:
        """Be told of the end of a process of its."""
        child.ended.add_done_callback(
            lambda done: self.fenced(lambda: self._ended(child, done.result()))
        )

    def broke(self, error: BaseException) -> None:
        """Handling it failed in a way that we did not foresee."""
        text = "".join(traceback.format_exception(error)).strip()
        self._parts.events.emit("internal-error", self.name, self.unit.pid, text)
        try:
            self.succession.end_retiring()
            self.do(self.unit.broke(repr(error)))
        except Exception as second:
            self._parts.events.emit("internal-error", self.name, None, repr(second))

    def wake(self) -> None:
        """Something about it has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # For its parts

    def fenced(self, handle: Callable[[], None]) -> None:
        """Do something about it; what goes wrong in that is charged to it."""
        try:
            handle()
        except Exception as error:
            self.broke(error)

    def do(self, do: Do) -> None:
        """Do what its state machine has decided."""
        children = self._parts.children
        if do is Do.SPAWN:
            self.shed_for = ""
            if self.pending:
                self.respec(self.pending)
                self.pending = None
            self.launch.begin()
        elif do is Do.CANCEL or (do is Do.KILL and self.child is None):
            self.launch.cancel()
        elif self.child:
            if do is Do.STOP:
                self._tell_stop(self.child)
            elif do is Do.ABORT:
                children.signal(self.child, signal.SIGABRT)
            elif do is Do.KILL:
                children.kill(self.child)
        self.settle()

    def settle(self) -> None:
        """Tell what happened, keep what must outlive us, and be called at the next deadline."""
        told, self.unit.told = self.unit.told, []
        for event, detail in told:
            self._parts.events.emit(event, self.name, self.unit.pid, detail)
            if event == State.READY and not detail.startswith("rolled back"):
                self.budget.ready(self._parts.clock.monotonic())
                if not self.succession.held:
                    self.succession.end_retiring()
        if self.unit.state in (State.INACTIVE, State.FAILED):
            self.store.clear()
        self._alarm.set(self.unit.deadline)
        self.record.keep()
        self.wake()

    def drop_leaf(self) -> None:
        """Its process is gone: so is its cgroup, whose highest figure is kept."""
        leaf, self.leaf = self.leaf, None
        if leaf:
            self.peak = max(self.peak or 0, leaf.peak() or 0) or None
            leaf.remove()

    # Inside

    def _tell_stop(self, child: Child) -> None:
        number = signal.Signals[self.unit.spec.stop_signal]
        try:
            self._parts.children.signal(child, number)
        except PermissionError:
            # It became another user's and we are not root: nothing that we send will arrive.
            self.unit.told.append(("stop-refused", "it runs as another user"))

    def _rung(self) -> None:
        if self._alarm.late > _HELD_UP and self.unit.excuse():
            # We were stopped, or starved, meanwhile: signs of life found no room in the queue.
            self._alarm.set(self.unit.deadline)
            return
        self.needs.automatic = self.unit.state is State.BACKOFF
        was = self.unit.state
        do = self.unit.timed_out()
        if was is State.STARTING and do is Do.CANCEL and not self.launch.under_way:
            do = Do.NOTHING
        self.do(do)

    def _up(self, spawned: Spawned) -> None:
        self.child = child = spawned.child
        self.standing, self.origin, self.fork_ms = spawned.standing, spawned.origin, spawned.fork_ms
        do = self.unit.up(child.pid, spawned.ms)
        for gap in self.standing.gaps:
            self.unit.told.append(("wall-missing", gap))
        self.follow(child)
        self.words.take_early()
        self.do(do)
        self._parts.retry_notify()

    def _no_start(self, error: ZygoteError, transient: bool) -> None:
        if self.succession.roll_back(error.message):
            return
        self._parts.state.forget_pid(self.name)
        self.drop_leaf()
        self.needs.automatic = True
        hint, place = error.hint, self.unit.spec.place
        if place not in hint:
            hint = f"{hint} ({place})" if hint else place
        self.do(
            self.unit.start_failed(
                error.message, hint=hint, transient=transient, code=error.code,
                step=error.step, errno=error.errno,
            )
        )  # fmt: skip

    def _ended(self, child: Child, end: End) -> None:
        if self.succession.ended(child, end) or child is not self.child:
            return
        when = "right after" if self.unit.state is State.READY else "before"
        if self.succession.roll_back(f"{end} {when} it was ready"):
            return
        self.child = None
        if self.mold:
            self.mold.close()
        self._parts.state.forget_pid(self.name)
        self.needs.automatic = True
        self.drop_leaf()
        self.do(self.unit.ended(end))
        if news := self._parts.pace.news(self._parts.clock.monotonic()):
            self._parts.events.emit("restart-storm", "manager", os.getpid(), news)
