"""decnet's api, web and decoys hand their sockets over: `reload` refuses nobody."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tests.support.clients import load
from tests.support.decnet_env import migrated
from tests.support.managers import Manager, managers
from tests.support.ports import free_port
from zygote.client.api import Client

PRELOAD = ("decnet.workers.api", "decnet.workers.web", "decnet.decoys.http")
WORKERS = """
[defaults]
type = "notify"
start_timeout = "120s"
stop_grace = "60s"
[worker.api]
run = "decnet.workers.api:run"
overlap = true
[worker.web]
run = "decnet.workers.web:run"
overlap = true
after = ["api"]
[worker."decoy@"]
run = "decnet.workers.decoy:run"
"""


def fleet_of(manager: Manager, ports: dict[str, int]) -> str:
    state = manager.folder / "state"
    env = {
        "DECNET_STATE_DIR": str(state),
        "DECNET_BUS_ENABLED": "false",
        "DECNET_API_PORT": str(ports["api"]),
        "DECNET_WEB_PORT": str(ports["web"]),
        "DECNET_DECOY_HTTP_PORT": str(ports["decoy"]),
    }
    table = ", ".join(f'{name} = "{value}"' for name, value in env.items())
    names = ", ".join(f'"{name}"' for name in PRELOAD)
    head = '[fleet]\nname = "tiny"\nmin_ready = "50ms"\n[zygote.floor]\nbake = ["freeze"]\n'
    return f"{head}preload = [{names}]\nenv = {{ {table} }}\n{WORKERS}"


async def test_api_web_and_decoys_refuse_nobody(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("api", "web", "decoy")}
    paths = {"api": "/api/v1/health", "web": "/", "decoy": "/"}
    async with managers(tmp_path) as make, contextlib.AsyncExitStack() as stack:
        manager = make("")
        manager.patience = 120.0
        (manager.folder / "state").mkdir()
        await asyncio.to_thread(migrated, manager.folder / "state")
        manager.file.write_text(fleet_of(manager, ports))
        await manager.start()
        await manager.spawn("api", "web", "decoy@http")
        before = {w.name: w.pid for w in await manager.workers()}
        clients = {
            name: await stack.enter_async_context(load(port, 1, paths[name]))
            for name, port in ports.items()
        }
        for seen in clients.values():
            await seen.more()
        client = await stack.enter_async_context(await Client.connect(manager.run / "control.sock"))
        for _ in range(2):
            steps = [step async for step in client.roll(workers=["*"])]
            assert [s.subject for s in steps if s.step == "moved"] == ["api", "web", "decoy@http"]
            for seen in clients.values():
                await seen.more(10)
        after = {w.name: w.pid for w in await manager.workers()}
        assert not set(before.values()) & set(after.values())
        assert {name: dict(seen.failures) for name, seen in clients.items()} == {
            "api": {}, "web": {}, "decoy": {},
        }  # fmt: skip
