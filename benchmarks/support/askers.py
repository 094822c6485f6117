"""HTTP clients that ask without pause, in a process of their own: `askers.py CLIENTS PORT…`."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

PATIENCE = 30.0
"""Seconds."""


class Crowd:
    """Clients that ask without pause."""

    def __init__(self, ports: list[int]) -> None:
        self.requests = 0
        self.failures: collections.Counter[str] = collections.Counter()
        self._ports = ports

    async def client(self, port: int, keeps: bool) -> None:
        """One of them."""
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while True:
            self.requests += 1
            try:
                async with asyncio.timeout(PATIENCE):
                    if connection is None:
                        connection = await asyncio.open_connection("127.0.0.1", port)
                    head = await _ask(*connection)
                    if not head.startswith(b"HTTP/1.1 200 "):
                        self.failures[repr(head[:40])] += 1
                    done = not keeps or b"Connection: close" in head
            except (OSError, TimeoutError, EOFError) as error:
                self.failures[f"{type(error).__name__}: {error}"[:80]] += 1
                done = True
            if done and connection:
                connection[1].close()
                connection = None
            # Not as fast as can be: the machine is to have time for the reload, too.
            await asyncio.sleep(0.002)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r")[0]))
    return head


async def crowd(ports: list[int], clients: int) -> None:
    """The process of the clients: until stdin closes; then it prints what it saw."""
    seen = Crowd(ports)
    tasks = [
        asyncio.create_task(seen.client(ports[number % len(ports)], number // len(ports) % 2 == 0))
        for number in range(clients)
    ]
    await asyncio.to_thread(sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps({"requests": seen.requests, "failures": dict(seen.failures)}))


@contextlib.asynccontextmanager
async def crowded(ports: list[int], clients: int) -> AsyncIterator[dict[str, Any]]:
    """The clients ask inside the block; what they saw is there after it."""
    found: dict[str, Any] = {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, __file__, str(clients), *map(str, ports)), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield found
    finally:
        out, _ = await process.communicate()
        found.update(json.loads(out))


if __name__ == "__main__":
    asyncio.run(crowd([int(port) for port in sys.argv[2:]], int(sys.argv[1])))
