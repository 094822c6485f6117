"""mutate, reconciler, orchestrator and a few decoys on a real manager."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.support.bus import DEADLINE
from tests.support.decnet_env import migrated, query, worker
from tests.support.managers import Manager

FLEET = """
[zygote.estate]
preload = ["decnet.workers.mutate", "decnet.workers.reconciler", "decnet.workers.orchestrator"]
[zygote.decoy]
preload = ["decnet.workers.decoy"]
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
[worker."decoy@http-02"]
[worker."decoy@smtp-02"]
"""
KINDS = ("http", "tcp", "ftp", "smtp", "telnet", "ssh", "redis", "mysql")


def free_bases() -> dict[str, str]:
    """A free port for each kind on decky 1 and, a hundred further, on decky 2."""
    found: dict[str, str] = {}
    while len(found) < len(KINDS):
        port = random.randrange(20_000, 60_000)
        with contextlib.ExitStack() as held:
            try:
                for each in (port, port + 100):
                    sock = held.enter_context(socket.socket())
                    sock.bind(("127.0.0.1", each))
            except OSError:
                continue
            if all(abs(port - int(other)) not in (0, 100) for other in found.values()):
                found[f"DECNET_DECOY_{KINDS[len(found)].upper()}_PORT"] = str(port)
    return found


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
        **free_bases(),
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
