"""What the control socket's tests serve: a small `App` with a real event log and real programs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.support.varlink_raw import Raw
from zygote.control.interface import (
    ManagerState,
    Result,
    WorkerState,
    ZygoteState,
)
from zygote.errors import Exit, ZygoteError
from zygote.manager.control import Control
from zygote.manager.events import EventLog
from zygote.manager.peers import Peers


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


class Served:
    """A running control socket, its app, and where it is."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.app = SmallApp()
        self.peers: Peers | None = None
        self.options: dict[str, float] = {}

    async def start(self, **options: object) -> Served:
        self.control = Control(self.app, self.path, **options)  # type: ignore[arg-type]
        await self.control.start()
        return self

    async def is_served(self) -> bool:
        """Whether another client gets its answer now."""
        async with Raw(self.path) as other:
            return len((await other.ask("List"))["parameters"]["workers"]) == len(self.app.workers)

    async def until_connections(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.control.connections != count:
                await asyncio.sleep(0.005)


def reachable(path: Path) -> None:
    """Let others pass through the test's own folders, as a runtime folder lets them."""
    for folder in path.parents:
        if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 1:
            folder.chmod(folder.stat().st_mode | 0o011)


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Served]:
    """One that is closed at the end, whatever was done to it, and leaves nothing open."""
    made = Served(folder)
    yield made
    made.control.close()
    await made.control.wait_closed()
    assert not made.path.exists()
    gc.collect()  # an unclosed descriptor or a coroutine never awaited fails here, not elsewhere
