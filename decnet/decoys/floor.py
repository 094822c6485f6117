"""What every decoy needs, imported once by the zygote `decoy`, and its warm-up.

No database, no pydantic, no web framework: a process that faces attackers has as little in it
as can be.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 -- a decoy's first bind imports it: 0.2 MB each
import importlib
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import asyncssh

from decnet.bus.broker import Broker
from decnet.context import Context, conduct, open_context
from decnet.decoys.catalogue import KINDS
from decnet.entrance import THE_END, walk_in
from decnet.settings import Settings
from decnet.workers import decoy
from zygote.warming import aside, part, rounds, watched

# What a visitor says to each kind, from the first word to the last, in one go.
SCRIPTS: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: warm\r\n\r\n"
    b"GET /warm HTTP/1.1\r\nHost: warm\r\nConnection: close\r\n\r\n",
    "telnet": b"root\r\nwarm\r\nuname -a\r\nexit\r\n",
    "ftp": b"USER root\r\nPASS warm\r\nPWD\r\nEPSV\r\nFEAT\r\nQUIT\r\n",
    "smtp": b"EHLO warm\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
    b"DATA\r\nSubject: warm\r\n\r\nwarm\r\n.\r\nQUIT\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\nINFO\r\nCONFIG GET dir\r\nSET a b\r\nQUIT\r\n",
    "mysql": b"\x25\x00\x00\x01\x00\x82\x00\x00\x00\x00\x00\x01\x21" + bytes(23) + b"root\0",
    "tcp": b"warm",
}


ROUNDS = 4
"""Lives of each kind: the interpreter specialises what ran a few times."""
SERVERS: dict[str, Any] = {
    kind: importlib.import_module(KINDS[kind].module) for kind in (*SCRIPTS, "ssh")
}


_familiar: list[Path] = []
"""Their names stay interned: one that a decoy interned itself would copy six pages of a table."""


def warm() -> None:
    """Each kind's whole life, in memory: it starts, is visited, and ends.

    Ciphers and key exchanges are set up by the first connection, and most of asyncssh's code is
    run by it; done here, every decoy shares that, and the code of its own start as well. The keys
    made for it are thrown away. Leaves no thread, socket or loop behind.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    with aside():
        scene = tempfile.TemporaryDirectory(prefix="decnet-warm-")
    try:
        if watched():
            walk_in(Path(scene.name), database=False)
        asyncio.run(_exercise(Path(scene.name)))
        _familiar.extend(Path(value) for value in os.environ.values() if value.startswith("/"))
        for path in _familiar:
            _ = path.parts
    finally:
        with aside():
            scene.cleanup()
        logging.disable(level)


async def _exercise(folder: Path) -> None:
    ports = {f"{kind.variable}": "0" for kind in KINDS.values()}
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), **ports})
    _familiar.extend((settings.bus_socket, settings.log_file))
    broker = Broker(settings.bus_socket)
    with aside():  # the bus is one process only
        await broker.start()
    try:
        for kind in [*SERVERS] * rounds(ROUNDS):
            part(kind)
            await _live(kind, settings)
    finally:
        with aside():
            await broker.stop()


async def _live(kind: str, settings: Settings) -> None:
    """One decoy from its start to its end, as a worker has it."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def visited(ctx: Context) -> None:
        tell = ctx.ready

        def told(status: str) -> None:
            tell(status)
            # It has the port that the kernel chose.
            ready.set_result(int(status.rpartition(":")[2]))

        setattr(ctx, "ready", told)  # noqa: B010
        await decoy.main(ctx)

    worker = f"decoy@{decoy.instance_of([kind], '')}"
    async with open_context(worker, settings, database=False, notifies=False) as ctx:
        running = asyncio.create_task(conduct(ctx, visited))
        either: set[asyncio.Future[Any]] = {running, ready}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            with aside():
                await (_visit_ssh(ready.result()) if kind == "ssh"
                       else _visit(ready.result(), SCRIPTS[kind]))  # fmt: skip
        part(THE_END)
        ctx.stop("the rehearsal is over")
        await running


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
