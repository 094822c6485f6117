"""The command line's way to the database: for what works with the fleet down as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from decnet.db.engine import Database
from decnet.settings import Settings

T = TypeVar("T")


async def with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on the fleet's database.

    Raises:
        NotMigrated: there is none yet; says what to run.
    """
    database = Database(Settings.from_env().db_url)
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()
