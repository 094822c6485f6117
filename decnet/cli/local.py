"""The command line's way to change something: one transaction, then word of it on the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from decnet.cli.database import with_database
from decnet.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")


def transact(work: Callable[[AsyncSession], Awaitable[T]], *tell: str) -> T:
    """Do `work` in one transaction, then publish an empty event on each topic of `tell`.

    Raises:
        ZygoteError: no database, or of another version; the way out is in its hint.
    """

    from decnet.bus.client import BusClient  # late: --help and completion load no table

    async def run() -> T:
        result = await with_database(lambda database: database.write(work))
        settings = Settings.from_env()
        if tell and settings.bus_enabled:
            bus = BusClient(settings.bus_socket, "decnetctl")
            try:
                if await bus.connect():  # else the worker finds out by itself
                    for topic in tell:
                        bus.publish(topic, {})
                    await bus.flush()
            finally:
                await bus.close()
        return result

    return asyncio.run(run())
