"""When identities were seen: follows `attackers.last_seen` after a cursor on its changes."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.cluster import rows as identity_rows
from decnet.db import cursors
from decnet.db.tables import Attacker

CURSOR = "cluster_attacker_cursor"
BATCH = 500


async def follow(session: AsyncSession, most: int = BATCH) -> int:
    """Take the next changed addresses' times into their identities; how many addresses."""
    place = await cursors.get(session, CURSOR)
    statement = (
        select(
            *(col(Attacker.uuid), col(Attacker.identity_id), col(Attacker.updated_at)),
            *(col(Attacker.first_seen), col(Attacker.last_seen)),
        )
        .order_by(col(Attacker.updated_at), col(Attacker.uuid))
        .limit(most)
    )
    if place is not None:
        since = dt.datetime.fromisoformat(place["updated_at"])
        statement = statement.where(
            or_(
                col(Attacker.updated_at) > since,
                and_(col(Attacker.updated_at) == since, col(Attacker.uuid) > place["uuid"]),
            )
        )
    found = (await session.execute(statement)).all()
    if not found:
        return 0
    by_identity: dict[str, list[Any]] = {}
    for row in found:
        # One that is not placed yet brings its times along when it is.
        if row.identity_id is not None:
            by_identity.setdefault(row.identity_id, []).append(row)
    for uuid, identity in (await identity_rows.load(session, by_identity)).items():
        before = identity.first_seen_at, identity.last_seen_at
        identity_rows.widen(identity, by_identity[uuid])
        if before != (identity.first_seen_at, identity.last_seen_at):
            identity.campaign_dirty = True
    last = found[-1]
    await cursors.set(
        session, CURSOR, {"updated_at": last.updated_at.isoformat(), "uuid": last.uuid}
    )
    return len(found)
