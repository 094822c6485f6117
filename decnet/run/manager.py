"""A manager of our own: started as a child process, asked over its control socket, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from decnet.run.stash import stash
from decnet.run.variables import variables
from zygote.client.api import Client
from zygote.errors import Exit, ZygoteError

STOP_SECONDS = 40.0
TOLD = ("baking", "baked", "progress", "bake-failed", "failed")


class Manager:
    """A running fleet. `process` is the manager; everything else is asked of it."""

    def __init__(self, process: asyncio.subprocess.Process, socket: Path) -> None:
        self.process = process
        self.socket = socket
        self._client: Client | None = None

    async def client(self) -> Client:
        """The control interface, connected on first use."""
        if self._client is None:
            self._client = await Client.connect(self.socket)
        return self._client

    async def stop(self) -> None:
        """SIGTERM: it stops all in reverse order and ends; SIGKILL if that takes too long."""
        if self._client is not None:
            await self._client.close()
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    fleet: Path,
    runtime_dir: Path,
    env: dict[str, str],
    log: Path,
    progress: Callable[[str], None],
) -> AsyncIterator[Manager]:
    """Start a manager and wait until its zygotes are baked and its first workers are spawned.

    Args:
        fleet: the fleet file.
        runtime_dir: where the control socket will be.
        env: the manager's whole environment; workers inherit it.
        log: the manager's own output goes here.
        progress: called with a line at each step of the bake.
    Raises:
        ZygoteError: it did not start; what it said is in the message.
    """
    env = {**env, **variables(env)}
    stash(env)
    ready, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    with open(log, "ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "zygote.manager", "--fleet", str(fleet)),
            *("--runtime-dir", str(runtime_dir), "--ready-fd", str(theirs)),
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(theirs,),
            # Its own group: Ctrl-C reaches this program alone, which then stops it in order.
            process_group=0,
        )
    os.close(theirs)
    manager = Manager(process, runtime_dir / "control.sock")
    try:
        told = asyncio.create_task(_report(manager, progress))
        try:
            line = await _read_line(ready)
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)
        _check(line, log)
        yield manager
    finally:
        await manager.stop()


async def _read_line(fd: int) -> bytes:
    """One line from a pipe; what there is when its other end closes."""
    reader = asyncio.StreamReader(limit=2**20)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb")
    )
    try:
        return await reader.readline()
    finally:
        transport.close()


def _check(line: bytes, log: Path) -> None:
    """Raise what the manager reported, if it did not start."""
    try:
        said = json.loads(line)
    except ValueError:
        tail = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise ZygoteError(
            "the manager ended before it was ready: " + (" | ".join(tail) or "it said nothing"),
            code="manager-died",
            hint=f"its output is in {log}",
        ) from None
    if not said.get("ok"):
        errors = [ZygoteError.from_dict(parts) for parts in said.get("errors", [])]
        if not errors:
            raise ZygoteError("the manager did not start", hint=f"its output is in {log}")
        first = errors[0]
        first.exit_code = first.exit_code or Exit.FAILED
        raise first


async def _report(manager: Manager, progress: Callable[[str], None]) -> None:
    """Tell what the zygotes are doing, from the manager's own events."""
    while True:
        try:
            async for event in (await manager.client()).events(follow=True, last=100):
                if event.event in TOLD:
                    progress(f"{event.subject}: {event.event} {event.detail}".rstrip())
        except ZygoteError:  # it does not listen yet
            await asyncio.sleep(0.05)
