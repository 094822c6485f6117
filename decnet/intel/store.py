"""Which attackers are to be enriched, and what came of it: the database decides, not the bus."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, AttackerIntel, new_uuid
from decnet.intel.ask import Outcome

_KEY = "attacker_uuid"
_COLUMNS = tuple(AttackerIntel.__table__.columns.keys())  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Due:
    """An attacker of whom nothing is known yet, or nothing that is still good."""

    uuid: str
    ip: str
    before: AttackerIntel | None = None

    @property
    def providers(self) -> dict[str, dict[str, Any]]:
        """What the providers said before."""
        return dict(self.before.providers) if self.before is not None else {}


@dataclass(frozen=True)
class Done:
    """What came of one."""

    due: Due
    outcome: Outcome
    at: dt.datetime

    def row(self) -> dict[str, Any]:
        """The whole row."""
        before = self.before_columns()
        return {
            **before,
            **self.outcome.columns,
            "attacker_uuid": self.due.uuid,
            "attacker_ip": self.due.ip,
            "providers": self.outcome.providers,
            "aggregate_verdict": self.outcome.verdict,
            "cached_at": self.at,
            "expires_at": self.outcome.expires_at,
        }

    def before_columns(self) -> dict[str, Any]:
        """What stays as it was; an empty row for a new attacker."""
        if self.due.before is not None:
            return {name: getattr(self.due.before, name) for name in _COLUMNS}
        empty: dict[str, Any] = dict.fromkeys(_COLUMNS)
        return empty | {"uuid": new_uuid(), "abuseipdb_categories": [], "blocklists": []}

    def payload(self) -> dict[str, Any]:
        """What `attacker.intel.enriched` says."""
        row = self.row()
        private = ("uuid", "providers", "cached_at", "expires_at")
        told = {name: value for name, value in row.items() if name not in private}
        return {**told, "providers": self.outcome.told()}


async def due(
    session: AsyncSession, now: dt.datetime, most: int, but: Collection[str] = ()
) -> list[Due]:
    """The next to be enriched: new attackers first, the newest of them; then what has expired.

    Args:
        but: attackers to leave out.
    """
    known = exists().where(col(AttackerIntel.attacker_uuid) == col(Attacker.uuid))
    fresh = (
        select(col(Attacker.uuid), col(Attacker.ip))
        .where(~known, col(Attacker.uuid).not_in(but))
        .order_by(col(Attacker.last_seen).desc())
        .limit(most)
    )
    found = [Due(row.uuid, row.ip) for row in (await session.execute(fresh)).all()]
    if len(found) < most:
        old = (
            select(AttackerIntel)
            .where(
                col(AttackerIntel.expires_at) <= now,
                col(AttackerIntel.attacker_uuid).not_in(but),
            )
            .order_by(col(AttackerIntel.expires_at))
            .limit(most - len(found))
        )
        rows = (await session.scalars(old)).all()
        found += [Due(row.attacker_uuid, row.attacker_ip, row) for row in rows]
    return found


async def store(session: AsyncSession, done: Sequence[Done]) -> None:
    """Write the rows, in the caller's transaction."""
    renewed = [name for name in _COLUMNS if name not in ("uuid", _KEY)]
    for one in done:
        await session.execute(upsert(session, AttackerIntel, one.row(), key=[_KEY], update=renewed))


async def measure(session: AsyncSession, now: dt.datetime) -> int:
    """Attackers without a row that is still good."""
    attackers = await session.scalar(select(func.count(col(Attacker.uuid)))) or 0
    good = select(func.count(col(AttackerIntel.uuid))).where(col(AttackerIntel.expires_at) > now)
    return int(attackers - (await session.scalar(good) or 0))
