"""`zygotectl up`: start the manager and its fleet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.events import printer, show_json
from zygote.cli.options import Json
from zygote.cli.progress import Progress, settle
from zygote.cli.results import tell
from zygote.client.api import Client
from zygote.client.start import LOG_NAME, Starting, start_manager
from zygote.control.interface import Result, WorkerState
from zygote.errors import Exit, ZygoteError

Detach = Annotated[
    bool,
    Parameter(
        name=["--detach", "-d"], show_default=False,
        help="Leave the manager to itself; what it says goes to manager.log in its folder.",
    ),
]  # fmt: skip


def up(*, detach: Detach = False, as_json: Json = False) -> int:
    """Start the manager: it bakes the zygotes, then starts the workers.

    It stays in the foreground and shows what happens; Ctrl-C stops the fleet
    in order. With --detach it returns as soon as the workers are ready, with
    exit code 1 if one of them is not.
    """
    fleet = current.fleet_file()
    if current.before_up:
        current.before_up()
    try:
        runtime: Path | None = current.runtime_dir()
    except ZygoteError:
        runtime = None  # the manager reads the whole file and tells all that is wrong with it
    return asyncio.run(_Up(fleet, runtime, detach, as_json).run())


class _Up:
    """One start, from the process to its end (or to its being ready, detached)."""

    def __init__(self, fleet: Path, runtime: Path | None, detach: bool, as_json: bool) -> None:
        self._fleet = fleet
        self._runtime = runtime
        self._detach = detach
        self._json = as_json
        self._asked = 0
        self._stop = asyncio.Event()

    async def run(self) -> int:
        starting = start_manager(self._fleet, self._runtime, detach=self._detach)
        ended = asyncio.ensure_future(_ended(starting.process.pid))
        self._catch_signals(starting)
        try:
            answer = await self._wait_for_answer(starting, ended)
            if not answer:
                return await self._refused(starting, ended)
            return await self._running(answer, starting, ended)
        finally:
            ended.cancel()
            starting.close()

    async def _running(
        self, answer: dict[str, Any], starting: Starting, ended: asyncio.Future[None]
    ) -> int:
        control = Path(answer["control"])
        if self._detach:
            workers = await self._settled(control, ended)
            return self._tell_ready(answer, workers)
        self._tell_ready(answer, None)
        shown = asyncio.ensure_future(self._show_events(control))
        await ended
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(shown, 5.0)  # what is still on its way
        code = starting.process.wait()
        if code < 0:
            name = current.program
            sys.stderr.write(f"{name}: the manager was killed by signal {-code}; its workers "
                             f"live on: {name} up adopts them\n")  # fmt: skip
            return 128 - code
        if not self._json:
            render.heading("the fleet has stopped", "")
        return code

    async def _wait_for_answer(
        self, starting: Starting, ended: asyncio.Future[None]
    ) -> dict[str, Any]:
        line = asyncio.ensure_future(_read_line(starting.answer_fd))
        quiet = self._json
        with Progress(f"starting the fleet of {self._fleet.name}", quiet=quiet) as progress:
            shown = asyncio.ensure_future(progress.follow_bake(self._runtime))
            try:
                said = await line
            finally:
                shown.cancel()
        answer, self._errors = starting.read_answer(said)
        return answer

    async def _refused(self, starting: Starting, ended: asyncio.Future[None]) -> int:
        """It does not start: say why, in full."""
        await ended
        code = starting.process.wait()
        if self._asked:
            sys.stderr.write(f"{current.program}: interrupted; nothing runs\n")
            return Exit.INTERRUPTED
        if self._json:
            errors = [e.as_dict() | {"traceback": trace} for e, trace in self._errors]
            sys.stdout.write(json.dumps({"ok": False, "errors": errors}) + "\n")
        else:
            for error, trace in self._errors:
                if trace:
                    sys.stderr.write(report.indented(trace))
                told = report.located if error.place else report.text
                sys.stderr.write(told(error))
        return code if code > 0 else self._errors[0][0].exit_code

    async def _settled(self, control: Path, ended: asyncio.Future[None]) -> list[WorkerState]:
        """The workers once each is ready, or is known not to be."""
        with Progress("starting the workers", quiet=self._json) as progress:
            async with await Client.connect(control) as manager:
                return await settle(manager, progress, self._stop)

    def _tell_ready(self, answer: dict[str, Any], workers: list[WorkerState] | None) -> int:
        """That it runs; returns the exit code: 1 if a worker that should run does not."""
        failed = [Result(**parts) for parts in answer["failed"]]
        known = {result.name for result in failed}
        for worker in workers or []:
            if worker.autostart and worker.name not in known and _is_amiss(worker):
                failed.append(
                    Result(worker.name, False, state=worker.state, hint=worker.hint,
                           error=worker.error or f"'{worker.name}' is {worker.state}, not ready")
                )  # fmt: skip
        if self._json:
            ready = [worker.name for worker in workers or [] if worker.ready]
            more = {"ready": ready} if workers is not None else {}
            failures = [{"name": each.name, "error": each.error, "hint": each.hint}
                        for each in failed]  # fmt: skip
            said = {**answer, **more, "failed": failures}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
            return Exit.FAILED if failed else Exit.DONE
        for result in failed:
            tell(result, lambda _: "")
        if workers is not None:
            ready_count = sum(worker.ready for worker in workers)
            wanted = sum(worker.autostart for worker in workers)
            line = f"up: {ready_count} of {wanted} workers ready, manager pid {answer['pid']}"
            render.heading(line, "")
            if failed:
                where = Path(answer["runtime_dir"], LOG_NAME)
                sys.stderr.write(f"the fleet runs without them; see {current.program} status, "
                                 f"logs, or {where}\n")  # fmt: skip
        return Exit.FAILED if failed else Exit.DONE

    async def _show_events(self, control: Path) -> None:
        show = show_json if self._json else printer()
        with contextlib.suppress(ZygoteError):  # it ended; that is told elsewhere
            async with await Client.connect(control) as manager:
                async for event in manager.events(follow=True, last=1000):
                    show(event)

    def _catch_signals(self, starting: Starting) -> None:
        """Ctrl-C and a closed terminal stop the fleet; a second Ctrl-C leaves it to that."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._asked += 1
            self._stop.set()
            if self._asked == 1:
                with contextlib.suppress(ProcessLookupError):
                    starting.process.terminate()
                if sys.stderr.isatty():
                    sys.stderr.write("\nstopping the fleet (Ctrl-C again: do not wait for it)\n")
            else:
                sys.stderr.write(f"{current.program}: the manager (pid {starting.process.pid}) "
                                 "goes on stopping the fleet\n")  # fmt: skip
                sys.stderr.flush()
                os._exit(Exit.INTERRUPTED)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, stop)


def _is_amiss(worker: WorkerState) -> bool:
    """It should run and does not; one that has done its work is well."""
    return not worker.ready and not (worker.state == "inactive" and worker.last_end == "exited(0)")


async def _read_line(fd: int) -> bytes:
    """One line from a pipe; what there is when its other end closes."""
    reader = asyncio.StreamReader(limit=2**22)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(fd), "rb")
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


async def _ended(pid: int) -> None:
    """Until our child has ended; it is not reaped."""
    pidfd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(pidfd, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
