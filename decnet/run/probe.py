"""`make run PROBE=1`: one real visit, followed from the client to the REST interface."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

import httpx2

from decnet.bus.client import BusClient
from decnet.run.manager import Manager
from decnet.run.visit import ssh_visit
from decnet.settings import Settings
from decnet.web.api import auth
from zygote.errors import ZygoteError
from zygote.sys import procfs

ARRIVAL_SECONDS = 60.0


async def probe(manager: Manager, settings: Settings) -> dict[str, Any]:
    """Visit the SSH decoy and wait until the visit is at the REST interface.

    Returns:
        {"event", "attacker", "bus", "client", "visit", "arrived_ms", "workers", "manager",
        "zygotes", "spawn_ms"}; memory in KiB, as `zygotectl ps --json` has it.
    Raises:
        ZygoteError: the visit failed, or did not arrive in time.
    """
    user, password = f"probe-{uuid.uuid4().hex[:12]}", "correct horse"
    heard: set[str] = set()
    bus = BusClient(settings.bus_socket, "probe")
    for pattern in ("system.log", "attacker.>"):
        bus.listen(pattern, lambda event: heard.add(event.topic))
    began = time.monotonic()
    try:
        await listening(bus)
        visit = await ssh_visit(
            settings.decoy_host, settings.decoy_ssh_port, user, password, "uname -a"
        )
        event, attacker = await _arrival(settings, user, heard)
    except (TimeoutError, ConnectionError) as error:
        raise ZygoteError(
            f"the visit to the SSH decoy on port {settings.decoy_ssh_port} failed: {error}",
            code="visit-failed",
            hint="see the decoy's log: decnetctl logs decoy@ssh",
        ) from error
    finally:
        await bus.close()
    return {
        "event": event,
        "attacker": attacker,
        "bus": sorted(heard),
        "client": visit.client,
        "visit": {"user": user, "command": visit.command, "output": visit.output},
        "arrived_ms": round((time.monotonic() - began) * 1e3, 1),
        **await processes(manager),
    }


async def listening(bus: BusClient, seconds: float = ARRIVAL_SECONDS) -> bool:
    """Connect until the broker knows what is listened for: it may be busy, as all of the machine.

    Returns:
        Whether it came to that within so many seconds.
    """
    deadline = time.monotonic() + seconds
    await bus.connect()
    while not (bus.connected and await bus.flush()):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def processes(manager: Manager) -> dict[str, Any]:
    """Every process of the fleet with its memory, and how long each worker took to spawn."""
    workers = await (await manager.client()).workers()
    zygotes = await (await manager.client()).zygotes()
    rows = [{"name": w.name, **memory(w.pid)} for w in workers if w.pid is not None]
    return {
        "workers": rows,
        "manager": {"name": "manager", **memory(manager.process.pid)},
        "zygotes": [{"name": z.name, **memory(z.pid)} for z in zygotes if z.pid is not None],
        "spawn_ms": {w.name: w.spawn_ms for w in workers if w.spawn_ms is not None},
    }


def memory(pid: int) -> dict[str, int | None]:
    """A process's row: pid, parent, and its memory in KiB (None where the kernel hides it)."""
    stat, figures = procfs.read_stat(pid), procfs.read_memory(pid)
    names = ("rss_kib", "pss_kib", "uss_kib", "private_dirty_kib", "pagetables_kib")
    return {
        "pid": pid,
        "ppid": stat.ppid if stat else None,
        **{name: getattr(figures, name, None) for name in names},
    }


async def _arrival(
    settings: Settings, user: str, heard: set[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The login's event and the attacker's profile at the interface, once the bus told of both."""
    token = auth.mint(settings.jwt_secret, settings.admin_user, "admin", 600)
    base = f"http://{settings.api_host}:{settings.api_port}/api/v1"
    deadline = time.monotonic() + ARRIVAL_SECONDS
    headers = {"Authorization": f"Bearer {token}"}
    missing = "at the REST interface"
    async with httpx2.AsyncClient(base_url=base, headers=headers, trust_env=False) as client:
        while time.monotonic() < deadline:
            logs = await _get(client, "/logs", service="ssh", event_type="login_attempt")
            mine = [row for row in logs if row["fields"].get("principal") == user]
            profiles = await _get(client, "/attackers", ip=mine[0]["attacker_ip"]) if mine else []
            if mine and profiles and {"system.log", "attacker.scored"} <= heard:
                return mine[0], profiles[0]
            if mine:
                missing = "on the bus" if profiles else "in the attackers' profiles"
            await asyncio.sleep(0.05)
    raise ZygoteError(
        f"the visit was made, but is not {missing} after {ARRIVAL_SECONDS:g} s",
        code="visit-lost",
        hint="see decnetctl ps, decnetctl logs collect profiler",
    )


async def _get(client: httpx2.AsyncClient, path: str, **params: str) -> list[dict[str, Any]]:
    answer = await client.get(path, params=params)
    answer.raise_for_status()
    rows: list[dict[str, Any]] = answer.json()["data"]
    return rows
