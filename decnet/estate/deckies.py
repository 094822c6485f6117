"""The table of deckies, as others read it."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.db.engine import Database
from decnet.db.tables import FleetDecky
from decnet.estate.host import host_uuid


async def all_deckies(database: Database) -> list[FleetDecky]:
    """Every decky, by name."""
    async with database.session() as session:
        rows = await session.scalars(select(FleetDecky).order_by(col(FleetDecky.name)))
        return list(rows.all())


async def rows_of_host(session: AsyncSession) -> list[FleetDecky]:
    """The deckies of this host, by name. In a writing session: see `host_uuid`."""
    host = await host_uuid(session)
    statement = select(FleetDecky).where(col(FleetDecky.host_uuid) == host)
    return list(await session.scalars(statement.order_by(col(FleetDecky.name))))
