"""api: the REST interface and event stream, uvicorn on a socket that is bound first of all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator

import uvicorn
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import select

from decnet.context import Context, WorkerError, run_worker
from decnet.db.tables import User
from decnet.web.api import auth
from decnet.web.api.app import create_app, prepare

APP = create_app()


class Server(uvicorn.Server):
    """uvicorn without its signal handlers: the worker's own context stops it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A bound, listening TCP socket.

    Raises:
        WorkerError: the port is taken or not allowed; names the variable that changes it.
    """
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
            hint="stop what listens there (ss -ltnp), or set DECNET_API_PORT",
        ) from error
    return sock


async def seed_admin(ctx: Context) -> None:
    """Make the first user where there is none; a generated password goes to a 0600 file."""
    async with ctx.db.session() as session:
        if (await session.execute(select(User.uuid).limit(1))).first() is not None:
            return
    digest = await asyncio.to_thread(auth.hash_password, ctx.settings.admin_password)

    async def insert(session: AsyncSession) -> None:
        if (await session.execute(select(User.uuid).limit(1))).first() is None:
            session.add(User(username=ctx.settings.admin_user, password_hash=digest, role="admin"))

    await ctx.write(insert)


async def main(ctx: Context) -> None:
    """Serve until told to stop."""
    sock = listen(ctx.settings.api_host, ctx.settings.api_port)
    await seed_admin(ctx)
    prepare(APP, ctx)
    config = uvicorn.Config(
        APP, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]), name="uvicorn")
    stopping = asyncio.create_task(ctx.stopping.wait(), name="stopping")
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    host, port = sock.getsockname()[:2]
    ctx.ready(f"http://{host}:{port}/api/v1")
    try:
        while not serving.done():
            await asyncio.wait({serving, stopping}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
            ctx.progress()
            if stopping.done():
                server.should_exit = True
                await serving
        serving.result()
    finally:
        stopping.cancel()
        sock.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("api", main)


if __name__ == "__main__":
    run()
