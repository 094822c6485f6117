"""Clients that ask a server without pause, and count what did not come back well."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from tests.support.bus import DEADLINE


class Load:
    """What the clients saw. `answers` by the start of their text; `failures` by what went wrong."""

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self.answers: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    async def more(self, count: int = 20) -> None:
        """Until so many answers have come from here on."""
        wanted = self.answers.total() + count
        async with asyncio.timeout(DEADLINE):
            while self.answers.total() < wanted:
                await asyncio.sleep(0.01)

    async def seen(self, answer: str, more: int = 20) -> None:
        """Until `more` answers of this text have come from here on."""
        wanted = self.answers[answer] + more
        async with asyncio.timeout(DEADLINE):
            while self.answers[answer] < wanted:
                await asyncio.sleep(0.01)

    async def _client(self) -> None:
        while True:
            try:
                async with asyncio.timeout(DEADLINE):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    try:
                        head = f"GET {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                        writer.write(head.encode())
                        data = await reader.read()
                    finally:
                        writer.close()
            except (OSError, TimeoutError, EOFError) as error:
                self.failures[repr(error)] += 1
                await asyncio.sleep(0.01)
            else:
                top, end, body = data.partition(b"\r\n\r\n")
                if end and top.split()[1] == b"200":
                    self.answers[body.decode(errors="replace")[:20]] += 1
                else:
                    self.failures[repr(top[:60])] += 1
            await asyncio.sleep(0.01)  # the server and its manager need the CPU, too


@contextlib.asynccontextmanager
async def load(port: int, clients: int = 4, path: str = "/") -> AsyncIterator[Load]:
    """So many clients inside the block, each with one connection after the other."""
    seen = Load(port, path)
    tasks = [asyncio.create_task(seen._client()) for _ in range(clients)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
