"""A worker's way in, as a process of its own: for the clone in which a warm-up is only watched.

`run_worker` sets up logging and signal handlers, which a floor must not have. But it is code that
every worker runs: seen here first, it lies together, before what only some of them run.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

from decnet.context import Context, run_worker
from zygote import sockets
from zygote.warming import part

log = logging.getLogger("decnet.entrance")
THE_END = "the end"
"""The part of a warm-up that a worker runs only when it stops."""
MOMENT_SECONDS = 0.05
WATCHDOG_SECONDS = 0.02


def walk_in(folder: Path, *, database: bool) -> None:
    """Be a worker for a moment. Changes this process for good: only where it ends soon.

    Args:
        folder: its state; empty but for the database.
        database: there is one, with its tables.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify.sock"))
        for name in [name for name in os.environ if name.startswith("DECNET_")]:
            del os.environ[name]
        os.environ["NOTIFY_SOCKET"] = str(folder / "notify.sock")
        os.environ["WATCHDOG_USEC"] = str(int(WATCHDOG_SECONDS * 1e6))
        os.environ["DECNET_STATE_DIR"] = str(folder)
        with open(os.devnull, "w") as null:
            os.dup2(null.fileno(), 2)
        logging.disable(logging.NOTSET)
        run_worker("rehearsal", _moment, database=database)
    # Nobody listens there any more: what is rehearsed next would wait for a listener, each time.
    del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]


async def _moment(ctx: Context) -> None:
    log.info("for a moment")
    sockets.listener("rehearsal", lambda: socket.socket(socket.AF_UNIX)).close()
    ctx.ready("for a moment")
    ctx.progress()
    await asyncio.sleep(MOMENT_SECONDS)
    part(THE_END)
