"""The embedded fleet under its manager: workers, bus and a zygote killed while visitors come."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import Manager, running
from decnet.run.prepare import prepare
from decnet.settings import Settings
from zygote.fleet import where

REQUESTS = 240
SEED = 7
KILLS_EACH = 3


def one(path: Path, query: str) -> int:
    """A single number from the database, read as a stranger to the fleet."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        return int(connection.execute(query).fetchone()[0] or 0)
    finally:
        connection.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


async def ready(manager: Manager, name: str) -> int:
    """Wait until a worker is ready; its pid."""
    deadline = time.monotonic() + 60
    while True:
        [worker] = await (await manager.client()).workers([name])
        if worker.ready and worker.pid is not None:
            return worker.pid
        assert worker.state != "failed", worker.error
        assert time.monotonic() < deadline, f"{name} is {worker.state}"
        await asyncio.sleep(0.05)


async def visit(settings: Settings) -> None:
    """Requests one after the other, each on a connection of its own."""
    url = f"http://{settings.decoy_host}:{settings.decoy_http_port}"
    for number in range(REQUESTS):
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.get(f"/page-{number}")).status_code < 500


async def kill_in_turn(manager: Manager, names: list[str], visiting: asyncio.Task[None]) -> None:
    """SIGKILL one after the other, as soon as the one before is ready again."""
    client = await manager.client()
    plan = random.Random(SEED)
    kills = names * KILLS_EACH
    plan.shuffle(kills)
    while kills and not visiting.done():
        name = kills[-1]
        [worker] = await client.workers([name])
        if worker.pid is None or not worker.ready:
            await asyncio.sleep(0.02)
            continue
        os.kill(worker.pid, signal.SIGKILL)
        kills.pop()
        await asyncio.sleep(plan.uniform(0.05, 0.4))


@pytest.mark.timeout(240)
async def test_fleet_killed_under_load_loses_nothing_and_takes_nobody_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with surroundings(scratch=True) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        settings = Settings.from_env()
        settings.prepare()
        prepare()
        database = settings.db_file
        assert database is not None
        runtime_dir = where.runtime_dir(str(FLEET), None)
        log = tmp_path / "manager.log"
        async with running(FLEET, runtime_dir, dict(os.environ), log, lambda _: None) as manager:
            await all_ready(manager, asyncio.Event(), lambda _: None)
            client = await manager.client()
            before = {w.name: w.pid for w in await client.workers()}
            floor = next(z for z in await client.zygotes() if z.name == "floor")
            visiting = asyncio.create_task(visit(settings))
            victims = ["collect", "profiler", "bus"]
            await kill_in_turn(manager, victims, visiting)
            await visiting
            assert floor.pid is not None
            os.kill(floor.pid, signal.SIGKILL)
            os.kill(
                await ready(manager, "collect"), signal.SIGKILL
            )  # comes back from the floor's next generation
            stored = "SELECT count(*) FROM logs WHERE event_type = 'request'"
            await until(lambda: one(database, stored) >= REQUESTS, "not all requests were stored")
            counted = "SELECT sum(event_count) FROM attackers"
            attacks = "SELECT count(*) FROM logs WHERE attacker_ip != 'Unknown'"
            await until(
                lambda: one(database, counted) >= one(database, attacks), "not all were profiled"
            )
            for name in victims:
                await ready(manager, name)
            after = {w.name: w for w in await client.workers()}
            assert one(database, stored) == REQUESTS
            assert one(database, counted) == one(database, attacks)
            distinct = "SELECT count(DISTINCT raw_line) FROM logs WHERE event_type = 'request'"
            assert one(database, distinct) == REQUESTS
            for name in ("api", "decoy@ssh", "decoy@http"):
                assert after[name].pid == before[name], f"{name} died with another"
            for name in victims:
                assert after[name].restarts >= 1
                assert after[name].pid != before[name]
            assert after["collect"].generation > 1
