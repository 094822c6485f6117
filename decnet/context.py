"""What every worker is given, and the one way in which all of them are run.

A worker's file has `async def main(ctx)` and `def run(): run_worker("name", main)`. The same
`main` runs forked from the zygote, under `python -m decnet.workers.NAME`, and as a task in
another program's loop (`async with open_context(…) as ctx: await conduct(ctx, main)`).

Exit codes of a worker: 0 asked to stop, or done; 1 a fault (traceback on stderr); 66 the database
is not there or of another version (the message names the command); 73 a live bus has the socket;
75 the disk is full or the database locked, even after waiting; 78 a setting is wrong.

Nothing here imports pydantic or SQLAlchemy: decoys have a floor without them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.settings import Settings
from decnet.surroundings import Context, WorkerError
from zygote.errors import ZygoteError

if TYPE_CHECKING:
    from decnet.db.engine import Database

__all__ = ["Context", "Main", "WorkerError", "conduct", "open_context", "run_worker"]

log = logging.getLogger("decnet")
Main = Callable[[Context], Awaitable[None]]

STOP_SECONDS = 8.0
"""How long `main` may take to return once `stopping` is set; then it is cancelled."""


@contextlib.asynccontextmanager
async def open_context(
    name: str,
    settings: Settings | None = None,
    *,
    database: bool | Database = True,
    notifies: bool = True,
) -> AsyncIterator[Context]:
    """A worker's context with heartbeat, control and watchdog running; closes all of it.

    Args:
        name: the worker's name in the fleet ("collect", "decoy@ssh").
        settings: default: from the environment.
        database: open the database and check its version. Decoys and the bus have none. An open
            one is used and left open: workers that share a process share its connections.
        notifies: speak to the manager (NOTIFY_SOCKET). False where several share a process.
    Raises:
        SettingsError, DatabaseMissing, DatabaseBehind: each says what to do.
    """
    settings = settings or Settings.from_env()
    own = _make_database(settings) if database is True else None
    db = own if database is True else database or None
    bus = BusClient(settings.bus_socket, name, enabled=settings.bus_enabled)
    ctx = Context(name, settings, bus, db, notifies=notifies)
    tasks: list[asyncio.Task[None]] = []
    try:
        if own is not None:
            await own.open()
        bus.listen(topics.control(name), ctx.obey)
        await bus.connect()
        tasks.append(asyncio.create_task(ctx.beat(), name=f"beat:{name}"))
        tasks.append(asyncio.create_task(ctx.feed_watchdog(), name=f"watchdog:{name}"))
        yield ctx
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()
        if own is not None:
            await own.close()


async def conduct(ctx: Context, main: Main) -> None:
    """Run `main` until it returns, or until `STOP_SECONDS` after it was asked to.

    Raises:
        Exception: whatever `main` raises.
    """
    work = asyncio.ensure_future(main(ctx))
    stop = asyncio.create_task(ctx.stopping.wait())
    try:
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await asyncio.wait({work}, timeout=STOP_SECONDS)
        if not work.done():
            log.warning("did not stop within %g s: cancelled", STOP_SECONDS)
            work.cancel()
            await asyncio.wait({work})
        if not work.cancelled():
            work.result()
    finally:
        for task in (work, stop):
            task.cancel()
        await asyncio.gather(work, stop, return_exceptions=True)


def run_worker(name: str, main: Main, *, database: bool = True) -> None:
    """Run a worker as this process; returns when it was asked to stop or is done.

    SIGTERM and SIGINT, or `{"action": "stop"}` on its control topic, stop it gracefully; a
    second signal cancels it at once.

    Raises:
        SystemExit: it failed; see the module's docstring for the codes.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format=f"%(asctime)s worker={name.replace('%', '%%')} level=%(levelname)s %(message)s",
    )
    try:
        asyncio.run(_alone(name, main, database))
    except ZygoteError as error:
        print(f"{name}: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception:
        log.exception("the worker failed")
        raise SystemExit(1) from None


async def _alone(name: str, main: Main, database: bool) -> None:
    async with open_context(name, database=database) as ctx:
        loop = asyncio.get_running_loop()
        work = asyncio.create_task(conduct(ctx, main), name=name)

        def on_signal(number: int) -> None:
            if ctx.stopping.is_set():
                work.cancel()
            ctx.stop(signal.Signals(number).name)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        with contextlib.suppress(asyncio.CancelledError):
            await work


def _make_database(settings: Settings) -> Database:
    from decnet.db.engine import Database  # late: decoys never load the ORM; others have it baked

    return Database(settings.db_url)
