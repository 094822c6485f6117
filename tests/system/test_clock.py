"""The machine's clock is set, by an hour and by a day, while visitors come: nobody notices.

For real: CLOCK_REALTIME has no namespace, so only a machine of our own may have it set.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import VmManager
from zygote.sys.cgroupfs import Group

PORT = 9999
WATCHDOG = 40
FLEET = f"""
[fleet]
name = "vm"
[zygote.floor]
preload = ["decnet.workers.bus", "decnet.workers.decoy", "decnet.decoys.tcp"]
bake = ["freeze"]
[defaults]
type = "notify"
restart = "on-failure"
watchdog = "{WATCHDOG}s"
start_timeout = "200s"
[worker.bus]
run = "decnet.workers.bus:run"
[worker."decoy@tcp"]
run = "decnet.workers.decoy:run"
args = ["tcp"]
after = ["bus"]
"""
JUMPS = (3600, -3600, -86400, 86400)
BETWEEN = 3.0
"""Seconds of the monotonic clock from one jump to the next."""
EVENTS = ("ended", "backoff", "watchdog", "stopping", "recycling", "failed", "baking")
"""What the manager would tell if anybody had been touched."""


@pytest.fixture
def clock() -> Iterator[None]:
    """Whatever the test sets: afterwards the clock is right again."""
    wall, monotonic = time.time(), time.monotonic()
    yield
    time.clock_settime(time.CLOCK_REALTIME, wall + time.monotonic() - monotonic)


def jump(seconds: float) -> None:
    """Set the machine's clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


async def visit(mark: str) -> None:
    """One visitor, who is answered by the decoy's banner, says one thing and goes."""
    async with asyncio.timeout(120):
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        await reader.readline()
        writer.write(mark.encode())
        writer.write_eof()
        await reader.read()
        writer.close()


async def crowd(stopped: asyncio.Event) -> list[str]:
    """Visitors, a few at once, until stopped; the marks of all who came."""
    came: list[str] = []

    async def one(number: int) -> None:
        turn = 0
        while not stopped.is_set():
            turn += 1
            mark = f"mark-{number}-{turn}"
            await visit(mark)
            came.append(mark)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(3)))
    return came


def noted(spool: Path) -> Counter[str]:
    """What visitors said, and how often the decoy has written it down."""
    found = re.findall(r'payload_b64="([^"]*)"', spool.read_text())
    return Counter(base64.b64decode(text).decode() for text in found)


async def test_set_clock_restarts_nobody_and_loses_nothing(
    ground: Group, tmp_path: Path, clock: None
) -> None:
    manager = VmManager(tmp_path / "m", FLEET, ground)
    state = tmp_path / "state"
    manager.env = {"DECNET_STATE_DIR": str(state), "DECNET_DECOY_TCP_PORT": str(PORT)}
    try:
        await manager.start()
        before = {w.name: w for w in await manager.workers()}
        zygote = (await manager.zygotes())[0].pid
        for name in before:
            await manager.until(name, lambda w: w.ready)
        before = {w.name: w for w in await manager.workers()}
        told = len(await manager.events())

        stopped = asyncio.Event()
        visitors = asyncio.create_task(crowd(stopped))
        began = time.monotonic()
        for seconds in JUMPS:
            await asyncio.sleep(BETWEEN)
            jump(seconds)
        # A watchdog that took the clock for time would have expired long ago; one that was set
        # back for a day rings within its own period, or never: look on for that long.
        await asyncio.sleep(max(0.0, WATCHDOG + BETWEEN - (time.monotonic() - began)))
        stopped.set()
        came = await visitors

        after = {w.name: w for w in await manager.workers()}
        assert {n: (w.pid, w.restarts) for n, w in after.items()} == {
            n: (w.pid, 0) for n, w in before.items()
        }
        assert (await manager.zygotes())[0].pid == zygote
        events: list[Any] = (await manager.events())[told:]
        assert [e for e in events if e.event in EVENTS] == []
        assert came and noted(state / "spool" / "decoy@tcp.log") == Counter(came)

        # And what depends on time still works: a restart, its delay, a stop with its grace.
        os.kill(after["decoy@tcp"].pid, signal.SIGKILL)
        again = await manager.until("decoy@tcp", lambda w: w.ready and w.restarts == 1)
        assert again.pid != after["decoy@tcp"].pid
        jump(-3600)
        assert (await manager.stop("decoy@tcp"))[0].ok
    finally:
        await manager.clean_up()
        print(manager.output)
