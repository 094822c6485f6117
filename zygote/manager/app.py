"""The manager: wires the parts, starts the fleet, and stops it in reverse order.

What it answers when it is called is in `methods`; what there is once the fleet is known in `works`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Any

import setproctitle

from zygote import __version__, notify
from zygote.control.interface import Result
from zygote.errors import Exit, ZygoteError
from zygote.fleet.where import choose_runtime_dir
from zygote.manager import carried, handover, request
from zygote.manager.adopt import adopt_all
from zygote.manager.answer import Answer
from zygote.manager.background import Background
from zygote.manager.calls import Calls
from zygote.manager.children import Child, Children
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.floor import raise_nofile
from zygote.manager.handed import CONTROL, NOTIFY, Handed
from zygote.manager.insiders import Insiders
from zygote.manager.methods import Methods, stopped
from zygote.manager.options import Options
from zygote.manager.reaper import Reaper
from zygote.manager.reexec import BLOCKED, start_anew
from zygote.manager.runtime import RuntimeDir, prepare
from zygote.manager.unit import State
from zygote.manager.watchdog import beat
from zygote.manager.works import Ground, Works
from zygote.sys import malloc, prctl

_TROUBLES = {
    "state": "a new manager may not know all",
    "prints": "whether some zygotes are older than their files is not known",
}
"""What may be in trouble, and what follows."""


class App:
    """One manager and its fleet."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.events = EventLog()
        self._loop = asyncio.get_running_loop()
        self._env = request.base_env(os.environ)
        self._closers = contextlib.ExitStack()
        self._children = Children()
        self._reaper = Reaper(self._loop, self._children, self._broken, self._last_words)
        self._background = Background(self._loop, self._failed)
        self._methods = Methods(
            options, self.events, self._children, self._reaper, self._background, self._env,
            raise_nofile(),
        )  # fmt: skip
        self._answer = Answer(options.ready_fd)

    async def run(self) -> int:
        """Start the fleet, serve until asked to stop, stop the fleet; returns the exit code."""
        self._loop.set_exception_handler(self._unforeseen)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._methods.shutdown)
        if self.options.resume < 0:  # blocked where this process was a manager that came to grief
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        prctl.set_child_subreaper()
        with self._closers:
            asked = asyncio.ensure_future(self._methods.stopping.wait())
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
            self._answer.refuse(stopped())
        except ZygoteError as error:
            return self._answer.refuse(error)
        except Exception as error:
            traceback.print_exc()
            text = "the start-up failed in a way that was not foreseen"
            return self._answer.refuse(ZygoteError(f"{text}: {error!r}", code="internal"))
        return Exit.DONE

    # Start

    async def _start(self) -> None:
        self._closers.callback(self._reaper.close)
        self._loop.add_signal_handler(signal.SIGCHLD, self._reaper.sweep)
        resumes = self.options.resume >= 0
        results: list[Result] = []
        if resumes:
            works = await self._resume()
        else:
            works, results = await self._begin()
        self._loop.add_signal_handler(signal.SIGHUP, self._hup)
        self._background.keep(lambda: works.logs.rotate_loop(works.bounds))
        self._background.keep(works.keep_budgets)
        self._background.keep(lambda: beat(works.summary))
        # What lives now lives as long as the manager: the collector need not walk it again.
        gc.collect()
        gc.freeze()
        malloc.trim()
        if not resumes:
            self.events.emit("serving", "manager", os.getpid(), works.summary())
        notify.ready(works.summary())
        runtime = works.runtime
        self._answer.accept(os.getpid(), str(runtime.path), str(runtime.control_socket), results)
        self._methods.serves = True
        signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)

    async def _begin(self) -> tuple[Works, list[Result]]:
        """Start the fleet, or what a manager that was killed has left to start of it."""
        methods = self._methods
        await methods.read_fleet()
        fleet = methods.fleet
        folder = choose_runtime_dir(fleet.name, fleet.runtime_dir, self.options.runtime_dir)
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
            methods.notices["reload-cut"] = cut
            self.events.emit("reload-cut", "manager", detail=cut)
        if adoption.removed:
            names = [worker.name for worker in adoption.removed]
            self._background.spawn(works.workers.stop(names))
        return works, await works.autostart(adoption)

    async def _resume(self) -> Works:
        """Go on from where the manager was that this process has been. See `reexec`."""
        data: dict[str, Any] = {}
        try:
            before = handover.read(self.options.resume)
            os.close(self.options.resume)
            data = before.data
            self.events.take_over(data["events"])
            self._methods.take_over(data, before.fleet)
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
            hang_up = self._methods.hang_up
            calls = Calls(self.events, data["events"]["seq"], programs, hang_up, report)
            control.take_over(data["connections"], calls.carry)
            for pid in programs:  # their callers have left
                hang_up(pid)
        except Exception:
            # Workers live on, and stand in the state files.
            traceback.print_exc()
            start_anew(self.options.words(), data)
        self.events.emit("reexec", "manager", os.getpid(), carried.told(report))
        return works

    def _make_works(self, runtime: RuntimeDir, handed: Handed) -> Works:
        methods = self._methods
        setproctitle.setproctitle(f"zygote-manager: {methods.fleet.name}")
        self._closers.callback(runtime.close)
        ground = Ground(
            loop=self._loop, events=self.events, children=self._children, reaper=self._reaper,
            env=self._env, spawn_path=self.options.spawn_path, nofile=methods.nofile,
            trouble=self._trouble, closers=self._closers, handed=handed,
            log=self.options.log,
        )  # fmt: skip
        works = methods.works = Works(methods.fleet, runtime, ground)
        return works

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
        control = self._methods.control = Control(
            self._methods, works.runtime.control_socket, works.peers, listener=listener, ours=ours,
            limit=inside.limit,
        )  # fmt: skip
        await control.start()
        self._closers.callback(control.close)
        self._write_about(works)
        return control

    def _write_about(self, works: Works) -> None:
        """manager.json: for people who look into the folder, and for tools without Varlink."""
        methods = self._methods
        about = {"pid": os.getpid(), "fleet": methods.fleet.name, "file": methods.fleet.file,
                 "version": __version__, "started_at": methods.started_at}  # fmt: skip
        works.state.write_manager(about)
        self._closers.callback(works.state.forget_manager)

    # Stop

    async def _down(self, *, served: bool) -> None:
        """Stop what runs, in reverse order, and leave nothing behind."""
        self._methods.stopping.set()
        notify.stopping("stopping")
        self.events.emit("stopping", "manager", os.getpid())
        works, control = self._methods.works, self._methods.control
        if works:
            await works.reloads.close()
            await works.end()
            if served:
                works.forget()
        self._background.cancel()
        if works:
            await works.zygotes.end()
        self.events.emit("ended", "manager", os.getpid())
        if control:
            control.close()
            await control.wait_closed()

    # What happens

    def _hup(self) -> None:
        async def reload() -> None:
            with contextlib.suppress(ZygoteError):  # told as an event and a notice
                await self._methods.reload()

        self._background.spawn(reload())

    def _last_words(self) -> None:
        if works := self._methods.works:
            works.last_words()

    def _broken(self, child: Child, error: BaseException) -> None:
        if works := self._methods.works:
            works.broken(child, error)
        else:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        self._unforeseen(self._loop, {"exception": error})

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception in a callback: told, and the fleet goes on."""
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)).strip() if error else context["message"]
        self.events.emit("internal-error", "manager", os.getpid(), text)

    def _trouble(self, about: str, line: str) -> None:
        """Something in the runtime folder cannot be written; "": it can again."""
        notices = self._methods.notices
        if not line:
            notices.pop(about, None)
            return
        notices[about] = f"{about} cannot be written: {line}; {_TROUBLES[about]}"
        self.events.emit("state-trouble", "manager", os.getpid(), line)


class _BakeError(ZygoteError):
    """Zygotes could not be baked: the fleet does not half-start."""

    def __init__(self, errors: list[ZygoteError]) -> None:
        super().__init__(errors[0].message, code="bake-failed")
        self.errors = errors
