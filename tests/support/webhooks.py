"""A database with subscriptions, the rows that they tell of, and a worker that is quick."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from decnet.db.engine import Database
from decnet.db.tables import (
    Log,
)
from decnet.webhook import store
from tests.support.decnet_env import migrated, query
from tests.support.receiver import SECRET, Receiver, receiver

WEBHOOK = "decnet.workers.webhook"


QUICK = {
    "DECNET_WEBHOOK_ALLOW_PRIVATE": "true",
    "DECNET_WEBHOOK_RETRY_MS": "20",
    "DECNET_WEBHOOK_POLL_MS": "100",
    # The receiver is the test's own process: that it was held up is no failed delivery.
    "DECNET_WEBHOOK_TIMEOUT_MS": "100000",
    "DECNET_BUS_ENABLED": "false",
}


NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


async def write(folder: Path, work: Callable[[Any], Awaitable[Any]]) -> Any:
    database = Database(f"sqlite+aiosqlite:///{folder}/decnet.db")
    await database.open()
    try:
        return await database.write(work)
    finally:
        await database.close()


async def subscribe(folder: Path, name: str, url: str, *patterns: str, at_once: int = 1) -> None:
    await write(
        folder,
        lambda s: store.add(s, name, url, patterns, secret=SECRET, concurrency=at_once),
    )


def line(number: int, ip: str = "192.0.2.1", kind: str = "connect", **fields: str) -> Log:
    return Log(
        timestamp=NOW + dt.timedelta(seconds=number),
        decky="web-01",
        service="http",
        event_type=kind,
        attacker_ip=ip,
        raw_line="-",
        fields={"number": str(number), **fields},
    )


async def store_lines(folder: Path, numbers: range) -> None:
    async def work(session: Any) -> None:
        session.add_all([line(number) for number in numbers])

    await write(folder, work)


@contextlib.asynccontextmanager
async def setting(
    tmp_path: Path, *patterns: str, at_once: int = 1, **options: Any
) -> AsyncIterator[Receiver]:
    """A database with one subscription, "siem", and its receiver."""
    await asyncio.to_thread(migrated, tmp_path)
    async with receiver(**options) as made:
        await subscribe(tmp_path, "siem", made.url, *patterns, at_once=at_once)
        yield made


def row(folder: Path, columns: str, name: str = "siem") -> Any:
    sql = f"SELECT {columns} FROM webhook_subscriptions WHERE name = '{name}'"
    return query(folder / "decnet.db", sql)[0]
