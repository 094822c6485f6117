"""/logs: stored events, newest first, and how many there were when."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import ColumnElement, func, select
from sqlmodel import col

from decnet.db.tables import Log, utc_now
from decnet.web.api.guard import Caller, Ctx
from decnet.web.api.paging import Cursor, Limit, Offset, Page, Shape, Text, count, found, keyset

router = APIRouter(prefix="/logs", tags=["logs"])
BUCKETS_MOST = 120
Id = Annotated[int | None, Query(ge=0, lt=2**63)]


class LogEvent(Shape):
    """One stored event."""

    id: int
    timestamp: dt.datetime
    decky: str
    service: str
    event_type: str
    attacker_ip: str
    fields: dict[str, Any]
    msg: str | None = None
    raw_line: str


class LogPage(Page[LogEvent]):
    """One page of events, newest first. `total` counts to 10000 only."""

    total: int
    offset: int


class Bucket(BaseModel):
    """How many events from `start` on, for `seconds`."""

    start: dt.datetime
    count: int


class Histogram(BaseModel):
    """Events over time, oldest bucket first."""

    seconds: float
    total: int
    data: list[Bucket]


def narrowed(
    attacker_ip: str | None, decky: str | None, service: str | None, event_type: str | None
) -> list[ColumnElement[bool]]:
    """The filters that are given."""
    return [
        col(column) == value
        for column, value in (
            (Log.attacker_ip, attacker_ip),
            (Log.decky, decky),
            (Log.service, service),
            (Log.event_type, event_type),
        )
        if value is not None
    ]


@router.get("")
async def logs(
    ctx: Ctx,
    caller: Caller,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = None,
    attacker_ip: Text = None,
    decky: Text = None,
    service: Text = None,
    event_type: Text = None,
    after_id: Id = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> LogPage:
    """Stored events, newest first, narrowed by any of the filters."""
    wanted = narrowed(attacker_ip, decky, service, event_type)
    if after_id is not None:
        wanted.append(col(Log.id) > after_id)
    if since is not None:
        wanted.append(col(Log.timestamp) >= since)
    if until is not None:
        wanted.append(col(Log.timestamp) < until)
    statement = select(Log).where(*wanted)
    async with ctx.db.session() as session:
        total = await count(session, select(col(Log.id)).where(*wanted))
        rows, after = await keyset(session, statement.offset(offset), [col(Log.id)], limit, cursor)
    data = [LogEvent.model_validate(row) for (row,) in rows]
    return LogPage(total=total, limit=limit, offset=offset, data=data, next=after)


@router.get("/histogram")
async def histogram(
    ctx: Ctx,
    caller: Caller,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    buckets: Annotated[int, Query(ge=1, le=BUCKETS_MOST)] = 48,
    attacker_ip: Text = None,
    decky: Text = None,
    service: Text = None,
    event_type: Text = None,
) -> Histogram:
    """How many events in each of equal parts of a time; default: the last 24 hours."""
    end = until or utc_now()
    start = since or end - dt.timedelta(hours=24)
    if start >= end:
        raise HTTPException(422, "`since` must be before `until`")
    step = (end - start) / buckets
    edges = [start + step * n for n in range(buckets)] + [end]
    wanted = narrowed(attacker_ip, decky, service, event_type)
    # A count a bucket: each walks its own range of the index only.
    counts = [
        select(func.count(col(Log.id)))
        .where(col(Log.timestamp) >= low, col(Log.timestamp) < high, *wanted)
        .scalar_subquery()
        for low, high in itertools.pairwise(edges)
    ]
    async with ctx.db.session() as session:
        row = (await session.execute(select(*counts))).one()
    data = [Bucket(start=at, count=n) for at, n in zip(edges, row, strict=False)]
    return Histogram(seconds=step.total_seconds(), total=sum(row), data=data)


@router.get("/{log_id}")
async def log(ctx: Ctx, caller: Caller, log_id: Annotated[int, Path(ge=0, lt=2**63)]) -> LogEvent:
    """One event."""
    async with ctx.db.session() as session:
        return LogEvent.model_validate(found(await session.get(Log, log_id), "such event"))
