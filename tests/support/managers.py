"""A real manager with real zygotes and tiny workers, driven over its control socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from asyncvarlink import VarlinkClientProtocol, connect_unix_varlink

from zygote.control.interface import ManagerInterface

TINY = Path(__file__).parent / "tiny"
PATIENCE = 100.0
"""Seconds that a condition may take on a slow, crowded machine before the test fails."""

HEAD = f"""
[fleet]
name = "tiny"
[zygote.floor]
preload = ["tiny"]
path = ["{TINY}"]
"""


class Manager:
    """One manager process on a folder; may be killed and started again on the same one.

    Attributes:
        answer: the line that it wrote to --ready-fd.
        output: all it wrote to stderr so far.
    """

    def __init__(self, folder: Path, fleet: str, spawn_path: str = "auto") -> None:
        self.folder = folder
        self.run = folder / "run"
        self.file = folder / "fleet.toml"
        self.file.write_text(HEAD + fleet)
        self.spawn_path = spawn_path
        self.answer: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self.patience = PATIENCE
        self.prefix: tuple[str, ...] = ()
        """A command to start it through, which ends by exec."""
        self._stderr = folder / "manager.err"
        self._process: asyncio.subprocess.Process | None = None
        self._transport: Any = None
        self._proxy: Any = None

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def output(self) -> str:
        return self._stderr.read_text()

    async def start(self, *, code: int | None = None) -> Manager:
        """Start it and wait for its decision. `code`: it must refuse, and end with this code."""
        read, write = os.pipe()
        with open(self._stderr, "a") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *self.prefix, sys.executable, "-m", "zygote.manager", "--fleet", str(self.file),
                "--runtime-dir", str(self.run), "--spawn-path", self.spawn_path,
                "--ready-fd", str(write),
                pass_fds=(write,), stdin=asyncio.subprocess.DEVNULL, stderr=errors,
                cwd=self.folder, env={**os.environ, **self.env},
            )  # fmt: skip
        os.close(write)
        with open(read) as answer:
            line = await asyncio.wait_for(asyncio.to_thread(answer.readline), self.patience)
        assert line, f"the manager said nothing:\n{self.output}"
        self.answer = json.loads(line)
        if code is not None:
            assert await asyncio.wait_for(self._process.wait(), self.patience) == code, self.output
            return self
        assert self.answer.get("ok"), self.output
        await self.connect()
        return self

    async def connect(self) -> None:
        """Talk to it over its control socket."""
        socket = str(self.run / "control.sock")
        self._transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, socket)
        self._proxy = protocol.make_proxy(ManagerInterface)

    async def end(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process
        self._hang_up()
        if self._process.returncode is None:
            self._process.terminate()
        return await asyncio.wait_for(self._process.wait(), self.patience)

    async def kill(self) -> None:
        """SIGKILL: it has no time to do anything."""
        assert self._process
        self._hang_up()
        self._process.kill()
        await self._process.wait()

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    async def wait(self) -> int:
        """Until it ends; its exit code."""
        assert self._process
        return await asyncio.wait_for(self._process.wait(), self.patience)

    async def clean_up(self) -> None:
        """Whatever the test left: nothing of it shall live."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await self.end()
        if self._process and self._process.returncode is None:
            await self.kill()

    # Calls

    async def spawn(
        self, *names: str, wait: str = "ready", timeout: float | None = None
    ) -> list[Any]:
        return await self._results(self._proxy.Spawn(names=list(names), wait=wait, timeout=timeout))

    async def stop(self, *names: str, timeout: float | None = None) -> list[Any]:
        return await self._results(self._proxy.Stop(names=list(names), timeout=timeout))

    async def restart(self, *names: str) -> list[Any]:
        return await self._results(self._proxy.Restart(names=list(names)))

    async def send(self, name: str, number: str) -> list[Any]:
        return await self._results(self._proxy.Kill(names=[name], signal=number))

    async def status(self) -> Any:
        return (await self._patient(self._proxy.Status()))["status"]

    async def zygotes(self) -> list[Any]:
        return (await self._patient(self._proxy.Zygotes()))["zygotes"]

    async def workers(self) -> list[Any]:
        return (await self._patient(self._proxy.List()))["workers"]

    async def worker(self, name: str) -> Any:
        return (await self._patient(self._proxy.List(names=[name])))["workers"][0]

    async def reload(self) -> list[str]:
        return (await self._patient(self._proxy.Reload()))["changes"]

    async def reexec(self, timeout: float | None = None) -> Any:
        return (await self._patient(self._proxy.Reexec(timeout=timeout)))["report"]

    async def refork(self, worker: str, *, move: bool = False) -> list[Any]:
        """The steps, as objects; over a connection of its own, so that others can be asked."""
        socket = str(self.run / "control.sock")
        transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, socket)
        proxy: Any = protocol.make_proxy(ManagerInterface)
        try:
            async with asyncio.timeout(2 * self.patience):
                found = proxy.Refork(worker=worker, move=move)
                return [each["step"] async for each in found]
        finally:
            transport.close()

    async def events(self, last: int = 1000) -> list[Any]:
        found = self._proxy.Events(follow=False, last=last)
        return [each["event"] async for each in found]

    # Waiting

    async def until(self, name: str, condition: Callable[[Any], bool]) -> Any:
        """The state of a worker as soon as it is as it should be."""
        return await self.eventually(lambda: self.worker(name), condition)

    async def eventually(self, look: Callable[[], Any], condition: Callable[[Any], bool]) -> Any:
        """What `look` gives, as soon as it is as it should be."""
        seen = None
        try:
            async with asyncio.timeout(self.patience):
                while not condition(seen := await look()):
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"never came to pass; last seen: {seen}\n{self.output}") from None
        return seen

    async def lines(self, file: str, count: int = 1) -> list[str]:
        """The lines of a file that a tiny worker writes, once there are so many."""

        async def look() -> list[str]:
            path = self.folder / file
            text = path.read_text() if path.exists() else ""
            return text.split("\n")[:-1]

        return await self.eventually(look, lambda found: len(found) >= count)

    def touch(self, file: str, text: str = "") -> None:
        """Make a file that a tiny worker waits for, with its text from the first moment on."""
        draft = self.folder / f"{file}.draft"
        draft.write_text(text)
        draft.replace(self.folder / file)

    async def _results(self, call: Any) -> list[Any]:
        return (await self._patient(call))["results"]

    async def _patient(self, call: Any) -> Any:
        return await asyncio.wait_for(call, self.patience)

    def _hang_up(self) -> None:
        if self._transport:
            self._transport.close()
            self._transport = self._proxy = None


@contextlib.asynccontextmanager
async def managers(folder: Path) -> AsyncIterator[Callable[..., Manager]]:
    """Makes managers that do not outlive the test; on failure their output is shown."""
    made: list[Manager] = []

    def make(fleet: str, name: str = "m", spawn_path: str = "auto") -> Manager:
        home = folder / name
        home.mkdir(exist_ok=True)
        made.append(Manager(home, fleet, spawn_path))
        return made[-1]

    try:
        yield make
    finally:
        for manager in made:
            await manager.clean_up()
            print(manager.output)


def worker(name: str, what: str, *keys: str, args: Sequence[str] = ()) -> str:
    """A [worker.NAME] table that runs tiny:WHAT; `keys` are lines of TOML."""
    more = [f"args = {json.dumps(list(args))}"] if args else []
    lines = [f'[worker."{name}"]', 'zygote = "floor"', f'run = "tiny:{what}"', *more, *keys]
    return "\n".join(lines) + "\n"


def alive(pid: int) -> bool:
    """True while the process runs (a zombie does not)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def kill_hard(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
