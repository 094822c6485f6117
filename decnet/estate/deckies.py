"""The table of deckies, as others read it."""

from __future__ import annotations

from sqlmodel import col, select

from decnet.db.engine import Database
from decnet.db.tables import FleetDecky


async def all_deckies(database: Database) -> list[FleetDecky]:
    """Every decky, by name."""
    async with database.session() as session:
        rows = await session.scalars(select(FleetDecky).order_by(col(FleetDecky.name)))
        return list(rows.all())
