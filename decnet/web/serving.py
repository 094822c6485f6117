"""uvicorn as a worker wants it: on a socket that is bound first, with bounds, without signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from decnet.context import Context, WorkerError
from zygote import sockets

HEAD_SECONDS = 15.0
"""How long a client may take to send a request's head, from connecting or from its first byte."""
HEAD_MOST = 32 << 10
LATE_SECONDS = 4.0
"""For requests that were cancelled to come to their end."""
CONNECTIONS_MOST = 256


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the worker's own context stops it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class BoundedProtocol(H11Protocol):
    """uvicorn's, which has no time limit for half a request: this one hangs up."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
        elif self._head_timer is None:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A bound, listening TCP socket: of the process before this one, or a new one.

    Args:
        variable: the setting that chooses the port, for the error's hint.
    Raises:
        WorkerError: the port is taken or not allowed; names the variable that changes it.
    """
    name = f"tcp-{host}-{port}".replace(":", ".")
    return sockets.listener(name, lambda: _bind(host, port, variable))


def _bind(host: str, port: int, variable: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        cause = (
            "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        )
        raise WorkerError(
            f"port {port} on {host} {cause}",
            hint=f"stop what listens there (ss -ltnp), or set {variable}",
        ) from error
    return sock


async def serve(ctx: Context, app: Any, sock: socket.socket, status: str, **options: Any) -> None:
    """Serve an ASGI application until the worker is told to stop; closes the socket.

    Args:
        status: what READY says.
        options: of `uvicorn.Config`.
    """
    for chatty in ("uvicorn", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=HEAD_MOST,
        limit_concurrency=CONNECTIONS_MOST,
        **options,
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
    stopping = asyncio.create_task(ctx.stopping.wait(), name="stopping")
    ctx.reports.append(lambda: {"connections": len(server.server_state.connections)})
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if not serving.done():
            ctx.ready(status)
        while not serving.done():
            await asyncio.wait({serving, stopping}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            ctx.progress()
            if stopping.done():
                await sockets.stop_accepting(sock)
                server.should_exit = True
                await serving
        serving.result()
    finally:
        server.should_exit = True
        stopping.cancel()
        if not serving.done():
            server.force_exit = True
            await asyncio.wait({serving})
        sock.close()
        # uvicorn cancels whom it has waited for long enough, and leaves it at that. A request that
        # gives its session back after the database was closed would wait for ever.
        if late := set(server.server_state.tasks):
            for task in late:
                if not task.cancelling():
                    task.cancel()
            await asyncio.wait(late, timeout=LATE_SECONDS)


async def ask(app: Any, path: str, token: str, prefix: str = "/api/v1") -> int:
    """One GET without a socket, for a rehearsal; the status of the answer."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    raw = f"{prefix}{path}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"warm"), (b"authorization", f"Bearer {token}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 1),
        "state": {},
    }
    await app(scope, receive, send)
    return statuses[0]
