"""When the mutator has something to do: asked of the database before anything is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from decnet.db.engine import Database
from decnet.db.tables import DeckyMutation, FleetDecky, utc_now
from decnet.estate import mutations
from decnet.workers.mutate import Mutator

HOST = "here"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/decnet.db")
    await database.create_all()
    await database.open(check=False)
    yield database
    await database.close()


def decky(interval: int = 0, ago: int | None = None, host: str = HOST) -> FleetDecky:
    """One that is to change each `interval` minutes, and did so `ago` minutes ago."""
    at = None if ago is None else utc_now() - dt.timedelta(minutes=ago)
    return FleetDecky(
        host_uuid=host, name="decky-01", services=["ssh"], mutate_interval_min=interval,
        mutated_at=at,
    )  # fmt: skip


def request(state: str, host: str = HOST) -> DeckyMutation:
    return DeckyMutation(host_uuid=host, decky_name="decky-01", trigger="test", state=state)


async def is_needed(database: Database, *rows: Any) -> bool:
    async def add(session: Any) -> None:
        session.add_all(rows)

    await database.write(add)
    async with database.session() as session:
        return await mutations.is_needed(session, HOST, utc_now())


@pytest.mark.parametrize(
    ("row", "needed"),
    [
        (decky, False),
        (lambda: decky(interval=10, ago=9), False),
        (lambda: decky(interval=10, ago=11), True),
        (lambda: decky(interval=10, ago=11, host="elsewhere"), False),
        (lambda: decky(interval=10), True),  # its clock is to be set
        (lambda: request("pending"), True),  # of no decky: it is to be refused
        (lambda: request("applying"), True),  # its mutator was killed
        (lambda: request("applied"), False),
        (lambda: request("pending", host="elsewhere"), False),
    ],
)
async def test_work_is_seen_without_writing(
    database: Database, row: Callable[[], Any], needed: bool
) -> None:
    assert await is_needed(database, row()) is needed


async def test_idle_tick_writes_nothing(database: Database) -> None:
    async def write(work: Any) -> None:
        raise AssertionError("a write transaction")

    assert not await is_needed(database, decky(interval=10, ago=1))
    ctx: Any = SimpleNamespace(db=database, write=write)
    assert not await Mutator(ctx, HOST).tick()
