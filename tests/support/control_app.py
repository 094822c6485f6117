"""What the control socket's tests serve: a small `App` with a real event log and real programs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

from zygote.control.interface import ManagerState, Result, WorkerState, ZygoteState
from zygote.errors import Exit, ZygoteError
from zygote.manager.events import EventLog


class SmallApp:
    """Answers every method; `workers` says how many there are, `calls` what was asked for."""

    def __init__(self, workers: int = 3) -> None:
        self.events = EventLog(stream=None)
        self.workers = [f"w{number}" for number in range(workers)]
        self.calls: list[tuple[object, ...]] = []
        self.release = asyncio.Event()
        self.stopping = False
        self._pidfds: dict[int, int] = {}

    def status(self) -> ManagerState:
        return ManagerState("0", os.getpid(), "try", "f", "r", "l", time.time(), sys.executable)

    def zygote_states(self) -> list[ZygoteState]:
        return [ZygoteState("floor", "ready", pid=1)]

    def worker_states(self, names: list[str] | None) -> list[WorkerState]:
        unknown = set(names or ()) - set(self.workers)
        if unknown:
            raise ZygoteError(
                f"no worker is called '{unknown.pop()}'",
                code="no-such-worker",
                hint="zygotectl ps lists them",
                exit_code=Exit.NO_SUCH_WORKER,
            )
        return [WorkerState(name, "ready") for name in self.workers if not names or name in names]

    async def start_workers(
        self, names: list[str], wait: str, timeout: float | None
    ) -> list[Result]:
        self.calls.append(("start", names, wait, timeout))
        await self.release.wait()
        return [Result(name, True, pid=7) for name in names]

    async def stop_workers(self, names: list[str], timeout: float | None) -> list[Result]:
        raise OSError(28, "No space left on device")

    async def restart_workers(self, names: list[str], timeout: float | None) -> list[Result]:
        return [Result(name, True) for name in names]

    def kill_workers(self, names: list[str], signal: str) -> list[Result]:
        raise RuntimeError("a fault in the manager")

    async def reload(self) -> list[str]:
        return ["nothing changed"]

    def shutdown(self) -> None:
        self.stopping = True

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
        stdio = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate((stdin, stdout, stderr))]
        environ = {**os.environ, **env}
        program = [sys.executable, "-c", target, *args]
        pid = os.posix_spawn(program[0], program, environ, file_actions=stdio)  # noqa: ASYNC221
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()
        pidfd = os.pidfd_open(pid)

        def reap() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            ended.set_result(os.waitpid(pid, 0)[1])
            self.events.emit("ended", "run", pid)

        loop.add_reader(pidfd, reap)
        return pid, ended

    def hang_up(self, pid: int) -> None:
        self.events.emit("hangup", "run", pid)
        os.kill(pid, signal.SIGHUP)
