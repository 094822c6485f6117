"""A real broker process, raw connections to it, and waiting for conditions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from decnet.bus.client import BusClient
from decnet.bus.frames import Frame, FrameParser, dump_object, encode

DEADLINE = 60.0
"""Seconds after which a condition will not come true any more; generous, the machine is slow."""


async def until(condition: Callable[[], Any], what: str = "") -> Any:
    """Wait until the condition is true; its value."""
    async with asyncio.timeout(DEADLINE):
        while not (value := condition()):
            await asyncio.sleep(0.01)
    return value


class BrokerProcess:
    """`python -m decnet.workers.bus` on a state folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bus.sock"
        self.log = folder / "bus.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self, **env: str) -> None:
        """Start it and wait until it answers a HELLO."""
        await self.spawn(**env)
        client = BusClient(self.path, "probe")
        try:
            await client.connect()
            assert self.process is not None
            await until(lambda: client.connected or self.process.returncode is not None)
            assert client.connected, self.log.read_text()
        finally:
            await client.close()

    async def spawn(self, **env: str) -> asyncio.subprocess.Process:
        """Start it, wait for nothing."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "decnet.workers.bus",
                env={**os.environ, "DECNET_STATE_DIR": str(self.folder), **env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self.process

    async def signal(self, number: int) -> int:
        """Send a signal and wait for the end; the return code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()


@contextlib.asynccontextmanager
async def broker_process(folder: Path, **env: str) -> AsyncIterator[BrokerProcess]:
    """A running broker; ended with the block."""
    broker = BrokerProcess(folder)
    try:
        await broker.start(**env)
        yield broker
    finally:
        if broker.process is not None and broker.process.returncode is None:
            await broker.signal(signal.SIGKILL)


class Patient(BusClient):
    """A client that takes a broker which answers late for one that is there."""

    async def flush(self, seconds: float = DEADLINE) -> bool:
        return await super().flush(seconds)


@contextlib.asynccontextmanager
async def bus_client(path: Path, name: str = "test") -> AsyncIterator[BusClient]:
    """A connected client."""
    client = Patient(path, name)
    try:
        await client.connect()  # its first try may have been given up
        await until(lambda: client.connected)
        yield client
    finally:
        await client.close()


class RawClient:
    """A blocking connection that can say anything, and nothing on its own."""

    def __init__(self, path: Path, receive_buffer: int = 0) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(path))
        self.parser = FrameParser()
        self.frames: list[Frame] = []

    def send(self, verb: str, argument: str = "", body: dict[str, Any] | None = None) -> None:
        self.sock.sendall(encode(verb, argument, b"" if body is None else dump_object(body)))

    def next(self) -> Frame:
        """The next frame; EOFError when the broker has closed."""
        while not self.frames:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self.frames += self.parser.feed(data)
        return self.frames.pop(0)

    def hello(self) -> None:
        """Introduce ourselves and wait for the answer: all sent before has been handled."""
        self.send("HELLO", "raw")
        while self.next().verb != "HELLO":
            pass

    def is_closed(self) -> bool:
        """Wait for the broker to close; frames before that are thrown away."""
        try:
            while True:
                self.next()
        except (EOFError, ConnectionResetError):
            return True

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
