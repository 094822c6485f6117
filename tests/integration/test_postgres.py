"""The same tenant on PostgreSQL: schema, and the whole fleet under load, by URL alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import create_async_engine

from decnet.db.migrate import check, migrate
from decnet.db.revision import HEAD
from decnet.db.tables import METADATA
from decnet.load.audit import audited
from decnet.load.crowd import plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready
from decnet.run.manager import running
from decnet.run.ports import free_ports
from decnet.run.prepare import prepare
from decnet.settings import Settings, async_url
from tests.support.postgres import server

pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra: postgres)")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """One server for both: who migrates what is there already has nothing to do."""
    with server() as found:
        yield found


async def test_migrations_make_all_tables(url: str) -> None:
    assert await asyncio.to_thread(migrate, url) == (None, HEAD)
    assert await asyncio.to_thread(migrate, url) == (HEAD, HEAD)
    await asyncio.to_thread(check, url)
    engine = create_async_engine(async_url(url))
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    await engine.dispose()
    assert found == set(METADATA.tables) | {"alembic_version"}


@pytest.mark.timeout(600)
async def test_fleet_counts_agree_under_load(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, runtime = tmp_path / "state", tmp_path / "run"
    for name, value in {
        "DECNET_STATE_DIR": str(state),
        "ZYGOTE_RUNTIME_DIR": str(runtime),
        "DECNET_DB_URL": url,
        **free_ports(),
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_env()
    await asyncio.to_thread(prepare)
    log = tmp_path / "manager.log"
    async with running(FLEET, runtime, dict(os.environ), log, lambda line: None) as manager:
        await all_ready(manager, asyncio.Event(), lambda line: None)
        async with audited(settings) as audit:
            steps = plan(await targets(manager.socket, settings), 8, 6, 3)
            tally = await send(steps, settings.decoy_host, asyncio.Event())
            outcome = await audit.settled(tally, 240)
        assert outcome.ok and outcome.unanswered == 0, outcome
        assert all(w.restarts == 0 for w in await (await manager.client()).workers())
    assert not (state / "decnet.db").exists()
