"""Names of identities and campaigns that do not depend on the order in which evidence came.

Every address has a home identity (a uuid made of its own), every identity a home campaign. A
group is named by the smallest home among its members: the same name for the same members,
whatever merged first. A loser keeps its row and points at the winner.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.tables import AttackerIdentity, Campaign

_IDENTITIES = uuid.UUID("5f0c2d5e-6a57-4b0e-9d0c-3d1f5c5b9a11")
_CAMPAIGNS = uuid.UUID("c4b0d7b2-21c9-4a43-8f7e-0f6f7f5f2e37")
HOPS_MOST = 8
CHUNK = 400
"""Values in one IN list or rows in one statement: databases limit parameters."""


@dataclass
class Outcome:
    """What a step did: how many it took, and what to publish after the commit."""

    count: int = 0
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def tell(self, topic: str, **payload: Any) -> None:
        """Remember an event."""
        self.events.append((topic, payload))


def home_of(attacker_uuid: str) -> str:
    """The identity of an address that is linked with no other."""
    return str(uuid.uuid5(_IDENTITIES, attacker_uuid))


def campaign_home_of(identity_uuid: str) -> str:
    """The campaign that an identity would name."""
    return str(uuid.uuid5(_CAMPAIGNS, identity_uuid))


async def resolve(
    session: AsyncSession, table: type[AttackerIdentity] | type[Campaign], uuid: str
) -> str | None:
    """The living one behind a uuid that may have been merged; None where there is none.

    Follows at most `HOPS_MOST` pointers.
    """
    for _ in range(HOPS_MOST + 1):
        row = (
            await session.execute(
                select(col(table.merged_into_uuid)).where(col(table.uuid) == uuid)
            )
        ).first()
        if row is None:
            return None
        if row[0] is None:
            return uuid
        uuid = row[0]
    return None


async def point(
    session: AsyncSession,
    table: type[AttackerIdentity] | type[Campaign],
    losers: list[str],
    winner: str,
) -> None:
    """Losers, and all that pointed at them, point at the winner: chains stay one hop long."""
    for part in chunks(losers):
        await session.execute(
            update(table)
            .where(col(table.uuid).in_(part) | col(table.merged_into_uuid).in_(part))
            .where(col(table.uuid) != winner)
            .values(merged_into_uuid=winner)
            .execution_options(synchronize_session=False)
        )


def chunks(values: list[str]) -> list[list[str]]:
    """Pieces that fit in a statement."""
    return [values[at : at + CHUNK] for at in range(0, len(values), CHUNK)]
