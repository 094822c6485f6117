"""The command line's way to the database: for what works with the fleet down as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from decnet.settings import Settings

if TYPE_CHECKING:
    from decnet.db.engine import Database

T = TypeVar("T")


async def with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    """Run `work` on the fleet's database.

    Raises:
        NotMigrated: there is none yet; says what to run.
    """
    from decnet.db.engine import Database  # late: --help and completion load no table

    database = Database(Settings.from_env().db_url)
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()
