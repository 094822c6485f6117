"""The dress rehearsal: every worker of the floor for a second, in one process, with a bus.

The rehearsals of single workers run their hot paths; this one runs what lies around them in each:
opening the context, speaking to the bus, beating, waiting, stopping. All on a scratch folder, on
ports that the kernel chooses, and with no manager to talk to.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from decnet.bus.client import BusClient
from decnet.db.engine import Database
from decnet.settings import Settings
from decnet.supervise.host import Host, load
from decnet.workers import WORKERS

ON_STAGE_SECONDS = 0.3
READY_SECONDS = 20.0
_TRIED_PORTS = ("API_PORT", "WEB_PORT", "CANARY_PORT")


async def rehearse(folder: Path, absent: Collection[str] = ()) -> list[str]:
    """Host the workers until all are ready, and a moment longer.

    Those that are late on a machine that is busy are warmed up less, and that is all: a floor that
    does not bake would cost the whole fleet.

    Args:
        folder: empty; keeps nothing that anybody needs.
        absent: workers that stay away.
    Returns:
        The names of those that were not ready in time.
    """
    with _scratch_environment(folder):
        settings = Settings.from_env()
        await Database(settings.db_url).create_all()
        host = Host([load(name) for name in WORKERS if name not in absent], settings)
        running = asyncio.create_task(host.run())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECONDS):
                    for worker in host.workers:
                        await worker.ready.wait()
            await _speak(settings)
            return [worker.name for worker in host.workers if not worker.ready.is_set()]
        finally:
            host.stop("the rehearsal is over")
            await running


async def _speak(settings: Settings) -> None:
    """A bus that has something to say."""
    client = BusClient(settings.bus_socket, "rehearsal")
    try:
        await client.connect()
        for _ in range(10):
            client.publish("system.log", {"component": "collector", "flushed": 0, "position": 0})
            await asyncio.sleep(ON_STAGE_SECONDS / 10)
    finally:
        await client.close()


@contextlib.contextmanager
def _scratch_environment(folder: Path) -> Iterator[None]:
    """Nothing of the real fleet's variables; put back afterwards."""
    before = dict(os.environ)
    level = logging.root.manager.disable
    try:
        for name in before:
            if name.startswith(("DECNET_", "ZYGOTE_", "NOTIFY_", "WATCHDOG_")):
                del os.environ[name]
        os.environ["DECNET_STATE_DIR"] = str(folder)
        os.environ["DECNET_PROBE_TARGETS"] = "none"
        for port in _TRIED_PORTS:
            os.environ[f"DECNET_{port}"] = "0"
        logging.disable(logging.CRITICAL)
        yield
    finally:
        logging.disable(level)
        os.environ.clear()
        os.environ.update(before)
