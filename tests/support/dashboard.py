"""A small fleet with a dashboard on free ports, with rows to be shown, and a real visitor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlmodel import Session, create_engine

from decnet.db.tables import Log
from decnet.run.ports import free_ports
from decnet.run.visit import Visit, ssh_visit
from decnet.settings import Settings
from decnet.web.api import auth
from tests.support.api import NOW
from tests.support.decnet_env import migrated
from tests.support.estate_rows import HOSTILE, fill
from tests.support.managers import Manager

WORKERS = ("bus", "collect", "profiler", "api", "web")
ZYGOTE = f"""
[zygote.small]
preload = {[f"decnet.workers.{name}" for name in WORKERS] + ["decnet.decoys.floor"]}
bake = ["collect", "freeze"]
[defaults]
zygote = "small"
type = "notify"
restart = "on-failure"
memory_max = "128M"
"""
FLEET = ZYGOTE + "\n".join(
    [f'[worker.{name}]\nrun = "decnet.workers.{name}:run"' for name in WORKERS]
    + ['[worker."decoy@"]\nrun = "decnet.workers.decoy:run"\nargs = ["%i"]\n[worker."decoy@ssh"]\n']
)


@dataclass
class Dashboard:
    """A running one."""

    manager: Manager
    settings: Settings
    url: str
    uuids: dict[str, str]

    def link(self, role: str = "admin") -> str:
        """Where one is logged in without typing."""
        name = "ann" if role == "admin" else "vic"
        return f"{self.url}/#token={auth.mint(self.settings.jwt_secret, name, role)}"

    async def attack(self, user: str) -> Visit:
        """Log in to the SSH decoy with the machine's own client and run a command."""
        port = self.settings.decoy_port("ssh")
        return await ssh_visit("127.0.0.1", port, user, "hunter2", "uname -a")

    async def worker(self, name: str) -> Any:
        """What the manager says of a worker."""
        return await self.manager.worker(name)


def add_hostile_log(settings: Settings) -> None:
    """An event with text that no page may run."""
    engine = create_engine(f"sqlite:///{settings.db_file}")
    with Session(engine) as session:
        session.add(
            Log(
                timestamp=NOW,
                decky="decky-01",
                service="ssh",
                event_type="login_attempt",
                attacker_ip="192.0.2.77",
                raw_line="-",
                fields={"principal": HOSTILE},
            )
        )
        session.commit()
    engine.dispose()


@contextlib.asynccontextmanager
async def dashboard(folder: Path) -> AsyncIterator[Dashboard]:
    """Start it and wait until everything is ready; nothing of it is left behind."""
    state = folder / "state"
    state.mkdir()
    env = {
        **free_ports(1),
        "DECNET_STATE_DIR": str(state),
        "DECNET_BUS_SOCKET": str(folder / "bus.sock"),
    }
    settings = Settings.from_env(env)
    await asyncio.to_thread(migrated, state)
    uuids = await asyncio.to_thread(fill, settings)
    await asyncio.to_thread(add_hostile_log, settings)
    manager = Manager(folder, FLEET)
    manager.env, manager.patience = env, 100.0
    try:
        await manager.start()
        for name in (*WORKERS, "decoy@ssh"):
            await manager.until(name, lambda worker: worker.state == "ready")
        yield Dashboard(manager, settings, f"http://127.0.0.1:{env['DECNET_WEB_PORT']}", uuids)
    finally:
        await manager.clean_up()
        print(manager.output)
