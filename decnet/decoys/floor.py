"""What every decoy needs, imported once by the zygote `decoy`, and its warm-up.

No database, no pydantic, no web framework: a process that faces attackers has as little in it
as can be.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import tempfile
from pathlib import Path
from typing import Any

import asyncssh

import decnet.bus.client  # noqa: F401
from decnet.decoys.catalogue import KINDS, parse_instance
from decnet.decoys.spool import Spool
from decnet.settings import Settings
from decnet.workers.decoy import house_of

# What a visitor says to each kind, from the first word to the last, in one go.
SCRIPTS: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: warm\r\nConnection: close\r\n\r\n",
    "telnet": b"root\r\nwarm\r\nuname -a\r\nexit\r\n",
    "ftp": b"USER root\r\nPASS warm\r\nPWD\r\nEPSV\r\nFEAT\r\nQUIT\r\n",
    "smtp": b"EHLO warm\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
    b"DATA\r\nSubject: warm\r\n\r\nwarm\r\n.\r\nQUIT\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\nINFO\r\nCONFIG GET dir\r\nSET a b\r\nQUIT\r\n",
    "mysql": b"\x25\x00\x00\x01\x00\x82\x00\x00\x00\x00\x00\x01\x21" + bytes(23) + b"root\0",
    "tcp": b"warm",
}


SERVERS: dict[str, Any] = {
    kind: importlib.import_module(KINDS[kind].module) for kind in ("ssh", *SCRIPTS)
}


def warm() -> None:
    """One visit to each kind, in memory: a key exchange, a password, a command, a page.

    Ciphers and key exchanges are set up by the first connection, and most of asyncssh's code is
    run by it; done here, every decoy shares that. The keys made for it are thrown away. Leaves no
    thread, socket or loop behind.
    """
    with tempfile.TemporaryDirectory(prefix="decnet-warm-") as folder:
        asyncio.run(_exercise(Path(folder)))


async def _exercise(folder: Path) -> None:
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder)})
    for kind, server in SERVERS.items():
        spool = Spool(folder, "warm", lambda: None)
        try:
            house = house_of(settings, parse_instance(kind), spool)
            sock = socket.create_server(("127.0.0.1", 0))
            sock.setblocking(False)
            async with server.serve(sock, house):
                port = sock.getsockname()[1]
                if kind == "ssh":
                    await _visit_ssh(port)
                else:
                    await _visit(port, SCRIPTS[kind])
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


async def _visit(port: int, script: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(script)
    writer.write_eof()
    await reader.read()
    writer.close()
    await writer.wait_closed()
