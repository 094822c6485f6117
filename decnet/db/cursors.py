"""Durable cursors: how far a worker has come, written together with what it wrote.

    async def work(session):
        since = await cursors.get(session, "attacker_worker_cursor", 0)
        ...                                                      # rows
        await cursors.set(session, "attacker_worker_cursor", last)
    await db.write(work)

Rows and cursor are one transaction, so a worker killed at any instant loses and doubles nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.db.dialect import upsert
from decnet.db.state import State


async def get(session: AsyncSession, key: str, default: Any = None) -> Any:
    """The value of a key, or the default where the key is not there."""
    row = (await session.execute(select(State.value).where(col(State.key) == key))).first()
    return default if row is None else row[0]


async def set(session: AsyncSession, key: str, value: Any) -> None:
    """Set a key to a JSON value, in the caller's transaction."""
    row = {"key": key, "value": value}
    await session.execute(upsert(session, State, row, key=["key"], update=["value"]))


async def prefixed(session: AsyncSession, prefix: str) -> dict[str, Any]:
    """All keys that begin with the prefix, and their values."""
    rows = await session.execute(
        select(col(State.key), col(State.value)).where(
            col(State.key).startswith(prefix, autoescape=True)
        )
    )
    return {key: value for key, value in rows}  # noqa: C416 -- a Row is no tuple to mypy
