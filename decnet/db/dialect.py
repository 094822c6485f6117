"""The one place that knows which database it is; everything else is portable SQLAlchemy.

SQLite: WAL so that readers never wait, `synchronous=NORMAL` (after a power cut the last commits
may be gone, but rows and cursor together), foreign keys on, a short busy timeout (longer waits
are ours, with jitter), `BEGIN IMMEDIATE` for writers: a deferred transaction that turns into a
writer cannot wait, it fails. Small caches: there is a connection or two in each of many processes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlmodel import SQLModel

from decnet.db import compiled

BUSY_MS = 5_000
CACHE_KIB = 512
"""Page cache a connection; SQLite's default is 2000 KiB, mostly private memory in each worker."""
WAL_LIMIT = 64 << 20
"""Bytes to which the WAL file is cut back after a checkpoint."""

_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    f"PRAGMA cache_size=-{CACHE_KIB}",
    # No temporary files: a worker may reach its database's folder and no other, and SQLite chose
    # the folder for them when the zygote imported it, whatever SQLITE_TMPDIR says since.
    "PRAGMA temp_store=MEMORY",
    f"PRAGMA journal_size_limit={WAL_LIMIT}",
)
DRIVER_ERRORS = (DBAPIError, sqlite3.Error)
"""What a statement may raise; the bare one comes out of preparing a connection."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PG_RETRY = {"40001", "40P01", "55P03"}
"""serialization_failure, deadlock_detected, lock_not_available."""
_PG_FULL = {"53100"}


def make_engine(url: str, *, connections: int, foreign_keys: bool = True) -> AsyncEngine:
    """An engine with at most `connections` connections, opened when needed. After the fork only.

    The execution option `immediate` makes its transactions take the write lock at once.
    """
    options: dict[str, Any] = {"pool_size": connections, "max_overflow": 0, "pool_timeout": 30}
    if make_url(url).database in (None, "", ":memory:") and url.startswith("sqlite"):
        options = {}
    options["execution_options"] = {"compiled_cache": compiled.CACHE}
    engine = create_async_engine(compiled.shared(make_url(url)), **options)
    if engine.dialect.name == "sqlite":
        pragmas = (*_PRAGMAS, f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        _prepare_sqlite(engine.sync_engine, pragmas)
    return engine


def upsert(
    session: AsyncSession,
    table: type[SQLModel],
    rows: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    update: Sequence[str] | Mapping[str, Any] = (),
) -> Any:
    """An INSERT that updates on a conflict of `key`; nothing to update means: ignore.

    Args:
        session: whose database decides the dialect.
        table: the table's class.
        rows: values by column.
        key: columns of a unique constraint.
        update: columns that take the new row's value, or column -> expression.
    Returns:
        A statement for `session.execute`.
    Raises:
        NotImplementedError: the database has no such statement.
    """
    name = session.get_bind().dialect.name
    if name == "sqlite":
        insert: Any = sqlite.insert(table).values(rows)
    elif name == "postgresql":
        insert = postgresql.insert(table).values(rows)
    else:
        raise NotImplementedError(f"no upsert for {name}")
    if not update:
        return insert.on_conflict_do_nothing(index_elements=list(key))
    if not isinstance(update, Mapping):
        update = {column: insert.excluded[column] for column in update}
    return insert.on_conflict_do_update(index_elements=list(key), set_=dict(update))


def is_busy(error: BaseException) -> bool:
    """Whether another writer was in the way, and the same transaction may work again."""
    code = _sqlite_code(error)
    if code is not None:
        return code & 0xFF in _BUSY
    return _sqlstate(error) in _PG_RETRY


def is_full(error: BaseException) -> bool:
    """Whether there was no room: disk, quota or database limit."""
    code = _sqlite_code(error)
    if code is not None:
        # Growing the WAL's index fails with an I/O error of its own where there is no room.
        return code & 0xFF == sqlite3.SQLITE_FULL or code in (
            sqlite3.SQLITE_IOERR_WRITE,
            sqlite3.SQLITE_IOERR_SHMSIZE,
        )
    return _sqlstate(error) in _PG_FULL


def _prepare_sqlite(engine: Engine, pragmas: Sequence[str]) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # The driver's own BEGIN comes late and never IMMEDIATE: we begin ourselves.
        connection.isolation_level = None
        cursor = connection.cursor()
        try:
            for pragma in pragmas:
                cursor.execute(pragma)
        finally:
            cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def cause(error: BaseException) -> str:
    """The database's own words, without the statement and its parameters."""
    return str(_cause(error))


def _cause(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _sqlite_code(error: BaseException) -> int | None:
    cause = _cause(error)
    return getattr(cause, "sqlite_errorcode", None) if isinstance(cause, sqlite3.Error) else None


def _sqlstate(error: BaseException) -> str:
    return str(getattr(_cause(error), "sqlstate", "") or "")
