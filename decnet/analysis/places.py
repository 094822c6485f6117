"""Attackers seen before there was a table, or before this one: located again, a few at a time.

How far that has come is in the database, with the table that it was done by, so a killed worker
goes on and a new table begins anew.
"""

from __future__ import annotations

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.analysis.batch import Locate, place_columns
from decnet.db import cursors
from decnet.db.tables import Attacker

CURSOR = "attacker_worker_geo_cursor"
BATCH = 200
NAMES = ("country_code", "asn", "as_name", "bgp_prefix")


async def relocate(
    session: AsyncSession, made: float, locate: Locate, most: int = BATCH
) -> tuple[int, bool]:
    """Locate the next attackers by the table that was made then, in the caller's transaction.

    Returns:
        How many changed, and whether there are more.
    """
    state = await cursors.get(session, CURSOR)
    if not isinstance(state, dict) or state.get("made") != made:
        state = {"made": made, "after": ""}
    if state["after"] is None:
        return 0, False
    columns = [col(Attacker.uuid), col(Attacker.ip)]
    columns += [getattr(Attacker, name) for name in NAMES]
    statement = select(*columns).where(col(Attacker.uuid) > state["after"])
    rows = (await session.execute(statement.order_by(col(Attacker.uuid)).limit(most))).all()
    changed = 0
    for row in rows:
        place = place_columns(locate(row.ip))
        if any(getattr(row, name) != place[name] for name in NAMES):
            mine = update(Attacker).where(col(Attacker.uuid) == row.uuid)
            await session.execute(mine.values(**place))
            changed += 1
    more = len(rows) == most
    await cursors.set(session, CURSOR, {"made": made, "after": rows[-1].uuid if more else None})
    return changed, more
