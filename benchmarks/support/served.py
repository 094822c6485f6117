"""An HTTP server of a few lines, as a worker: what `reload.py` moves from generation to generation.

Its socket is handed over. Told to end, it accepts no more, answers who is connected once more with
"Connection: close", and leaves when all have gone. What it answers is the version of
`served_version.py`, which the benchmark writes anew for each reload.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import served_version  # type: ignore[import-not-found]

from zygote import notify, sockets

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n%b"


def make() -> socket.socket:
    """The socket of the first process."""
    return socket.create_server(("127.0.0.1", int(os.environ["SERVED_PORT"])), backlog=512)


async def run() -> None:
    """Serve until told to stop, and until the last client has gone."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    visits: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        visits.add(task)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                body = str(served_version.VERSION).encode()
                last = b"close" if stop.is_set() else b"keep-alive"
                writer.write(ANSWER % (len(body), last, body))
                await writer.drain()
                if stop.is_set():
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            visits.discard(task)

    server = await asyncio.start_server(visit, sock=sockets.listener("http", make))
    notify.ready()
    await stop.wait()
    await sockets.stop_accepting(*server.sockets)
    server.close()
    while visits:
        await asyncio.wait(visits)
