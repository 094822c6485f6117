"""The methods of io.zygote.Manager, each passed on to the manager's `Methods`."""

# No `from __future__ import annotations`: asyncvarlink reads the live annotations.

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import NoReturn, Protocol

from asyncvarlink import FileDescriptor, LastResult, varlinkmethod

from zygote.control.interface import (
    Event,
    ManagerInterface,
    ManagerState,
    ReexecReport,
    Result,
    RollStep,
    RunReport,
    WorkerState,
    ZygoteState,
)
from zygote.errors import Exit, ZygoteError
from zygote.manager.events import EventLog

WAITS = ("no", "up", "ready")


class App(Protocol):
    """What the control socket needs of the manager."""

    events: EventLog

    def status(self) -> ManagerState: ...

    def zygote_states(self) -> list[ZygoteState]: ...

    def worker_states(self, names: list[str] | None) -> list[WorkerState]: ...

    async def start_workers(
        self, names: list[str], wait: str, timeout: float | None
    ) -> list[Result]: ...

    async def stop_workers(self, names: list[str], timeout: float | None) -> list[Result]: ...

    async def restart_workers(self, names: list[str], timeout: float | None) -> list[Result]: ...

    def kill_workers(self, names: list[str], signal: str) -> list[Result]: ...

    async def reload(self) -> list[str]: ...

    def roll(
        self, zygotes: list[str], workers: list[str], force: bool
    ) -> AsyncIterator[RollStep]: ...

    async def reexec(self, timeout: float) -> NoReturn: ...

    def refork(self, worker: str, move: bool) -> AsyncIterator[RollStep]: ...

    def shutdown(self) -> None: ...

    async def run_program(
        self,
        *,
        zygote: str | None,
        kind: str,
        target: str,
        args: list[str],
        env: dict[str, str],
        cwd: str,
        umask: int,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> tuple[int, asyncio.Future[int]]:
        """Start a program; its pid and the future of its `wait` status. The fds stay ours."""

    def hang_up(self, pid: int) -> None:
        """Its terminal is gone: SIGHUP, SIGKILL after a grace. Quiet if it has ended."""


class Caller(ManagerInterface):
    """The interface as one connection gets it. Who may call what was checked before."""

    def __init__(self, app: App) -> None:
        self._app = app

    @classmethod
    def render_interface_description(cls, *, comments: bool = True) -> str:
        """The contract's own text, with its comments, and not ours."""
        return ManagerInterface.render_interface_description(comments=comments)

    @varlinkmethod(return_parameter="status")
    def Status(self) -> ManagerState:
        return self._app.status()

    @varlinkmethod(return_parameter="zygotes")
    def Zygotes(self) -> list[ZygoteState]:
        return self._app.zygote_states()

    @varlinkmethod(return_parameter="workers")
    def List(self, *, names: list[str] | None = None) -> list[WorkerState]:
        return self._app.worker_states(names)

    @varlinkmethod(return_parameter="results")
    async def Spawn(
        self, *, names: list[str], wait: str | None = None, timeout: float | None = None
    ) -> list[Result]:
        if wait is not None and wait not in WAITS:
            raise _usage(f"wait: {wait!r}", f"one of {', '.join(WAITS)}")
        return await self._app.start_workers(names, wait or "ready", timeout)

    @varlinkmethod(return_parameter="results")
    async def Stop(self, *, names: list[str], timeout: float | None = None) -> list[Result]:
        return await self._app.stop_workers(names, timeout)

    @varlinkmethod(return_parameter="results")
    async def Restart(self, *, names: list[str], timeout: float | None = None) -> list[Result]:
        return await self._app.restart_workers(names, timeout)

    @varlinkmethod(return_parameter="results")
    def Kill(self, *, names: list[str], signal: str) -> list[Result]:
        return self._app.kill_workers(names, signal)

    @varlinkmethod(return_parameter="event", delay_generator=False)
    async def Events(self, *, follow: bool = True, last: int = 0) -> AsyncIterator[Event]:
        log = self._app.events
        if follow:
            async with aclosing(log.follow(last)) as events:
                async for event in events:
                    yield event
        # A stream has at least one reply, so the last event is given where none was asked for.
        past = log.since(max(1, last))
        if not past:
            raise ZygoteError("there is no event yet", code="no-events", hint="follow them")
        for event in past[:-1]:
            yield event
        raise LastResult(past[-1])

    @varlinkmethod(return_parameter="changes")
    async def Reload(self) -> list[str]:
        return await self._app.reload()

    @varlinkmethod(return_parameter="step", delay_generator=False)
    async def Roll(
        self,
        *,
        zygotes: list[str] | None = None,
        workers: list[str] | None = None,
        force: bool = False,
    ) -> AsyncIterator[RollStep]:
        async for step in self._app.roll(zygotes or [], workers or [], force):
            if step.step == "done":
                raise LastResult(step)
            yield step

    @varlinkmethod(return_parameter="report")
    async def Reexec(self, *, timeout: float | None = None) -> ReexecReport:
        await self._app.reexec(30.0 if timeout is None else timeout)

    @varlinkmethod(return_parameter="step", delay_generator=False)
    async def Refork(self, *, worker: str, move: bool = False) -> AsyncIterator[RollStep]:
        async for step in self._app.refork(worker, move):
            if step.step == "done":
                raise LastResult(step)
            yield step

    @varlinkmethod
    def Shutdown(self) -> None:
        self._app.shutdown()

    @varlinkmethod(return_parameter="report", delay_generator=False)
    async def Run(
        self,
        *,
        zygote: str | None,
        kind: str,
        target: str,
        args: list[str],
        env: dict[str, str],
        cwd: str,
        umask: int,
        stdin: FileDescriptor,
        stdout: FileDescriptor,
        stderr: FileDescriptor,
    ) -> AsyncIterator[RunReport]:
        stdio = (stdin, stdout, stderr)
        try:
            pid, ended = await self._app.run_program(
                zygote=zygote,
                kind=kind,
                target=target,
                args=args,
                env=env,
                cwd=cwd,
                umask=umask,
                stdin=stdin.fileno(),
                stdout=stdout.fileno(),
                stderr=stderr.fileno(),
            )
        finally:
            for fd in stdio:
                fd.close()  # else who reads its output would wait for us, too
        try:
            yield RunReport(pid=pid)
            status = await asyncio.shield(ended)
        finally:
            if not ended.done():
                self._app.hang_up(pid)
        raise LastResult(run_report(pid, status))


def run_report(pid: int, status: int) -> RunReport:
    """How a program ended, of its `wait` status."""
    if os.WIFSIGNALED(status):
        return RunReport(pid=pid, signal=os.WTERMSIG(status))
    return RunReport(pid=pid, code=os.waitstatus_to_exitcode(status))


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
