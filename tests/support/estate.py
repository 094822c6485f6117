"""mutate, reconciler, orchestrator and a few decoys on a real manager."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from decnet.run.ports import free_ports
from tests.support.bus import DEADLINE
from tests.support.decnet_env import migrated, query, worker
from tests.support.managers import Manager

FLEET = """
[zygote.estate]
preload = ["decnet.workers.mutate", "decnet.workers.reconciler", "decnet.workers.orchestrator"]
bake = ["freeze"]
[zygote.decoy]
preload = ["decnet.workers.decoy"]
bake = ["freeze"]
[defaults]
type = "notify"
restart = "on-failure"
[worker.mutate]
zygote = "estate"
run = "decnet.workers.mutate:run"
autostart = false
[worker.reconciler]
zygote = "estate"
run = "decnet.workers.reconciler:run"
[worker.orchestrator]
zygote = "estate"
run = "decnet.workers.orchestrator:run"
autostart = false
[worker."decoy@"]
zygote = "decoy"
run = "decnet.workers.decoy:run"
args = ["%i"]
[worker."decoy@http"]
[worker."decoy@tcp"]
start_limit = 3
[worker."decoy@http-02"]
[worker."decoy@smtp-02"]
"""


@contextlib.asynccontextmanager
async def running_estate(folder: Path) -> AsyncIterator[Manager]:
    """The manager with its estate, on a migrated state folder."""
    state = folder / "state"
    state.mkdir()
    await asyncio.to_thread(migrated, state)
    manager = Manager(folder, FLEET)
    manager.env = {
        "DECNET_STATE_DIR": str(state),
        "DECNET_BUS_ENABLED": "false",
        "DECNET_RECONCILE_SECONDS": "1",
        "DECNET_LIFE_SECONDS": "1",
        **free_ports(2),
    }
    try:
        yield await manager.start()
    finally:
        await manager.clean_up()


def rows(manager: Manager, sql: str) -> list[tuple[Any, ...]]:
    return query(Path(manager.env["DECNET_STATE_DIR"]) / "decnet.db", sql)


async def until_rows(manager: Manager, sql: str, wanted: list[tuple[Any, ...]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while (found := rows(manager, sql)) != wanted:
            assert len(found) <= 1000
            await asyncio.sleep(0.05)


STATES = "SELECT name, state, services FROM fleet_deckies ORDER BY name"
BOTH = [
    ("decky-01", "running", '["http","tcp"]'),
    ("decky-02", "running", '["http","smtp"]'),
]


async def ask(manager: Manager, *arguments: str) -> str:
    async with worker(
        Path(manager.env["DECNET_STATE_DIR"]), "decnet.cli.app", *arguments, **manager.env
    ) as process:
        said = await process.line()
        assert await process.ended() == 0, process.log.read_text()
        return said
