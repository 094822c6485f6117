"""What every decoy needs, imported once by the zygote `decoy`, and its warm-up.

No database, no pydantic, no web framework: a process that faces attackers has as little in it
as can be.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path

import asyncssh

import decnet.bus.client
import decnet.context
import decnet.workers.decoy  # noqa: F401 -- the worker itself, in the floor
from decnet.decoys import http, ssh
from decnet.decoys.doorman import Doorman
from decnet.decoys.house import House
from decnet.decoys.journal import Journal
from decnet.decoys.spool import Spool


def warm() -> None:
    """One visit to each kind, in memory: a key exchange, a password, a command, a page.

    Ciphers and key exchanges are set up by the first connection, and most of asyncssh's code is
    run by it; done here, every decoy shares that. The keys made for it are thrown away. Leaves no
    thread, socket or loop behind.
    """
    with tempfile.TemporaryDirectory(prefix="decnet-warm-") as folder:
        asyncio.run(_exercise(Path(folder)))


async def _exercise(folder: Path) -> None:
    spool = Spool(folder, "warm", lambda: None)
    try:
        for serve, visit in ((ssh.serve, _visit_ssh), (http.serve, _visit_http)):
            house = House("warm", folder, folder, Journal(spool, "warm", "warm"), Doorman())
            sock = socket.create_server(("127.0.0.1", 0))
            sock.setblocking(False)
            async with serve(sock, house):
                await visit(sock.getsockname()[1])
    finally:
        spool.close()


async def _visit_ssh(port: int) -> None:
    options = asyncssh.SSHClientConnectionOptions(
        username="root", password="warm", known_hosts=None, client_keys=None, config=None
    )
    async with asyncssh.connect("127.0.0.1", port, options=options) as connection:
        await connection.run("uname -a", check=True)
        async with connection.create_process(term_type="xterm") as process:
            process.stdin.write("id\rexit\r")
            await process.wait()


async def _visit_http(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: warm\r\nConnection: close\r\n\r\n")
    await reader.read()
    writer.close()
    await writer.wait_closed()
