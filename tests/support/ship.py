"""Certificates, a listener and forwarders as real processes, and what they wrote."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from decnet.ship import certs
from decnet.ship.tls import client_context
from tests.support.bus import until
from tests.support.decnet_env import Worker, worker
from tests.support.ports import free_port

LISTENER = "decnet.workers.listener"
FORWARDER = "decnet.workers.forwarder"
LINE = '<134>1 2026-11-24T03:00:00Z {} ssh - command [relay@55555 src_ip="192.0.2.7" n="{}"] text'


def authority(folder: Path, *names: str) -> Path:
    """A CA with a bundle for each name; gives DECNET_SHIP_DIR."""
    ship = folder / "ship"
    certs.init(ship)
    for name in names:
        certs.issue(ship, name)
    return ship


def bundle(ship: Path, name: str) -> Path:
    return ship / "issued" / name


def lines(count: int, decky: str = "d", first: int = 0) -> list[str]:
    return [LINE.format(decky, first + n) for n in range(count)]


def received(state: Path) -> list[dict[str, Any]]:
    """The records of `master.json`; what is being written at this moment is none yet."""
    file = state / "master.json"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


def raw(state: Path) -> list[str]:
    file = state / "master.log"
    return file.read_text().splitlines() if file.exists() else []


async def port_of(running: Worker, beginning: int = 0) -> int:
    """The port that the kernel chose, from the listener's log."""

    def find() -> re.Match[str] | None:
        said = running.log.read_text()[beginning:]
        assert running.process.returncode is None, said
        return re.search(r"listening on \S+:(\d+)", said)

    return int((await until(find))[1])


@contextlib.asynccontextmanager
async def listener(state: Path, ship: Path, port: int = 0, **env: str) -> AsyncIterator[Any]:
    """A listener: (worker, port). One of the kernel's choice somebody else might have later on."""
    state.mkdir(exist_ok=True)
    port = port or free_port()
    log = state.parent / f"{state.name}-{LISTENER}.err"
    beginning = len(log.read_text()) if log.exists() else 0
    async with worker(
        state,
        LISTENER,
        DECNET_SHIP_DIR=str(ship),
        DECNET_SWARM_SYSLOG_PORT=str(port),
        DECNET_BUS_ENABLED="false",
        **env,
    ) as running:
        yield running, await port_of(running, beginning)


def forwarder_env(ship_bundle: Path, port: int) -> dict[str, str]:
    return {
        "DECNET_SHIP_DIR": str(ship_bundle),
        "DECNET_SWARM_SYSLOG_PORT": str(port),
        "DECNET_BUS_ENABLED": "false",
    }


@contextlib.asynccontextmanager
async def tls_client(
    port: int, ship_bundle: Path | None, *, alpn: bool = False, **options: Any
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A plain peer with a certificate, or without."""
    if ship_bundle is not None:
        context = client_context(ship_bundle)
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["decnet-ship/1"] if alpn else ["syslog"])
    for name, value in options.items():
        setattr(context, name, value)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
