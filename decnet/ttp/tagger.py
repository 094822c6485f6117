"""The worker's work, page by page: read events, judge them, write tags and cursor together.

Patterns run between two transactions, never inside one: the database's write lock is held for the
insert alone. Events of one address are judged in a row, so that only its own past is in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db import cursors
from decnet.db.engine import Database
from decnet.db.tables import Log
from decnet.ttp.engine import Judge, Tag
from decnet.ttp.event import EVENT_TYPES, Event, of_log
from decnet.ttp.lifters import PAST_IDS, PAST_MOST, Past
from decnet.ttp.sources import LOG_COLUMNS, Page, Source
from decnet.ttp.tags import Written, write_tags

CURSOR_PREFIX = "ttp_cursor:"
BREATH = 10
"""Events between two looks at what else the loop has to do."""


class Moved(Exception):
    """The cursor is not where it was when the page was read: another worker wrote it."""


@dataclass(frozen=True)
class Turn:
    """What a page came to."""

    rows: int
    written: Written
    is_last: bool


async def read_page(db: Database, source: Source, most: int) -> tuple[Any, Page]:
    """The source's place, and the page behind it."""
    async with db.session() as session:
        place = await cursors.get(session, CURSOR_PREFIX + source.name)
        return place, await source.read(session, place, most)


async def judge_page(
    db: Database, judge: Judge, events: Iterable[Event], progress: Callable[[], None]
) -> list[Tag]:
    """Tags of all events, in the order of the events."""
    by_address: dict[str, list[Event]] = {}
    for event in events:
        by_address.setdefault(event.attacker_ip or "", []).append(event)
    found: list[tuple[int, list[Tag]]] = []
    judged = 0
    for address, theirs in by_address.items():
        past = await _past(db, judge, address, theirs)
        for event in theirs:
            tags = judge.judge(event, past)
            if tags:
                found.append((event.number, tags))
            if judge.looks_back(event.kind):
                past.add(event)
            judged += 1
            if judged % BREATH == 0:
                progress()
                await asyncio.sleep(0)
    found.sort(key=lambda pair: pair[0])
    return [tag for _, tags in found for tag in tags]


async def commit_page(
    session: AsyncSession, source: Source, place: Any, page: Page, tags: list[Tag]
) -> Written:
    """Tags and cursor, in the caller's transaction.

    Raises:
        Moved: somebody else moved the cursor.
    """
    key = CURSOR_PREFIX + source.name
    if await cursors.get(session, key) != place:
        raise Moved(source.name)
    written = await write_tags(session, tags)
    if page.place != place:
        await cursors.set(session, key, page.place)
    return written


async def _past(db: Database, judge: Judge, address: str, events: list[Event]) -> Past:
    """What the address did before the first of these events, for rules that look back."""
    past = Past()
    kinds = sorted(
        {event.kind for event in events if event.number and judge.looks_back(event.kind)}
    )
    if not address or not kinds:
        return past
    first = min(event.number for event in events if event.number)
    async with db.session() as session:
        for kind in kinds:
            for row in await _rows_before(session, address, kind, first):
                event = of_log(row)
                if event is not None:
                    past.add(event)
    return past


async def _rows_before(session: AsyncSession, address: str, kind: str, first: int) -> list[Any]:
    types = EVENT_TYPES[kind]
    if not types:
        return []
    statement = (
        select(*LOG_COLUMNS)
        .where(
            col(Log.attacker_ip) == address,
            col(Log.id) < first,
            col(Log.id) >= first - PAST_IDS,
            col(Log.event_type).in_(types),
        )
        .order_by(col(Log.id).desc())
        .limit(PAST_MOST)
    )
    return list(reversed((await session.execute(statement)).all()))
