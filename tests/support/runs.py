"""Programs of `zygotectl run`, as the control socket's Run starts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

from asyncvarlink import (
    FileDescriptor,
    VarlinkClientProtocol,
    connect_unix_varlink,
)

from tests.support.managers import PATIENCE, Manager
from zygote.control.interface import ManagerInterface


class Program:
    """A program started over a connection of its own, its output in a file."""

    def __init__(self, manager: Manager, code: str, **keys: Any) -> None:
        self.output = manager.folder / "program.out"
        self._manager = manager
        self._call = {"zygote": None, "kind": "command", "target": code, "args": [],
                      "env": dict(os.environ), "cwd": str(manager.folder), "umask": 0o22,
                      **keys}  # fmt: skip
        self._transport: Any = None

    async def start(self) -> Any:
        """Its first report."""
        socket = str(self._manager.run / "control.sock")
        self._transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, socket)
        proxy = protocol.make_proxy(ManagerInterface)
        with open(os.devnull) as null, self.output.open("ab") as out:
            fds = {"stdin": null, "stdout": out, "stderr": out}
            passed = {k: FileDescriptor(os.dup(f.fileno())) for k, f in fds.items()}
        self._reports = aiter(proxy.Run(**self._call, **passed))
        return await self.report()

    async def report(self) -> Any:
        return (await asyncio.wait_for(anext(self._reports), PATIENCE))["report"]

    def hang_up(self) -> None:
        if self._transport:
            self._transport.close()
            self._transport = None


@contextlib.asynccontextmanager
async def program(manager: Manager, code: str, **keys: Any) -> AsyncIterator[Program]:
    running = Program(manager, code, **keys)
    try:
        yield running
    finally:
        running.hang_up()
        await asyncio.sleep(0)
