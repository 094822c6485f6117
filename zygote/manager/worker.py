"""Drives one worker: does what its state machine decides, and tells it what happened.

Every way in is fenced: an exception in the handling of one worker is charged to that worker (an
event, and state *failed*) and never reaches another, or the manager.
"""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

from zygote.control.interface import Result, WorkerState
from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec, worker_to_json
from zygote.manager import credentials, journal, recycle, request, walls
from zygote.manager.alone import Alone
from zygote.manager.budget import Budget
from zygote.manager.children import Child
from zygote.manager.faults import is_transient, prepare_error
from zygote.manager.flight import Order, Spawned
from zygote.manager.freshness import Change, Generation, Print, file_of
from zygote.manager.leaves import Leaf
from zygote.manager.mold import Mold
from zygote.manager.needs import Needs
from zygote.manager.notify import microseconds
from zygote.manager.parts import Parts
from zygote.manager.passage import Passage
from zygote.manager.policy import End
from zygote.manager.store import Store
from zygote.manager.unit import LIVE, Do, State, Unit
from zygote.manager.walls import Standing
from zygote.manager.watchdog import Alarm
from zygote.manager.zygote import Zygote

_HELD_UP = 1.0
"""Seconds that an alarm may be late before it says more about us than about a worker."""


class Worker:
    """One worker of the fleet, running or not.

    Attributes:
        needs: what its start waits for.
        budget: what it may have of private memory, and whether it keeps to that.
        store: sockets that it gave us for its next process.
        retiring: a process of its that goes when its successor is ready.
        layout: names the exec that its process comes from; "" for one of its own.
        standing: the walls around its process.
        passage: its way to another generation, while a reload is under way.
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
        self.child: Child | None = None
        self.mold: Mold | None = None
        self.needs = Needs(self, parts)
        self.budget = Budget()
        self.store = Store(
            lambda event, detail: parts.events.emit(event, self.name, self.unit.pid, detail)
        )
        self.retiring: recycle.Retiring | None = None
        self.passage: Passage | None = None
        self.pending: WorkerSpec | None = None
        self.generation = 0
        self.layout = ""
        self.origin = ""
        self.fork_ms = 0.0
        self.spawn_id = bytes(16)
        self._file: Print | None = None
        self.standing = Standing()
        self.peak: int | None = None
        self.shed_for = ""
        self._parts = parts
        self._leaf: Leaf | None = None
        self._alarm = Alarm(parts.loop, lambda: self._fenced(self._rung))
        self._task: asyncio.Task[None] | None = None
        self._early: list[dict[str, str]] = []
        self._written: tuple[object, ...] = ()
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        """Of the worker."""
        return self.unit.spec.name

    # What somebody asks for

    def start(self) -> None:
        """Start it unless it runs; see `change` for what comes of it."""
        if self.unit.state not in LIVE or self.unit.state is State.STOPPING:
            self.needs.automatic = False
        self._fenced(lambda: self._do(self.unit.start()))

    def stop(self) -> None:
        """Stop it, gracefully, and keep it stopped."""
        self._fenced(lambda: self._do(self.unit.stop()))
        self._fenced(self._end_retiring)

    def shed(self, why: str) -> None:
        """Stop it, for the others' sake; it stays stopped until somebody starts it."""
        self._parts.events.emit("pressure-stopped", self.name, self.unit.pid, why)
        self.stop()
        self.shed_for = why

    def weigh(self) -> None:
        """Look at its private memory, and recycle it if that is due."""
        self._fenced(self._weigh)

    def move(self, passage: Passage) -> None:
        """Have a successor take over, as the passage says; see `change` for what comes of it."""
        self.passage = passage
        self._fenced(self._move)

    def release(self) -> None:
        """Its successor does well: what it took over from may go."""
        if self.passage:
            self.passage.holds = False
        self._fenced(self._end_retiring)

    def abandon(self, reason: str) -> None:
        """Its successor, held, is not wanted: end it, and what it was to take over from stays."""
        if self.passage and self.passage.holds and self.retiring:
            self.passage.reason = reason
            self._fenced(lambda: self._do(Do.KILL))

    def signal(self, number: int) -> bool:
        """Send a signal to its main process; False if there is none.

        Raises:
            PermissionError: it runs as another user, and the manager is not root.
        """
        return self.child is not None and self._parts.children.signal(self.child, number)

    def respec(self, spec: WorkerSpec) -> None:
        """Another spec holds from now on; a running process is not touched."""
        self.unit.spec = self.unit.policy.spec = spec

    def wake(self) -> None:
        """Something about it has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self) -> None:
        """Wait for the next change of anything about it."""
        await self._changed.wait()

    # What happens to it

    def adopt(self, child: Child, started_at: float, record: dict[str, Any]) -> None:
        """Take over a process that an earlier manager started."""
        self._recall(child, record)
        # One that had been told to end so that another could start is told, and counted, again.
        recycling = bool(record.get("recycling"))
        ready = self.unit.spec.type == "simple" or bool(record.get("ready")) or recycling
        restarts = int(record.get("restarts", 0))
        self.unit.adopt(child.pid, started_at, ready=ready, restarts=restarts)
        self.unit.recycles = int(record.get("recycles", 0)) - recycling
        self.budget.adopted(self._parts.clock.monotonic())
        self.store.recover(record.get("sockets") or {}, child.pid, child.pidfd)
        self._fenced(lambda: self._do(self.unit.recycle() if recycling else Do.NOTHING))

    def adopt_retiring(self, retiring: recycle.Retiring) -> None:
        """A process that an earlier manager had put aside: its successor is ours or will be."""
        self.retiring = retiring
        self._follow(retiring.child)
        self._fenced(self._end_retiring)

    def resume(
        self, child: Child | None, retiring: recycle.Retiring | None, record: dict[str, Any]
    ) -> None:
        """Go on in the middle of whatever it was: this manager was exec'd anew.

        Unit and budget are as they were; `record` is what stood in the state file.
        """
        self._recall(child, record)
        self.retiring = retiring
        if retiring:
            self._follow(retiring.child)
        starting = self.unit.state is State.STARTING and child is None
        self._fenced(lambda: self._do(Do.SPAWN if starting else Do.NOTHING))

    def lost(self, record: dict[str, Any]) -> None:
        """A process that an earlier manager started is gone without a trace."""
        self._parts.state.forget_pid(self.name)
        self.needs.automatic = True
        self._fenced(lambda: self._do(self.unit.lost(int(record.get("restarts", 0)))))

    def heard(self, message: dict[str, str]) -> None:
        """It spoke on the notify socket."""
        if self.unit.state is State.STARTING:
            if len(self._early) < 16:  # it was quicker than the news that it is up
                self._early.append(message)
            return
        self._fenced(lambda: self._do(self._apply(message)))

    def heard_sockets(self, message: dict[str, str], fds: list[int]) -> None:
        """It gave us sockets, or wants us to forget one. Owns the descriptors."""
        name = message.get("FDNAME", "stored")
        if message.get("FDSTOREREMOVE") == "1":
            self.store.drop(name)
        if message.get("FDSTORE") == "1":
            while fds:
                self.store.keep(name, fds.pop(0))
        self._fenced(self._persist)

    def is_current(self, child: Child) -> bool:
        """Whether what `child` says is this worker's: not if it is retiring."""
        if self.retiring and child is self.retiring.child:
            return False
        return child is self.child or self.unit.state is State.STARTING

    def broke(self, error: BaseException) -> None:
        """Handling it failed in a way that we did not foresee."""
        text = "".join(traceback.format_exception(error)).strip()
        self._parts.events.emit("internal-error", self.name, self.unit.pid, text)
        try:
            self._end_retiring()
            self._do(self.unit.broke(repr(error)))
        except Exception as second:
            self._parts.events.emit("internal-error", self.name, None, repr(second))

    # What others see

    def view(self) -> WorkerState:
        """For `ps` and `status`."""
        unit, spec = self.unit, self.unit.spec
        blocked = self.needs.blocked
        limited = self._leaf is not None and not self._leaf.unenforced
        return WorkerState(
            name=spec.name,
            state=str(unit.state),
            pid=self.child.pid if self.child else None,
            ready=unit.state is State.READY,
            status=unit.status,
            since=unit.since,
            started_at=unit.started_at,
            restarts=unit.restarts,
            recycles=unit.recycles,
            zygote=spec.zygote if spec.is_copy else "",
            isolation=spec.isolation,
            layout=self.layout if self.child else "",
            generation=self.generation,
            spawn_ms=unit.spawn_ms,
            fork_ms=None if unit.spawn_ms is None else self.fork_ms,
            origin=self.origin if self.child else "",
            ready_ms=unit.ready_ms,
            memory_max=spec.memory_max,
            memory_high=spec.memory_high,
            throttled=self._leaf.throttled() if self._leaf and spec.memory_high else 0,
            peak=self.peak,
            priority=spec.priority,
            max_private=spec.max_private,
            private=self.budget.private if spec.max_private and self.child else None,
            limits_enforced=limited,
            walls=list(self.standing.walls) if self.child else [],
            gaps=list(self.standing.gaps) if self.child else [],
            cgroup=str(self._leaf.path) if self._leaf else "",
            log=self._parts.logs.place(spec.name),
            adopted=unit.adopted,
            autostart=spec.autostart,
            last_end=str(unit.last_end or ""),
            last_end_detail=unit.last_end.detail if unit.last_end else "",
            last_end_at=unit.last_end_at,
            next_start_at=unit.next_start_at,
            error=blocked.message if blocked else unit.error or self.shed_for,
            hint=blocked.hint if blocked else unit.hint,
            place=spec.place,
            outdated=str(self.outdated or "") if self.child else "",
        )

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
        return fresh.look((self.unit.spec.zygote, self.generation)) or fresh.look_at(self._file)

    def result(self, ok: bool, error: str = "", hint: str = "", code: str = "") -> Result:
        """What came of a verb. Without `error`, a failure is explained by the unit's own."""
        unit = self.unit
        if ok:
            return Result(self.name, True, unit.pid, str(unit.state), unit.spawn_ms)
        own = not error
        return Result(
            self.name,
            False,
            unit.pid,
            str(unit.state),
            error=unit.error if own else error,
            hint=unit.hint if own else hint,
            code=unit.code if own else code,
            step=unit.step if own else "",
            errno=unit.errno if own else 0,
        )

    # Inside

    def _recall(self, child: Child | None, record: dict[str, Any]) -> None:
        """What a record says of a process that is there, and of what it was made of."""
        self.child, self._leaf = child, child.leaf if child else None
        self.generation = int(record.get("generation", 0))
        self.layout = str(record.get("layout", ""))
        self.spawn_id = bytes.fromhex(record["spawn_id"])
        file = record.get("file")
        self._file = (file[0], file[1], file[2], file[3]) if file else None
        self.standing = Standing.read(record)
        if child:
            self._follow(child)

    def _follow(self, child: Child) -> None:
        child.ended.add_done_callback(lambda done: self._fenced(lambda: self._ended(child, done)))

    def _fenced(self, handle: Callable[[], None]) -> None:
        try:
            handle()
        except Exception as error:
            self.broke(error)

    def _do(self, do: Do) -> None:
        children = self._parts.children
        if do is Do.SPAWN:
            self.shed_for = ""
            if self.pending:
                self.respec(self.pending)
                self.pending = None
            self._task = self._parts.loop.create_task(self._spawn(), name=f"spawn {self.name}")
        elif do is Do.CANCEL or (do is Do.KILL and self.child is None):
            if self._task:
                self._task.cancel()
        elif self.child:
            if do is Do.STOP:
                self._tell_stop()
            elif do is Do.ABORT:
                children.signal(self.child, signal.SIGABRT)
            elif do is Do.KILL:
                children.kill(self.child)
        self._settle()

    def _tell_stop(self) -> None:
        assert self.child
        number = signal.Signals[self.unit.spec.stop_signal]
        try:
            self._parts.children.signal(self.child, number)
        except PermissionError:
            # It became another user's and we are not root: nothing that we send will arrive.
            self.unit.told.append(("stop-refused", "it runs as another user"))

    def _settle(self) -> None:
        """Tell what happened, keep what must outlive us, and be called at the next deadline."""
        told, self.unit.told = self.unit.told, []
        for event, detail in told:
            self._parts.events.emit(event, self.name, self.unit.pid, detail)
            if event == State.READY and not detail.startswith("rolled back"):
                self.budget.ready(self._parts.clock.monotonic())
                if not self._held:
                    self._end_retiring()
        if self.unit.state in (State.INACTIVE, State.FAILED):
            self.store.clear()
        self._alarm.set(self.unit.deadline)
        self._persist()
        self.wake()

    def _persist(self) -> None:
        unit = self.unit
        if unit.state is State.STARTING:
            return  # written right before the spawn is sent
        if unit.state is State.INACTIVE and not self._written and not unit.last_end:
            return
        ready = unit.state is State.READY and unit.spec.type == "notify"
        now = (
            unit.wanted, ready, unit.state is State.FAILED, self.spawn_id, self._recycling,
            self.retiring, self.standing, self.store.record,
        )  # fmt: skip
        if now != self._written:
            self._written = now
            self._write(ready)

    def _write(self, ready: bool) -> OSError | None:
        return self._parts.state.write(self.name, self.record(ready))

    def record(self, ready: bool) -> dict[str, Any]:
        """What is to outlive the manager. `ready`: it said so."""
        unit = self.unit
        return {
            "worker": self.name,
            "spawn_id": self.spawn_id.hex(),
            "wanted": unit.wanted,
            "ready": ready,
            "failed": unit.state is State.FAILED,
            "restarts": unit.restarts,
            "recycles": unit.recycles,
            "recycling": self._recycling,
            "retiring": self.retiring.record if self.retiring else None,
            "zygote": unit.spec.zygote,
            "generation": self.generation,
            "file": self._file,
            "sockets": self.store.record,
            "layout": self.layout,
            "walls": self.standing.walls,
            "gaps": self.standing.gaps,
            "spec": worker_to_json(unit.spec),
        }

    def _rung(self) -> None:
        if self._alarm.late > _HELD_UP and self.unit.excuse():
            # We were stopped, or starved, meanwhile: signs of life found no room in the queue.
            self._alarm.set(self.unit.deadline)
            return
        self.needs.automatic = self.unit.state is State.BACKOFF
        was = self.unit.state
        do = self.unit.timed_out()
        if was is State.STARTING and do is Do.CANCEL and self._task is None:
            do = Do.NOTHING
        self._do(do)

    def _ended(self, child: Child, done: asyncio.Future[End]) -> None:
        if self.retiring and child is self.retiring.child:
            self.retiring.gone()
            self.retiring = None
            self._parts.events.emit("retired", self.name, child.pid, str(done.result()))
            self._settle()
            return
        if child is not self.child:
            return
        when = "right after" if self.unit.state is State.READY else "before"
        if self._roll_back(f"{done.result()} {when} it was ready"):
            return
        self.child = None
        if self.mold:
            self.mold.close()
        self._parts.state.forget_pid(self.name)
        self.needs.automatic = True
        self._drop_leaf()
        self._do(self.unit.ended(done.result()))
        if news := self._parts.pace.news(self._parts.clock.monotonic()):
            self._parts.events.emit("restart-storm", "manager", os.getpid(), news)

    def _weigh(self) -> None:
        if self.child is None or self.passage:  # or it is about to be replaced anyhow
            return
        verdict = recycle.look(self.budget, self, self.child, self._parts.clock.monotonic())
        if verdict.event:
            self._parts.events.emit(verdict.event, self.name, self.child.pid, verdict.detail)
        if verdict.recycle and self.unit.spec.overlap and self.retiring is None:
            self._put_aside()
        elif verdict.recycle:
            self._do(self.unit.recycle())

    def _move(self) -> None:
        assert self.passage
        if self.unit.state is not State.READY:
            self._do(self.unit.stop())
            self.start()
        elif self.passage.holds and self.retiring is None:
            self._put_aside(moves=True)
        else:
            self._do(self.unit.recycle(moves=True))

    def _put_aside(self, *, moves: bool = False) -> None:
        """Start a successor beside the process that runs."""
        assert self.child
        identity = (self.generation, self.layout, self.spawn_id)
        old = recycle.Retiring(self.child, self._leaf, self._parts, identity, self.unit.started_at)
        old.spec = self.unit.spec
        do = self.unit.succeed(moves=moves)
        if do is Do.SPAWN:
            self.retiring, self.child, self._leaf = old, None, None
            self._write(False)  # before its pid record goes
        self._do(do)

    def _end_retiring(self) -> None:
        if self.retiring:
            self.retiring.end(self.unit.spec.stop_signal, self.unit.spec.stop_grace)

    def _roll_back(self, reason: str) -> bool:
        """The successor is no more. True: its predecessor is what runs again."""
        old, unit = self.retiring, self.unit
        early = unit.state in (State.STARTING, State.UP)
        if old is None or old.ending or not (early or (self._held and unit.state is State.READY)):
            return False
        if self.passage:
            self.passage.reason = reason = self.passage.reason or unit.verdict or reason
        if old.spec and old.spec is not unit.spec:
            self.pending = unit.spec
            self.respec(old.spec)
        self._drop_leaf()
        self.retiring, self.child, self._leaf = None, old.child, old.leaf
        self.generation, self.layout, self.spawn_id = old.identity
        self._parts.state.write_pid(self.name, *old.record, self.spawn_id.hex())
        unit.roll_back(old.child.pid, old.started_at, reason)
        self._settle()
        return True

    @property
    def _held(self) -> bool:
        return self.passage is not None and self.passage.holds

    @property
    def _recycling(self) -> bool:
        return self.unit.state is State.STOPPING and self.unit.wanted

    def _drop_leaf(self) -> None:
        leaf, self._leaf = self._leaf, None
        if leaf:
            self.peak = max(self.peak or 0, leaf.peak() or 0) or None
            leaf.remove()

    def _apply(self, message: dict[str, str]) -> Do:
        unit = self.unit
        if "STATUS" in message:
            unit.said_status(message["STATUS"])
        if message.get("READY") == "1":
            unit.said_ready()
        if message.get("WATCHDOG") == "1":
            unit.alive()
        if (idle := message.get("X_ZYGOTE_IDLE")) in ("0", "1"):
            self.budget.said_idle(idle == "1", self._parts.clock.monotonic())
        if (seconds := microseconds(message.get("EXTEND_TIMEOUT_USEC", ""))) is not None:
            unit.extend(seconds)
        if message.get("STOPPING") == "1":
            unit.told.append(("said-stopping", ""))
        return Do.NOTHING

    async def _spawn(self) -> None:
        try:
            try:
                await self.needs.wait_for_workers()
                spawned = await self._parts.spawner.spawn(self._order(), self._zygote)
            finally:
                self._task = None
                self.needs.go_on()
        except asyncio.CancelledError:
            limit = self.unit.spec.start_timeout
            self._no_start(
                ZygoteError(
                    f"no sign of life within {limit:g} s (start_timeout)", code="start-timeout"
                ),
                transient=True,
            )
        except ZygoteError as error:
            self._no_start(error, transient=is_transient(error))
        except OSError as error:
            fault = prepare_error(self.name, error)
            self._no_start(fault, transient=is_transient(fault))
        except Exception as error:
            self.broke(error)
        else:
            self._fenced(lambda: self._up(spawned))

    def _no_start(self, error: ZygoteError, *, transient: bool) -> None:
        if self._roll_back(error.message):
            return
        self._parts.state.forget_pid(self.name)
        self._drop_leaf()
        self.needs.automatic = True
        hint, place = error.hint, self.unit.spec.place
        if place and place not in hint:
            hint = f"{hint} ({place})" if hint else place
        self._fenced(
            lambda: self._do(
                self.unit.start_failed(
                    error.message, hint=hint, transient=transient, code=error.code,
                    step=error.step, errno=error.errno,
                )
            )
        )  # fmt: skip

    def _up(self, spawned: Spawned) -> None:
        self.child = child = spawned.child
        self.standing, self.origin = spawned.standing, spawned.origin
        self.fork_ms = spawned.fork_ms
        do = self.unit.up(child.pid, spawned.ms)
        for gap in self.standing.gaps:
            self.unit.told.append(("wall-missing", gap))
        child.ended.add_done_callback(lambda done: self._fenced(lambda: self._ended(child, done)))
        early, self._early = self._early, []
        for message in early:
            self._apply(message)
        self._do(do)
        self._parts.retry_notify()

    def _order(self) -> Order:
        parts, spec = self._parts, self.unit.spec
        self.spawn_id = os.urandom(16)
        slot = parts.zygotes.slots.get(spec.zygote)
        self._file = file_of(spec, slot.spec if slot else None)
        uid, gid, *_ = request.resolve_identity(spec)  # its errors come before anything is made
        walls.make_folders(spec, parts.house.runtime_dir, uid, gid)
        self._leaf = parts.leaves.leaf("worker", spec.name, spec)
        for refused in self._leaf.unenforced if self._leaf else ():
            parts.events.emit("limit-refused", spec.name, detail=refused)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            log = parts.logs.open(spec.name)
            second = os.dup(log)
        except OSError:
            os.close(null)
            raise
        return Order(
            name=spec.name,
            kind="worker",
            spawn_id=self.spawn_id,
            body=lambda roles: request.worker_body(
                spec, parts.house, self.spawn_id, roles, journal.stream_name(log)
            ),
            stdio=[null, log, second],
            open_record=self._open_record,
            open_sockets=self.store.open_all,
            open_mold=self._open_mold if spec.refork else None,
            open_credentials=lambda first: credentials.open_all(
                spec, parts.house.runtime_dir, uid, first
            ),
            leaf=self._leaf,
            sent=self._sent,
        )

    def _open_record(self) -> int:
        """Right before the spawn is sent: first the old record goes, then the intention is told."""
        record = self._parts.state.open_record(self.name)
        self._written = (
            True, False, False, self.spawn_id, False, self.retiring, self.standing,
            self.store.record,
        )  # fmt: skip
        error = self._write(False)
        if error and not self._parts.state.is_known(self.name):
            os.close(record)
            raise error  # no trace of it would be left if we died: so it must not come to be
        return record

    def _open_mold(self) -> int:
        self.mold = self.mold or Mold(self._parts.loop, self.name)
        return self.mold.open()

    def _sent(self) -> None:
        self.unit.status = ""
        self.unit.sent()
        self._alarm.set(self.unit.deadline)

    async def _zygote(self) -> Zygote | Alone:
        pinned = self.passage.zygote if self.passage else None
        zygote = pinned if pinned and pinned.ready else await self.needs.wait_for_zygote()
        self.generation, self.layout = zygote.generation, zygote.layout
        return zygote
