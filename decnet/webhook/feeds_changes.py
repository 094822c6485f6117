"""Feeds of rows that change: what a row is now, against what was told of it.

Identities and campaigns merge and part again, and no column says when. While somebody asks for
their events, `webhook_marks` holds what was told of each; a join finds the differences. The join
reads the whole table, so it is made when the bus hints, and every `LOOK_SECONDS` without it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, literal, null, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from decnet.bus import topics
from decnet.db import cursors
from decnet.db.dialect import upsert
from decnet.db.tables import Attacker, AttackerIdentity, Campaign, WebhookMark
from decnet.webhook.event import Event
from decnet.webhook.feeds import CURSOR_PREFIX

LOOK_SECONDS = 60.0
MEMBERS_MOST = 100
ON, OFF = "on", "off"


class Changes:
    """Differences between a table and its marks. The cursor counts looks that found some."""

    name: str
    patterns: tuple[str, ...]
    table: type[SQLModel]

    def __init__(self) -> None:
        self._due = 0.0
        self._found: list[dict[str, Any]] = []

    async def end(self, session: AsyncSession) -> Any:
        """Nothing is compared before somebody asks."""
        return OFF

    async def skip(self, session: AsyncSession, since: Any) -> Any:
        """Marks that are not kept are worth nothing."""
        return OFF

    def hint(self) -> None:
        """Look at the next tick."""
        self._due = 0.0

    async def begin(self, session: AsyncSession) -> None:
        """What is there now is known: mark all of it, in the caller's transaction."""
        key = CURSOR_PREFIX + self.name
        if await cursors.get(session, key, OFF) != OFF:
            return
        await self._mark_all(session)
        await cursors.set(session, key, 0)

    async def read(self, session: AsyncSession, since: Any, most: int) -> tuple[list[Event], Any]:
        """Events of rows that are not as they were told."""
        self._found = []
        if since == OFF:
            return [], 0
        if time.monotonic() < self._due:
            return [], since
        rows = (await session.execute(self._differences().limit(most))).all()
        if not rows:
            self._due = time.monotonic() + LOOK_SECONDS
            return [], since
        events = []
        for row in rows:
            changes = (row.changes or 0) + 1
            events += [event async for event in self._events(session, row, changes)]
            self._found.append(
                {
                    "key": self._key(row.uuid),
                    "merged_into": row.merged_into_uuid,
                    "campaign": row.campaign_id,
                    "changes": changes,
                }
            )
        return events, since + 1

    async def settle(self, session: AsyncSession, until: Any) -> None:
        """Mark what was read; after a time without subscribers, all that is there."""
        if until == OFF:
            await session.execute(delete(WebhookMark).where(self._mine()))
        elif until == 0:
            await self._mark_all(session)
        elif self._found:
            names = ("merged_into", "campaign", "changes")
            await session.execute(
                upsert(session, WebhookMark, self._found, key=["key"], update=names)
            )

    # -- below

    def _key(self, uuid: str) -> str:
        return f"{self.name}:{uuid}"

    def _mine(self) -> ColumnElement[bool]:
        return col(WebhookMark.key).startswith(self.name + ":", autoescape=True)

    def _campaign(self) -> Any:
        return getattr(self.table, "campaign_id", null())

    async def _mark_all(self, session: AsyncSession) -> None:
        table: Any = self.table
        await session.execute(delete(WebhookMark).where(self._mine()))
        now = select(
            literal(self.name + ":") + table.uuid,
            table.merged_into_uuid,
            self._campaign(),
            literal(0),
        )
        columns = ["key", "merged_into", "campaign", "changes"]
        await session.execute(insert(WebhookMark).from_select(columns, now))

    def _differences(self) -> Any:
        table, mark, campaign = self.table, WebhookMark, self._campaign()
        uuid: Any = table.uuid  # type: ignore[attr-defined]
        merged: Any = table.merged_into_uuid  # type: ignore[attr-defined]
        return (
            select(
                uuid,
                merged,
                campaign.label("campaign_id"),
                col(mark.key).label("mark"),
                col(mark.merged_into).label("told_merged"),
                col(mark.campaign).label("told_campaign"),
                col(mark.changes),
            )
            .outerjoin(mark, col(mark.key) == literal(self.name + ":") + uuid)
            .where(
                or_(
                    col(mark.key).is_(None),
                    col(mark.merged_into).is_distinct_from(merged),
                    col(mark.campaign).is_distinct_from(campaign),
                )
            )
            .order_by(uuid)
        )

    async def _events(self, session: AsyncSession, row: Any, changes: int) -> Any:
        key = f"{row.uuid}|{changes}"
        now = time.time()
        if row.mark is None:
            formed = {f"{self.name}_uuid": row.uuid, **await self._members(session, row.uuid)}
            yield Event.make(f"{self.name}.formed", row.uuid, now, formed)
        if row.merged_into_uuid is not None and row.merged_into_uuid != row.told_merged:
            told = {"winner_uuid": row.merged_into_uuid, "loser_uuid": row.uuid}
            yield Event.make(f"{self.name}.merged", key, now, told)
        elif row.merged_into_uuid is None and row.told_merged is not None:
            told = {"resurrected_uuid": row.uuid, "former_winner_uuid": row.told_merged}
            yield Event.make(f"{self.name}.unmerged", key, now, told)
        for event in self._more(row, key, now):
            yield event

    async def _members(self, session: AsyncSession, uuid: str) -> dict[str, Sequence[str]]:
        raise NotImplementedError

    def _more(self, row: Any, key: str, now: float) -> Iterator[Event]:
        yield from ()


class Identities(Changes):
    """Identities form, merge, part, and join campaigns."""

    name = "identity"
    table = AttackerIdentity
    patterns = (
        *(topics.IDENTITY_FORMED, topics.IDENTITY_MERGED, topics.IDENTITY_UNMERGED),
        *(topics.IDENTITY_CAMPAIGN, topics.CAMPAIGN_IDENTITY),
    )

    async def _members(self, session: AsyncSession, uuid: str) -> dict[str, Sequence[str]]:
        found = await session.scalars(
            select(col(Attacker.uuid)).where(col(Attacker.identity_id) == uuid).limit(MEMBERS_MOST)
        )
        return {"observation_uuids": list(found)}

    def _more(self, row: Any, key: str, now: float) -> Iterator[Event]:
        if row.campaign_id is None or row.campaign_id == row.told_campaign:
            return
        told = {"identity_uuid": row.uuid, "campaign_uuid": row.campaign_id}
        yield Event.make(topics.IDENTITY_CAMPAIGN, key, now, told)
        told = {"campaign_uuid": row.campaign_id, "identity_uuids": [row.uuid]}
        yield Event.make(topics.CAMPAIGN_IDENTITY, key, now, told)


class Campaigns(Changes):
    """Campaigns form, merge and part."""

    name = "campaign"
    table = Campaign
    patterns = (topics.CAMPAIGN_FORMED, topics.CAMPAIGN_MERGED, topics.CAMPAIGN_UNMERGED)

    async def _members(self, session: AsyncSession, uuid: str) -> dict[str, Sequence[str]]:
        found = await session.scalars(
            select(col(AttackerIdentity.uuid))
            .where(col(AttackerIdentity.campaign_id) == uuid)
            .limit(MEMBERS_MOST)
        )
        return {"identity_uuids": list(found)}
