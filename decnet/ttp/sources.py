"""Where events come from: tables, each read from a durable place on.

`logs` and `canary_triggers` only grow, so the place is an id. The tables of attackers, intelligence
and identities are changed in place, so there it is a time: that of the change. A transaction may
show its rows a little after the time that it wrote into them, therefore the stored place stays
`OVERLAP` behind now, and what lies in between is read again: tags are insert-or-ignore. Secrets
that are reused carry the attackers' time only: that table is swept whole, now and then.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.collect.address import UNKNOWN
from decnet.db import cursors
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    AttackerIntel,
    CanaryTrigger,
    CredentialReuse,
    Log,
    utc_now,
)
from decnet.ttp import tables
from decnet.ttp.event import Event, of_log

PROFILED = "attacker_worker_cursor"
"""The profiler's cursor: up to there every address has its row in `attackers`."""
OVERLAP = dt.timedelta(seconds=30)
SEEN_MOST = 5_000
LOG_COLUMNS = (
    col(Log.id),
    col(Log.timestamp),
    col(Log.decky),
    col(Log.service),
    col(Log.event_type),
    col(Log.attacker_ip),
    col(Log.fields),
    col(Log.msg),
)


@dataclass(frozen=True)
class Page:
    """Rows as events, and the place behind them. `is_last`: nothing more for now."""

    events: list[Event]
    place: Any
    is_last: bool
    rows: int = 0
    settle: Callable[[], None] = lambda: None
    """Called once the page is committed."""


class Source(Protocol):
    """A table, read page by page."""

    name: str
    topics: tuple[str, ...]
    every: float
    """Seconds after which it is looked at without a hint."""
    least: float
    """Seconds between two looks, however many hints come."""

    async def read(self, session: AsyncSession, place: Any, most: int) -> Page:
        """The next page behind a place (None: the beginning)."""
        ...


@dataclass
class LogSource:
    """Events of decoys, up to where the profiler is.

    An event whose attacker has no row yet is thus not dropped: it waits in the table, which is
    all that waiting costs. If the profiler stands still, so do we; `lag` shows it.
    """

    name: str = "logs"
    topics: tuple[str, ...] = ("attacker.scored", "attacker.observed", "attacker.session.ended")
    every: float = 0.0
    least: float = 0.0

    async def read(self, session: AsyncSession, place: Any, most: int) -> Page:
        since = place or 0
        until = await cursors.get(session, PROFILED, 0)
        statement = (
            select(*LOG_COLUMNS)
            .where(col(Log.id) > since, col(Log.id) <= until)
            .order_by(col(Log.id))
            .limit(most)
        )
        rows = (await session.execute(statement)).all()
        if not rows:
            return Page([], since, True)
        events = [
            event
            for row in rows
            if row.attacker_ip not in ("", UNKNOWN) and (event := of_log(row)) is not None
        ]
        return Page(events, rows[-1].id, len(rows) < most, len(rows))


@dataclass
class IdSource:
    """A table that only grows."""

    name: str
    topics: tuple[str, ...]
    statement: Callable[[], Select[Any]]
    id: Any
    convert: Callable[[Any], Iterable[Event]]
    every: float = 5.0
    least: float = 0.0

    async def read(self, session: AsyncSession, place: Any, most: int) -> Page:
        since = place or 0
        statement = self.statement().where(self.id > since).order_by(self.id).limit(most)
        rows = (await session.execute(statement)).all()
        events = [event for row in rows for event in self.convert(row)]
        return Page(events, rows[-1].id if rows else since, len(rows) < most, len(rows))


@dataclass
class SweepSource(IdSource):
    """A small table that changes without saying when: from the beginning after each end."""

    every: float = 60.0
    least: float = 5.0

    async def read(self, session: AsyncSession, place: Any, most: int) -> Page:
        page = await super().read(session, place, most)
        return Page(page.events, None if page.is_last else page.place, page.is_last, page.rows)


@dataclass
class ChangeSource:
    """A table whose rows say when they were changed."""

    name: str
    topics: tuple[str, ...]
    statement: Callable[[], Select[Any]]
    time: Any
    key: Any
    convert: Callable[[Any], Iterable[Event]]
    every: float = 5.0
    least: float = 1.0
    _seen: dict[str, dt.datetime] = field(default_factory=dict)
    """Rows after the stored place that were handled already, as they were."""
    _at: tuple[dt.datetime, str] | None = None
    """Where in the pass over the overlap we are."""

    async def read(self, session: AsyncSession, place: Any, most: int) -> Page:
        statement = self.statement()
        if self._at is None and place:
            self._at = (dt.datetime.fromisoformat(place[0]), place[1])
        if self._at is not None:
            time, key = self._at
            statement = statement.where(
                or_(self.time > time, and_(self.time == time, self.key > key))
            )
        rows = (await session.execute(statement.order_by(self.time, self.key).limit(most))).all()
        is_last = len(rows) < most
        fresh = [row for row in rows if self._seen.get(row.key) != row.time]
        events = [event for row in fresh for event in self.convert(row)]
        end = (rows[-1].time, rows[-1].key) if rows else self._at
        settled = utc_now() - OVERLAP
        stored = place
        if end is not None and rows:
            stored = [tables.text_of(end[0]), end[1]]
            if end[0] > settled:
                floor = [tables.text_of(settled), ""]
                stored = floor if not place or floor[0] > place[0] else place

        def settle() -> None:
            self._at = None if is_last else end
            for row in fresh:
                self._seen[row.key] = row.time
            for row_key in [k for k, time in self._seen.items() if time <= settled]:
                del self._seen[row_key]
            while len(self._seen) > SEEN_MOST:
                del self._seen[next(iter(self._seen))]

        if not fresh and stored == place:
            settle()
        return Page(events, stored, is_last, len(fresh), settle)


def all_sources() -> list[Source]:
    """One of each, with their topics and how often they are looked at without one."""
    return [
        LogSource(),
        ChangeSource(
            "behavior",
            ("attacker.scored",),
            tables.behaviors,
            col(Attacker.updated_at),
            col(Attacker.uuid),
            tables.of_behavior,
        ),
        ChangeSource(
            "intel",
            ("attacker.intel.enriched",),
            tables.intel,
            col(AttackerIntel.cached_at),
            col(AttackerIntel.uuid),
            tables.of_intel,
            every=15.0,
        ),
        ChangeSource(
            "identity",
            ("identity.>",),
            tables.identities,
            col(AttackerIdentity.updated_at),
            col(AttackerIdentity.uuid),
            tables.of_identity,
            every=15.0,
        ),
        IdSource("canary", ("canary.>",), tables.canaries, col(CanaryTrigger.id), tables.of_canary),
        SweepSource(
            "reuse",
            ("credential.reuse.detected",),
            tables.reuses,
            col(CredentialReuse.id),
            tables.of_reuse,
        ),
    ]
