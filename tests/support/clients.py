"""Clients that ask a server without pause, and count what did not come back well."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator


class Load:
    """What the clients saw. `answers` by text; `failures` by what went wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    async def seen(self, answer: str, more: int = 20) -> None:
        """Until `more` answers of this text have come from here on."""
        wanted = self.answers[answer] + more
        async with asyncio.timeout(30):
            while self.answers[answer] < wanted:
                await asyncio.sleep(0.01)

    async def _client(self) -> None:
        while True:
            try:
                async with asyncio.timeout(20):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    try:
                        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                        head = await reader.readuntil(b"\r\n\r\n")
                        size = int(head.lower().partition(b"content-length:")[2].split()[0])
                        body = (await reader.readexactly(size)).decode()
                    finally:
                        writer.close()
            except (OSError, TimeoutError, EOFError) as error:
                self.failures[repr(error)] += 1
                await asyncio.sleep(0.01)
            else:
                self.answers[body] += 1


@contextlib.asynccontextmanager
async def load(port: int, clients: int = 4) -> AsyncIterator[Load]:
    """So many clients inside the block, each with one connection after the other."""
    seen = Load(port)
    tasks = [asyncio.create_task(seen._client()) for _ in range(clients)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
