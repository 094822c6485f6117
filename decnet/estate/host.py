"""Which host this is: one random UUID a database and state folder, made the first time."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.db import cursors
from decnet.db.base import new_uuid
from decnet.db.dialect import upsert
from decnet.db.state import State

KEY = "host_uuid"


async def host_uuid(session: AsyncSession) -> str:
    """This host's id. In a writing session only: the first call stores it."""
    row = {"key": KEY, "value": new_uuid()}
    # Two that ask at once: the first one's value stays.
    await session.execute(upsert(session, State, row, key=["key"]))
    return str(await cursors.get(session, KEY))
