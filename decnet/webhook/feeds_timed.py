"""Feeds of tables whose rows have a time and no growing id.

The cursor is the last row's (time, key). A row may be committed after one with a later time: its
writer waited for the lock. So the last `OVERLAP` seconds are read again; what was stored before
is known by its event id. (A clock set back by more than that hides rows for so long.)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.db.tables import METADATA, utc_now
from decnet.webhook.event import Event
from decnet.webhook.feeds import Feed, Plain

OVERLAP = dt.timedelta(seconds=90)
AGAIN_MOST = 1000
"""Rows of the overlap that are read again at most."""


@dataclass(frozen=True)
class Timed(Plain):
    """A table with a time column; `make` turns a row (by column name) into events."""

    name: str
    patterns: tuple[str, ...]
    table: str
    key: str
    at: str
    make: Callable[[Any], Iterable[Event]]

    async def end(self, session: AsyncSession) -> dict[str, str]:
        """Now."""
        return {"at": utc_now().isoformat(), "key": ""}

    async def skip(self, session: AsyncSession, since: Any) -> Any:
        """Now and then the end: not at each look, it would be written each time."""
        old = dt.datetime.fromisoformat(since["at"]) < utc_now() - OVERLAP
        return await self.end(session) if old else since

    async def read(
        self, session: AsyncSession, since: Any, most: int
    ) -> tuple[list[Event], dict[str, str]]:
        """The next rows, and stragglers of the overlap."""
        table = METADATA.tables[self.table]
        at, key = table.c[self.at], table.c[self.key]
        last, last_key = dt.datetime.fromisoformat(since["at"]), since["key"]
        behind = or_(at > last, and_(at == last, key > last_key))
        fresh = await self._rows(session, table, behind, most)
        late = []
        if last > utc_now() - 2 * OVERLAP:
            again = and_(at > last - OVERLAP, at <= last)
            late = await self._rows(session, table, again, AGAIN_MOST)
        events = [event for row in (*late, *fresh) for event in self.make(row)]
        if not fresh:
            return events, since
        end = fresh[-1]
        return events, {"at": getattr(end, self.at).isoformat(), "key": getattr(end, self.key)}

    async def _rows(
        self, session: AsyncSession, table: Table, where: ColumnElement[bool], most: int
    ) -> list[Any]:
        at, key = table.c[self.at], table.c[self.key]
        statement = select(table).where(where).order_by(at, key).limit(most)
        return list((await session.execute(statement)).all())


def _tagged(row: Any) -> Iterable[Event]:
    ts = row.created_at.timestamp()
    who = {
        "attacker_uuid": row.attacker_uuid,
        "identity_uuid": row.identity_uuid,
        "session_id": row.session_id,
    }
    technique = row.sub_technique_id or row.technique_id
    yield Event.make(
        "ttp.tagged",
        row.uuid,
        ts,
        {**who, "tag_uuids": [row.uuid], "techniques_added": [technique]},
    )
    # A dot in a technique's number would be two tokens.
    yield Event.make(
        f"ttp.rule.fired.{topics.token(row.technique_id)}",
        row.uuid,
        ts,
        {
            **who,
            "technique_id": row.technique_id,
            "sub_technique_id": row.sub_technique_id,
            "tactic": row.tactic,
            "rule_id": row.rule_id,
            "confidence": row.confidence,
            "decky_id": row.decky_id,
            "tag_uuid": row.uuid,
        },
    )


def _placed(row: Any) -> Iterable[Event]:
    yield Event.make(
        topics.canary(row.uuid, "placed"),
        row.uuid,
        row.created_at.timestamp(),
        {
            "token_id": row.uuid,
            "name": row.name,
            "kind": row.kind,
            "decky_name": row.decky_name,
            "placement_path": row.placement_path,
        },
    )


def _revoked(row: Any) -> Iterable[Event]:
    if row.revoked_at is not None:
        yield Event.make(
            topics.canary(row.uuid, "revoked"),
            f"{row.uuid}|{row.revoked_at.isoformat()}",
            row.revoked_at.timestamp(),
            {"token_id": row.uuid, "name": row.name, "reason": row.revoked_reason},
        )


def _enriched(row: Any) -> Iterable[Event]:
    names = (
        *("attacker_uuid", "attacker_ip", "aggregate_verdict", "greynoise_classification"),
        *("abuseipdb_score", "abuseipdb_categories", "feodo_listed", "feodo_malware"),
        *("threatfox_listed", "threatfox_malware"),
    )
    verdicts = {
        name: (said or {}).get("verdict") or "failed"
        for name, said in (row.providers or {}).items()
    }
    yield Event.make(
        topics.ATTACKER_INTEL_ENRICHED,
        f"{row.uuid}|{row.cached_at.isoformat()}",
        row.cached_at.timestamp(),
        {**{name: getattr(row, name) for name in names}, "providers": verdicts},
    )


ALL = (
    Timed(
        "intel",
        (topics.ATTACKER_INTEL_ENRICHED,),
        "attacker_intel",
        "uuid",
        "cached_at",
        _enriched,
    ),
    Timed("ttp_tag", ("ttp.tagged", "ttp.rule.fired.*"), "ttp_tag", "uuid", "created_at", _tagged),
    Timed("canary_placed", ("canary.*.placed",), "canary_tokens", "uuid", "created_at", _placed),
    Timed("canary_revoked", ("canary.*.revoked",), "canary_tokens", "uuid", "revoked_at", _revoked),
)


def by_time() -> tuple[Feed, ...]:
    """The feeds whose tables this program has; of others the bus's copies are taken."""
    return tuple(feed for feed in ALL if feed.table in METADATA.tables)
