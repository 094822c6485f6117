"""Questions about tags, for the command line and whoever exports them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from decnet.db.tables import Attacker, TtpTag


@dataclass(frozen=True)
class Filter:
    """Which tags; None means all. `technique` takes its sub-techniques along."""

    attacker: str | None = None
    """Address or uuid."""
    technique: str | None = None
    rule: str | None = None
    since: dt.datetime | None = None

    def apply(self, statement: Any) -> Any:
        """The statement with its conditions; needs `Attacker` joined."""
        if self.attacker:
            statement = statement.where(
                (col(Attacker.ip) == self.attacker) | (col(Attacker.uuid) == self.attacker)
            )
        if self.technique and "." in self.technique:
            statement = statement.where(col(TtpTag.sub_technique_id) == self.technique)
        elif self.technique:
            statement = statement.where(col(TtpTag.technique_id) == self.technique)
        if self.rule:
            statement = statement.where(col(TtpTag.rule_id) == self.rule)
        if self.since:
            statement = statement.where(col(TtpTag.observed_at) >= self.since)
        return statement


@dataclass(frozen=True)
class TechniqueCount:
    """A technique (the most exact) as it was seen."""

    technique: str
    tactic: str
    tags: int
    attackers: int
    confidence: float
    first: dt.datetime
    last: dt.datetime


async def tags(session: AsyncSession, wanted: Filter, limit: int) -> Sequence[Any]:
    """Pairs of a tag and its attacker's address (or None), newest first."""
    statement = select(TtpTag, col(Attacker.ip)).outerjoin(
        Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid)
    )
    statement = wanted.apply(statement).order_by(col(TtpTag.observed_at).desc(), col(TtpTag.uuid))
    return (await session.execute(statement.limit(limit))).all()


async def techniques(session: AsyncSession, wanted: Filter) -> list[TechniqueCount]:
    """All techniques that were seen, by their id."""
    leaf: Any = func.coalesce(col(TtpTag.sub_technique_id), col(TtpTag.technique_id))
    whose: Any = func.coalesce(col(TtpTag.attacker_uuid), col(TtpTag.identity_uuid))
    columns: list[Any] = [
        *(leaf, col(TtpTag.tactic), func.count(col(TtpTag.uuid))),
        *(func.count(func.distinct(whose)), func.max(col(TtpTag.confidence))),
        *(func.min(col(TtpTag.observed_at)), func.max(col(TtpTag.observed_at))),
    ]
    statement: Any = select(*columns).outerjoin(
        Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid)
    )
    statement = wanted.apply(statement).group_by(leaf, col(TtpTag.tactic)).order_by(leaf)
    return [TechniqueCount(*row) for row in (await session.execute(statement)).all()]


@dataclass(frozen=True)
class Sight:
    """A technique by one address."""

    ip: str
    technique: str
    tags: int
    confidence: float
    first: dt.datetime
    last: dt.datetime


async def sights(session: AsyncSession, wanted: Filter, limit: int) -> list[Sight]:
    """Who did what, by address and technique; at most `limit`."""
    leaf: Any = func.coalesce(col(TtpTag.sub_technique_id), col(TtpTag.technique_id))
    columns: list[Any] = [
        *(col(Attacker.ip), leaf, func.count(col(TtpTag.uuid))),
        func.max(col(TtpTag.confidence)),
        *(func.min(col(TtpTag.observed_at)), func.max(col(TtpTag.observed_at))),
    ]
    statement: Any = select(*columns).join(
        Attacker, col(Attacker.uuid) == col(TtpTag.attacker_uuid)
    )
    statement = wanted.apply(statement).group_by(col(Attacker.ip), leaf)
    rows = await session.execute(statement.order_by(col(Attacker.ip), leaf).limit(limit))
    return [Sight(*row) for row in rows.all()]
