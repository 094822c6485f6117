"""Tags for what happened before a rule was there: the worker's own path, without its cursors.

Silent on the bus. Live and backfill judge alike, so that whatever one has tagged the other finds
done; a backfill may run beside the worker.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from decnet.db.engine import Database
from decnet.db.tables import Log, utc_now
from decnet.ttp import states
from decnet.ttp.catalogue import Catalogue
from decnet.ttp.engine import Judge, Meter, Tag
from decnet.ttp.sources import LogSource, Source, all_sources
from decnet.ttp.tagger import judge_page
from decnet.ttp.tags import count_new, write_tags

KINDS_OF = {"command": ("logs", {"command"}), "canary": ("canary", None), "all": (None, None)}
"""What --source means: a source (None: all) and the kinds of event of it (None: all)."""


@dataclass
class Report:
    """What a backfill came to. `new` would have been written in a dry run."""

    events: int = 0
    tags: int = 0
    new: int = 0
    techniques: Counter[str] = field(default_factory=Counter)
    unattributed: int = 0


async def backfill(
    db: Database,
    catalogue: Catalogue,
    *,
    since_days: float = 7,
    source: str = "all",
    dry_run: bool = False,
    batch_size: int = 500,
    now: dt.datetime | None = None,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Tag what happened in the last days; what is tagged already stays as it is.

    Args:
        since_days: how far back; the age of the event counts, not that of its row.
        source: command, canary, all, or the name of one source (logs, behavior, …).
        dry_run: write nothing.
        progress: called after each page.
    Raises:
        ValueError: no such source.
    """
    since = (now or utc_now()) - dt.timedelta(days=since_days)
    name, kinds = KINDS_OF.get(source, (source, None))
    chosen = [each for each in all_sources() if name in (None, each.name)]
    if not chosen:
        names = ", ".join([*KINDS_OF, *(each.name for each in all_sources())])
        raise ValueError(f"no source {source!r}; there are {names}")
    async with db.session() as session:
        verdicts = await states.read_verdicts(session)
    counting = {k: v for k, v in verdicts.items() if v.state != "enabled" and v.holds(utc_now())}
    report = Report()
    # One judge for all pages: what a window was tagged for is counted once, in a dry run as well.
    judge = Judge(catalogue.attack, catalogue.kinds, counting, Meter())
    for each in chosen:
        place: Any = await _start(db, each, since)
        while True:
            async with db.session() as session:
                page = await each.read(session, place, batch_size)
            events = [
                event
                for event in page.events
                if event.time >= since and (kinds is None or event.kind in kinds)
            ]
            tags = await judge_page(db, judge, events, lambda: None)
            await _keep(db, tags, report, dry_run=dry_run)
            report.events += len(events)
            page.settle()
            progress(report)
            place = page.place
            if page.is_last:
                break
    return report


async def _start(db: Database, source: Source, since: dt.datetime) -> Any:
    """The place before the first event that is young enough."""
    if not isinstance(source, LogSource):
        return None
    async with db.session() as session:
        first = await session.scalar(
            select(func.min(col(Log.id))).where(col(Log.timestamp) >= since)
        )
        last = await session.scalar(select(func.max(col(Log.id))))
    return last or 0 if first is None else first - 1


async def _keep(db: Database, tags: list[Tag], report: Report, *, dry_run: bool) -> None:
    if not tags:
        return
    report.tags += len({tag.row["uuid"] for tag in tags})
    if dry_run:
        async with db.session() as session:
            report.new += await count_new(session, tags)
        return

    async def work(session: AsyncSession) -> Any:
        return await write_tags(session, tags)

    written = await db.write(work)
    report.new += len(written.new)
    report.unattributed += written.unattributed
    report.techniques.update(row["sub_technique_id"] or row["technique_id"] for row in written.new)
