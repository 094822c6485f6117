"""The database of one process: opened after the fork, few connections, writes that wait.

async with db.session() as session: ...          # read
await db.write(work)                             # one immediate transaction, retried
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from sqlalchemy import MetaData, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from decnet.db.base import METADATA
from decnet.db.dialect import DRIVER_ERRORS, cause, is_busy, is_full, make_engine
from decnet.db.errors import MIGRATE, NotMigrated, StorageBusy, StorageError, StorageFull
from decnet.db.revision import HEAD
from decnet.settings import sqlite_file

log = logging.getLogger("decnet.db")
T = TypeVar("T")

CONNECTIONS = 2
"""One reads while one writes. Each costs a thread and its caches, so it is opened when needed."""
WRITE_SECONDS = 60.0
"""How long `write` tries before it gives up on a locked database."""
RETRY_FIRST, RETRY_MOST = 0.01, 1.0
ENDS_SECONDS = 5.0
"""For a thread that has nothing left to do; it takes microseconds."""
_blank: list[bytes] = []
"""An SQLite file with all tables and no rows."""


class Database:
    """Sessions on one database. Make and `open` it in the process that uses it.

    Args:
        url: with an asyncio driver (see `settings.async_url`).
        connections: at most so many at once, per process.
    """

    transient = StorageError
    """What `write` raises when the same transaction may work later."""

    def __init__(self, url: str, *, connections: int = CONNECTIONS) -> None:
        self.url = url
        self._connections = connections
        self._engine: AsyncEngine | None = None
        self._drivers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pid = 0

    async def open(self, *, check: bool = True) -> None:
        """Make ready; no connection stays open for it.

        Args:
            check: compare the database's revision with this program's.
        Raises:
            NotMigrated: the database is missing or of another revision; says what to run.
        """
        if self._engine is not None:
            return
        file = sqlite_file(self.url)
        # SQLite would make an empty file and call it a database.
        if check and file is not None and not file.exists():
            raise NotMigrated(f"there is no database at {file}", f"make it: {MIGRATE}")
        self._engine = make_engine(self.url, connections=self._connections)
        event.listen(self._engine.sync_engine, "connect", self._connected)
        self._pid = os.getpid()
        if check:
            try:
                await self._check()
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Close all connections and end their threads. Safe to call twice."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
        # aiosqlite's says that it is done a moment before its end: a floor's audit would find it.
        for driver in list(self._drivers):
            thread = getattr(driver, "_thread", None)
            if thread is not None and not getattr(driver, "_running", True):
                thread.join(ENDS_SECONDS)

    def _connected(self, connection: Any, record: Any) -> None:
        self._drivers.add(connection.driver_connection)

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session to read with. Keep it short: an open reader keeps the WAL from shrinking.

        What is not committed is rolled back. Objects stay usable after it.
        """
        async with AsyncSession(self._live(), expire_on_commit=False) as session:
            yield session

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """One transaction that takes the write lock first: all of `work` happens, or nothing.

        `work` may run more than once (another writer was in the way), so it does nothing outside
        the session; publish after `write` returned.

        Raises:
            StorageFull: no room. Nothing was written.
            StorageBusy: locked for `WRITE_SECONDS`. Nothing was written.
            Exception: whatever `work` raises; rolled back.
        """
        started = time.monotonic()
        delay = RETRY_FIRST
        while True:
            try:
                return await self._write_once(work)
            except DRIVER_ERRORS as error:
                if is_full(error):
                    raise StorageFull(cause(error)) from error
                if not is_busy(error):
                    raise
                waited = time.monotonic() - started
                if waited > WRITE_SECONDS:
                    raise StorageBusy(waited, cause(error)) from error
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, RETRY_MOST)

    async def create_all(self, metadata: MetaData = METADATA) -> None:
        """Make the tables of an empty database without Alembic: for one that is thrown away.

        A file that is not there yet is copied from the first one that this process made.
        """
        file = sqlite_file(self.url)
        fresh = file is not None and not file.exists() and metadata is METADATA
        if file is not None and fresh and _blank:
            file.write_bytes(_blank[0])
            return
        engine = make_engine(self.url, connections=1)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
                await connection.execute(
                    text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
                )
                await connection.execute(
                    text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD}
                )
        finally:
            await engine.dispose()
        if file is not None and fresh:
            _blank.append(file.read_bytes())

    # -- below

    async def _write_once(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        writer = self._live().execution_options(immediate=True)
        async with AsyncSession(writer, expire_on_commit=False) as session, session.begin():
            return await work(session)

    def _live(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the database is not open")
        if self._pid != os.getpid():
            # SQLite's locks and the drivers' sockets do not survive a fork.
            raise RuntimeError(f"the database was opened by process {self._pid}, before a fork")
        return self._engine

    async def _check(self) -> None:
        found = await read_revision(self._live())
        if found == HEAD:
            return
        if found is None:
            raise NotMigrated("the database has no tables yet", f"make them: {MIGRATE}")
        raise NotMigrated(
            f"the database is at revision {found}, this program needs {HEAD}",
            f"run: {MIGRATE} (where that says the database is newer: update the program)",
        )


async def read_revision(engine: AsyncEngine) -> str | None:
    """The revision that Alembic noted; None where it noted none.

    Raises:
        NotMigrated: the file is no database.
    """
    try:
        async with engine.connect() as connection:
            found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    except DRIVER_ERRORS as error:
        if "not a database" in cause(error):
            raise NotMigrated(
                f"{engine.url.database} is not a database", "move it away, or set DECNET_DB_URL"
            ) from error
        if is_busy(error):
            raise StorageBusy(0, cause(error)) from error
        if "alembic_version" not in cause(error):
            raise
        return None
    return None if found is None else str(found)
