"""The server of the REST interface and the dashboard: how it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from decnet.web.serving import serve


class Surroundings:
    """What `serve` uses of a worker's context."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.reports: list[Any] = []

    def ready(self, _status: str) -> None: ...

    def progress(self) -> None: ...


async def test_serve_ends_after_the_requests_that_it_cancelled() -> None:
    """They give back what they have of the database, which is closed next."""
    begun, ended = asyncio.Event(), False

    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        nonlocal ended
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)
            ended = True

    ctx: Any = Surroundings()
    sock = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(serve(ctx, app, sock, "here"))
    _, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(60):
        await begun.wait()
        ctx.stopping.set()
        await serving
    assert ended
    writer.close()
