"""A Varlink client made of bytes, for what a well-behaved one would never send."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

NAME = "io.zygote.Manager"


class Raw:
    """One connection. `ask` sends a call and gives the reply's object."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self._path = path
        self._data = b""

    async def __aenter__(self) -> Raw:
        await asyncio.get_running_loop().sock_connect(self.socket, str(self._path))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(30):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self) -> dict[str, Any]:
        """The next reply. ConnectionError: the server hung up."""
        async with asyncio.timeout(30):
            while b"\0" not in self._data:
                part = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
                if not part:
                    raise ConnectionResetError("the server hung up")
                self._data += part
        message, _, self._data = self._data.partition(b"\0")
        reply: dict[str, Any] = json.loads(message)
        return reply

    async def ask(self, method: str, more: bool = False, **parameters: object) -> dict[str, Any]:
        await self.send(call(method, more=more, **parameters))
        return await self.read()

    async def hung_up(self) -> bool:
        """Wait until the server closes; what it sends until then is thrown away."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            try:
                while await loop.sock_recv(self.socket, 1 << 16):
                    pass
            except ConnectionError:
                pass
        return True


def call(method: str, *, more: bool = False, **parameters: object) -> bytes:
    full = method if "." in method else f"{NAME}.{method}"
    message: dict[str, object] = {"method": full, "parameters": parameters}
    if more:
        message["more"] = True
    return json.dumps(message).encode() + b"\0"
