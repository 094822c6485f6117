"""A receiver of webhooks: a real HTTP server that can also misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from decnet.webhook.event import sign

SECRET = "a secret of the tests, long enough"


@dataclass
class Receiver:
    """`answers` gives the next status codes, then `default`; "hang" never answers."""

    default: int | str = 200
    answers: list[int | str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Of requests that were accepted (2xx)."""
    seen: list[dict[str, str]] = field(default_factory=list)
    """Headers of every request, and "path"."""
    wrong: list[str] = field(default_factory=list)
    port: int = 0
    at_once: int = 0
    most_at_once: int = 0
    delay: float = 0.0
    together: int = 0
    """Nobody is answered before so many were here at once."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def ids(self) -> list[str]:
        return [body["id"] for body in self.bodies]

    def topics(self) -> list[str]:
        return [body["topic"] for body in self.bodies]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            found = dict(line.split(": ", 1) for line in head[1:] if line)
            found = {name.lower(): value for name, value in found.items()}
            self.seen.append({**found, "path": head[0]})
            content = await reader.readexactly(int(found["content-length"]))
            if found.get("x-decnet-signature") != sign(SECRET, content):
                self.wrong.append("signature")
            await asyncio.sleep(self.delay)
            while self.most_at_once < self.together:
                await asyncio.sleep(0.01)
            answer = self.answers.pop(0) if self.answers else self.default
            if answer == "hang":
                await asyncio.sleep(3600)
            body = json.loads(content)
            if found.get("x-decnet-event-id") != body["id"]:
                self.wrong.append("id")
            if 200 <= int(answer) < 300:
                self.bodies.append(body)
            lines = [f"HTTP/1.1 {answer} Any", "Content-Length: 0", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in self.headers.items()]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            await writer.drain()
        self.at_once -= 1
        writer.close()


@contextlib.asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Receiver]:
    """A running receiver on a free port of 127.0.0.1."""
    made = Receiver(**options)
    tasks: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await made.serve(reader, writer)
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(visit, "127.0.0.1", 0, ssl=tls)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
