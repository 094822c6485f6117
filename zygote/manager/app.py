"""The manager: wires the parts, starts the fleet, and stops it in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from zygote import __version__, notify
from zygote.control.interface import ManagerState, Result, RollStep, WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet
from zygote.fleet.where import choose_runtime_dir
from zygote.manager import carried, handover, request
from zygote.manager.adopt import adopt_all
from zygote.manager.answer import Answer
from zygote.manager.calls import Calls
from zygote.manager.checker import check
from zygote.manager.children import Child, Children
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.floor import raise_nofile
from zygote.manager.handed import CONTROL, NOTIFY, Handed
from zygote.manager.insiders import Insiders
from zygote.manager.reaper import Reaper
from zygote.manager.reexec import BLOCKED, Site, reexec, start_anew
from zygote.manager.reload import apply
from zygote.manager.runtime import RuntimeDir, prepare
from zygote.manager.targets import Asked
from zygote.manager.unit import State
from zygote.manager.watchdog import beat
from zygote.manager.works import Ground, Works
from zygote.sys import malloc, prctl

_ZYGOTE_LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said.

    Attributes:
        runtime_dir: "" leaves it to the fleet file.
        spawn_path: auto, clone3, clone or fork.
        ready_fd: gets one line of JSON when the start-up is decided; -1: nobody asked.
        log: where workers' output goes: "file" or "journal".
        resume: descriptor of the state of the manager that this process was before; -1: none.
    """

    fleet: str
    runtime_dir: str = ""
    spawn_path: str = "auto"
    ready_fd: int = -1
    log: str = "file"
    resume: int = -1

    def words(self) -> list[str]:
        """As a command line, without what holds for one process alone."""
        given = [("--fleet", self.fleet), ("--runtime-dir", self.runtime_dir),
                 ("--spawn-path", self.spawn_path), ("--log", self.log)]  # fmt: skip
        return [word for pair in given if pair[1] for word in pair]


class App:
    """One manager and its fleet."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.events = EventLog()
        self.fleet: Fleet
        self._loop = asyncio.get_running_loop()
        self._started_at = time.time()
        self._env = request.base_env(os.environ)
        self._stopping = asyncio.Event()
        self._notices: dict[str, str] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._verbs: set[asyncio.Task[Any]] = set()
        self._serves = self._reexecs = False
        self._reaper: Reaper
        self._closers = contextlib.ExitStack()
        self._reloading = asyncio.Lock()
        self._children = Children()
        self._stat: tuple[int, int, int] | None = None
        self._works: Works | None = None
        self._control: Control | None = None
        self._answer = Answer(options.ready_fd)
        self._nofile = raise_nofile()

    async def run(self) -> int:
        """Start the fleet, serve until asked to stop, stop the fleet; returns the exit code."""
        self._loop.set_exception_handler(self._unforeseen)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.shutdown)
        if self.options.resume < 0:  # blocked where this process was a manager that came to grief
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        prctl.set_child_subreaper()
        with self._closers:
            asked = asyncio.ensure_future(self._stopping.wait())
            start = asyncio.ensure_future(self._start())
            await asyncio.wait({asked, start}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                start.cancel()
            code = await self._outcome(start)
            served = code == Exit.DONE
            if served:
                await asked
            asked.cancel()
            await self._down(served=served)
            return code

    async def _outcome(self, start: asyncio.Future[None]) -> int:
        """How the start-up ended, as an exit code; told to whoever started us."""
        try:
            await start
        except asyncio.CancelledError:
            self._answer.refuse(_stopped())
        except ZygoteError as error:
            return self._answer.refuse(error)
        except Exception as error:
            traceback.print_exc()
            text = "the start-up failed in a way that was not foreseen"
            return self._answer.refuse(ZygoteError(f"{text}: {error!r}", code="internal"))
        return Exit.DONE

    # The control interface: see `zygote.control.interface`

    def status(self) -> ManagerState:
        """The manager itself."""
        works = self._running
        rolling = [f"a reload is under way: {works.reloads.under_way}"]
        return ManagerState(
            version=__version__,
            pid=os.getpid(),
            fleet=self.fleet.name,
            file=self.fleet.file,
            runtime_dir=str(works.runtime.path),
            log_dir=str(works.logs.path("x").parent),
            started_at=self._started_at,
            python=sys.version.split()[0],
            spawns=works.spawner.count,
            limits=works.leaves.summary,
            notices=[
                *self.fleet.warnings,
                *self._notices.values(),
                *(rolling if works.reloads.under_way else ()),
                *works.notices(),
            ],
            fleet_changed=self._stat != _stat_of(self.fleet.file),
            stopping=self._stopping.is_set(),
        )

    def zygote_states(self) -> list[ZygoteState]:
        """All zygotes."""
        works = self._running
        specs = [worker.unit.spec for worker in works.workers.all()]
        return [
            slot.state([s for s in specs if s.zygote == name and s.is_copy], self._env)
            for name, slot in works.zygotes.slots.items()
        ]

    def worker_states(self, names: list[str] | None) -> list[WorkerState]:
        """Workers in start order.

        Raises:
            ZygoteError: code no-such-worker.
        """
        workers = self._running.workers
        if names is None:
            return [worker.view() for worker in workers.all()]
        chosen = {worker.name for name in names for worker in workers.match(name)}
        return [worker.view() for worker in workers.all() if worker.name in chosen]

    async def start_workers(
        self, names: list[str], wait: str = "ready", timeout: float | None = None
    ) -> list[Result]:
        """Start workers and wait for them."""
        self._check_not_stopping()
        return await self._running.workers.start(names, wait, timeout)

    async def stop_workers(self, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop workers and keep them stopped."""
        return await self._running.workers.stop(names, timeout)

    async def restart_workers(self, names: list[str], timeout: float | None = None) -> list[Result]:
        """Stop, then start."""
        self._check_not_stopping()
        return await self._running.workers.restart(names, timeout)

    def kill_workers(self, names: list[str], signal: str) -> list[Result]:
        """Send a signal to main processes."""
        return self._running.workers.kill(names, signal)

    async def run_program(self, **how: Any) -> tuple[int, asyncio.Future[int]]:
        """`zygotectl run`; see `Programs.run`."""
        self._check_not_stopping()
        return await self._running.programs.run(**how)

    def hang_up(self, pid: int) -> None:
        """The caller of a program is gone."""
        self._running.programs.hang_up(pid)

    async def reload(self) -> list[str]:
        """Read the fleet file again; one line for each change made or pending.

        Raises:
            FleetFileError: it is wrong; the fleet stays as it is.
        """
        self._check_not_stopping()
        works = self._running
        works.reloads.check_none()
        async with self._reloading:
            stat = _stat_of(self.options.fleet)
            try:
                fleet = await check(self.options.fleet, self._children, self._env)
            except ZygoteError as error:
                self._notices["reload"] = f"the fleet file was not taken: {error.message}"
                self.events.emit("reload-failed", "manager", detail=error.message)
                raise
            self._notices.pop("reload", None)
            self.fleet, self._stat = fleet, stat
            changes = apply(fleet, works.workers, works.zygotes)
        for name in changes.new_zygotes:
            works.zygotes.slots[name].keep()
        for line in changes.lines:
            self.events.emit("reload", "manager", detail=line)
        if changes.stop:
            self._spawn_task(works.workers.stop([worker.name for worker in changes.stop]))
        if changes.start:
            self._spawn_task(works.workers.start(changes.start, "no"))
        return changes.lines

    async def roll(
        self, zygotes: list[str], workers: list[str], force: bool
    ) -> AsyncIterator[RollStep]:
        """Bake zygotes anew and move workers over; see `Reloads.run`."""
        self._check_not_stopping()
        asked = Asked(zygotes, workers, force)
        async for step in self._running.reloads.run(asked, self.fleet):
            if step.step == "done":
                self._notices.pop("reload-cut", None)
            yield step

    async def reexec(self, timeout: float) -> NoReturn:
        """Become the code that is on disk now, in this process. See `zygote.manager.reexec`.

        Args:
            timeout: seconds for calls in progress to be answered.
        Raises:
            ZygoteError: why not; then all is as it was.
        """
        self._check_not_stopping()
        works = self._running
        if not self._serves or self._control is None:
            raise ZygoteError("the manager is starting", code="starting")
        works.reloads.check_none()
        if self._reexecs:
            raise ZygoteError("a reexec is under way", code="reexec-refused", step="reexec",
                              hint="zygotectl events -f tells when it is done")  # fmt: skip
        site = Site(
            works, self._control, self._children, self._reaper, self.events,
            self.options.words(), self._about, self._busy,
        )  # fmt: skip
        self._reexecs = True
        try:
            await reexec(site, timeout)
        finally:
            self._reexecs = False

    async def refork(self, worker: str, move: bool) -> AsyncIterator[RollStep]:
        """Fork a warm worker to be the next generation of its zygote; see `Reloads.run`."""
        self._check_not_stopping()
        async for step in self._running.reloads.run(Asked(mold=worker, move=move), self.fleet):
            yield step

    def shutdown(self) -> None:
        """Stop everything and end. Returns at once."""
        self._stopping.set()

    # Start

    async def _start(self) -> None:
        reaper = self._reaper = Reaper(self._loop, self._children, self._broken, self._last_words)
        self._closers.callback(reaper.close)
        self._loop.add_signal_handler(signal.SIGCHLD, reaper.sweep)
        resumes = self.options.resume >= 0
        if resumes:
            await self._resume()
            results = []
        else:
            results = await self._begin()
        works = self._running
        self._loop.add_signal_handler(signal.SIGHUP, self._hup)
        self._spawn_task(works.logs.rotate_loop(works.bounds), endless=True)
        self._spawn_task(works.keep_budgets(), endless=True)
        self._spawn_task(beat(works.summary), endless=True)
        # What lives now lives as long as the manager: the collector need not walk it again.
        gc.collect()
        gc.freeze()
        malloc.trim()
        if not resumes:
            self.events.emit("serving", "manager", os.getpid(), works.summary())
        notify.ready(works.summary())
        control = str(works.runtime.control_socket)
        self._answer.accept(os.getpid(), str(works.runtime.path), control, results)
        self._serves = True
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)

    async def _begin(self) -> list[Result]:
        """Start the fleet, or what a manager that was killed has left to start of it."""
        self._stat = _stat_of(self.options.fleet)
        self.fleet = await check(self.options.fleet, self._children, self._env)
        folder = self._choose_runtime_dir()
        handed = Handed.take(os.environ)
        handed.check(folder)
        works = self._make_works(prepare(folder, handed.names()), handed)
        # Before any worker can write anew: what an earlier manager left.
        found = works.state.read_all()
        await self._open_control(works, handed.pop(CONTROL))
        adoption = adopt_all(found, works.workers, works.parts, self._children)
        errors = await works.zygotes.bake_all()
        if errors and not adoption.adopted:
            raise _BakeError(errors)
        works.zygotes.keep()
        if cut := works.reloads.take_marker():
            self._notices["reload-cut"] = cut
            self.events.emit("reload-cut", "manager", detail=cut)
        if adoption.removed:
            self._spawn_task(works.workers.stop([worker.name for worker in adoption.removed]))
        return await works.autostart(adoption)

    async def _resume(self) -> None:
        """Go on from where the manager was that this process has been. See `reexec`."""
        data: dict[str, Any] = {}
        try:
            before = handover.read(self.options.resume)
            os.close(self.options.resume)
            data, self.fleet = before.data, before.fleet
            self.events.take_over(data["events"])
            self._started_at, self._notices = data["started_at"], data["notices"]
            self._stat = tuple(data["stat"]) if data["stat"] else None
            self._nofile = (data["nofile"][0], data["nofile"][1])
            for name in ("lock", "notify", "listener"):
                os.set_inheritable(data[name], False)
            held = frozenset(data["held"])
            works = self._make_works(
                RuntimeDir(Path(data["runtime"]), data["lock"], held),
                Handed({NOTIFY: socket.socket(fileno=data["notify"])}),
            )
            programs = carried.arrive(data, works, self._children, self._reaper)
            works.zygotes.keep()
            report = carried.report(data, time.monotonic())
            listener = socket.socket(fileno=data["listener"])
            control = await self._open_control(works, listener, ours=CONTROL not in held)
            calls = Calls(self.events, data["events"]["seq"], programs, self.hang_up, report)
            control.take_over(data["connections"], calls.carry)
            for pid in programs:  # their callers have left
                self.hang_up(pid)
        except Exception:
            # Workers live on, and stand in the state files.
            traceback.print_exc()
            start_anew(self.options.words(), data)
        self.events.emit("reexec", "manager", os.getpid(), carried.told(report))

    def _make_works(self, runtime: RuntimeDir, handed: Handed) -> Works:
        setproctitle.setproctitle(f"zygote-manager: {self.fleet.name}")
        self._closers.callback(runtime.close)
        ground = Ground(
            loop=self._loop, events=self.events, children=self._children, reaper=self._reaper,
            env=self._env, spawn_path=self.options.spawn_path, nofile=self._nofile,
            state_trouble=self._state_trouble, closers=self._closers, handed=handed,
            log=self.options.log,
        )  # fmt: skip
        self._works = Works(self.fleet, runtime, ground)
        return self._works

    async def _open_control(
        self, works: Works, listener: socket.socket | None, *, ours: bool = False
    ) -> Control:
        workers = works.workers
        inside = Insiders(
            self._children,
            lambda: (w.unit.spec for w in workers.all()),
            lambda: [w.name for w in workers.all() if w.unit.state is State.STARTING],
            works.state.recorded_pid,
        )
        control = self._control = Control(
            self, works.runtime.control_socket, works.peers, listener=listener, ours=ours,
            limit=inside.limit,
        )  # fmt: skip
        await control.start()
        self._closers.callback(control.close)
        self._write_about(works)
        return control

    def _choose_runtime_dir(self) -> Path:
        fleet = self.fleet
        return choose_runtime_dir(fleet.name, fleet.runtime_dir, self.options.runtime_dir)

    def _write_about(self, works: Works) -> None:
        """manager.json: for people who look into the folder, and for tools without Varlink."""
        about = {"pid": os.getpid(), "fleet": self.fleet.name, "file": self.fleet.file,
                 "version": __version__, "started_at": self._started_at}  # fmt: skip
        path = works.runtime.path / "manager.json"
        try:
            path.write_text(json.dumps(about) + "\n")
        except OSError as error:
            self._state_trouble(f"{path}: {error.strerror}")
        self._closers.callback(lambda: path.unlink(missing_ok=True))

    # Stop

    async def _down(self, *, served: bool) -> None:
        """Stop what runs, in reverse order, and leave nothing behind."""
        self._stopping.set()
        notify.stopping("stopping")
        self.events.emit("stopping", "manager", os.getpid())
        works = self._works
        if works:
            await works.reloads.close()
            await works.end()
            if served:
                works.forget()
        for task in self._background:
            task.cancel()
        if works:
            await works.zygotes.end()
        self.events.emit("ended", "manager", os.getpid())
        if self._control:
            self._control.close()
            await self._control.wait_closed()

    # What happens

    def _last_words(self) -> None:
        if self._works:
            self._works.last_words()

    def _broken(self, child: Child, error: BaseException) -> None:
        if self._works:
            self._works.broken(child, error)
        else:
            self._unforeseen(self._loop, {"exception": error})

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception in a callback: told, and the fleet goes on."""
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)).strip() if error else context["message"]
        self.events.emit("internal-error", "manager", os.getpid(), text)

    def _hup(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(ZygoteError):  # told as an event and a notice
                await self.reload()

        self._spawn_task(reload())

    def _about(self) -> dict[str, Any]:
        """What of this object another manager in this process has to know."""
        works = self._running
        return {
            "fleet": self.fleet.to_json(),
            "stat": self._stat,
            "started_at": self._started_at,
            "notices": self._notices,
            "nofile": self._nofile,
            "runtime": str(works.runtime.path),
            "held": sorted(works.runtime.held),
        }

    def _busy(self) -> str:
        """What of our own doing is not done, or ""."""
        if self._stopping.is_set():
            return "it is stopping"
        if self._reloading.locked():
            return "the fleet file is being read"
        if reload := self._running.reloads.under_way:
            return f"a reload is under way: {reload}"
        return f"{len(self._verbs)} changes of a reload are under way" if self._verbs else ""

    def _state_trouble(self, line: str) -> None:
        if not line:
            self._notices.pop("state", None)
            return
        self._notices["state"] = f"state cannot be written: {line}; a new manager may not know all"
        self.events.emit("state-trouble", "manager", os.getpid(), line)

    def _spawn_task(self, work: Coroutine[Any, Any, Any], *, endless: bool = False) -> None:
        task = self._loop.create_task(work)
        self._background.add(task)
        if not endless:
            self._verbs.add(task)

        def done(finished: asyncio.Task[Any]) -> None:
            self._background.discard(finished)
            self._verbs.discard(finished)
            if not finished.cancelled() and (error := finished.exception()):
                self._unforeseen(self._loop, {"exception": error})

        task.add_done_callback(done)

    @property
    def _running(self) -> Works:
        if self._works is None:
            raise ZygoteError("the manager is starting", code="starting")
        return self._works

    def _check_not_stopping(self) -> None:
        if self._stopping.is_set():
            raise _stopped()


class _BakeError(ZygoteError):
    """Zygotes could not be baked: the fleet does not half-start."""

    def __init__(self, errors: list[ZygoteError]) -> None:
        super().__init__(errors[0].message, code="bake-failed")
        self.errors = errors


def _stopped() -> ZygoteError:
    return ZygoteError("the manager is stopping", code="stopping", exit_code=Exit.NOT_RUNNING)


def _stat_of(file: str) -> tuple[int, int, int] | None:
    """What changes when a file does; reading and hashing it would cost OpenSSL's megabytes."""
    try:
        stat = Path(file).stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
