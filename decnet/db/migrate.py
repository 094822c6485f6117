"""Bring the database to this program's revision. Run by one owner, before the workers.

    python -m decnet.db.migrate            create or upgrade the database of DECNET_DB_URL
    python -m decnet.db.migrate --check    say whether it is needed; exit 66 if so

A one-shot program: Alembic (38 MB) is never in a worker. All revisions are one transaction that
takes the write lock first, so two that run at once do the work once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from decnet.db.dialect import DRIVER_ERRORS, cause, is_busy, is_full, make_engine
from decnet.db.engine import Database, read_revision
from decnet.db.errors import NotMigrated, StorageBusy, StorageFull
from decnet.db.revision import HEAD
from decnet.settings import Settings, SettingsError, async_url, sqlite_file
from zygote.errors import ZygoteError

T = TypeVar("T")
BUSY_SECONDS = 30.0


def migrate(url: str) -> tuple[str | None, str]:
    """Create or upgrade the database. Blocking; not for a thread with a running loop.

    Returns:
        The revision before (None: there was none) and after.
    Raises:
        NotMigrated: the database is newer than this program, or is no database.
        SettingsError: the folder or file cannot be made or opened.
        StorageFull, StorageBusy: nothing was changed.
    """
    url = async_url(url)
    file = sqlite_file(url)
    if file is not None:
        _touch(url)
    return asyncio.run(_on_connection(url, _upgrade))


def current(url: str) -> str | None:
    """The database's revision; None where there is no database or no revision. Blocking."""
    url = async_url(url)
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    return asyncio.run(_current(url))


def check(url: str) -> None:
    """Raise `NotMigrated` where a worker would refuse the database. Blocking."""

    async def opened() -> None:
        database = Database(async_url(url))
        await database.open()
        await database.close()

    asyncio.run(opened())


def script_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", "decnet.db:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _touch(url: str) -> None:
    """Make the file (0600: it holds what attackers typed) and show that we may write to it."""
    file = sqlite_file(url)
    assert file is not None
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("ab"):
            pass
    except OSError as error:
        raise SettingsError(
            f"cannot make or write the database {file}: {error.strerror}",
            "set DECNET_STATE_DIR or DECNET_DB_URL to a place that this user may write to",
        ) from error


async def _on_connection(url: str, work: Callable[[Connection], T]) -> T:
    # Of several that open a new file at once, all but one are refused the switch to WAL at once:
    # SQLite's busy time-out does not cover it.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return await _once(url, work)
        except StorageBusy:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.05)


async def _once(url: str, work: Callable[[Connection], T]) -> T:
    # Foreign keys off: copying a table drops the old one, which would delete what refers to it.
    engine = make_engine(url, connections=1, foreign_keys=False)
    try:
        async with engine.execution_options(immediate=True).begin() as connection:
            return await connection.run_sync(work)
    except DRIVER_ERRORS as error:
        if is_full(error):
            raise StorageFull(cause(error)) from error
        if is_busy(error):
            raise StorageBusy(BUSY_SECONDS, cause(error)) from error
        if "not a database" in cause(error):
            raise NotMigrated(
                f"{sqlite_file(url)} is not a database", "move it away, or set DECNET_DB_URL"
            ) from error
        raise
    finally:
        await engine.dispose()


async def _current(url: str) -> str | None:
    engine = make_engine(url, connections=1)
    try:
        return await read_revision(engine)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> tuple[str | None, str]:
    from_revision = _noted(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if from_revision is not None and from_revision not in known:
        raise NotMigrated(
            f"the database is at revision {from_revision}, which this program does not know",
            "a newer program made it: use that one, or another DECNET_DB_URL",
        )
    if from_revision != HEAD:
        command.upgrade(script_config(connection), "head")
        _check_foreign_keys(connection)
    return from_revision, _noted(connection) or ""


def _noted(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    found: Any = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if found is None else str(found)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(script_config())


def _check_foreign_keys(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken is not None:
        raise NotMigrated(
            f"the migration would leave a row of {broken[0]!r} without its {broken[2]!r}",
            "nothing was changed; please report this",
        )


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m decnet.db.migrate [--check]", file=sys.stderr)
        return 2
    try:
        url = Settings.from_env().db_url
        name = sqlite_file(url) or url.rpartition("@")[2]
        if arguments:
            check(url)
            print(f"database {name}: revision {HEAD}, nothing to do")
            return 0
        before, after = migrate(url)
    except ZygoteError as error:
        print(f"decnet.db.migrate: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    if before == after:
        print(f"database {name}: revision {after}, nothing to do")
    else:
        print(f"database {name}: {'created at' if before is None else before + ' to'} {after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
