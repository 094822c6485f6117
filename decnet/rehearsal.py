"""A visit in a throw-away folder, through the real workers: for a zygote's warm-up.

What the first batch in `collect` and `profiler` makes (compiled statements, mappers, converters,
specialised bytecode) is then shared by every worker of the floor instead of being made again in
each. See `decnet.floor.warm`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

from decnet.collect.rfc5424 import INFO
from decnet.context import open_context
from decnet.db.engine import Database
from decnet.decoys.journal import make_line
from decnet.settings import Settings
from decnet.workers import collect, profiler
from zygote import warming

_VISIT: tuple[tuple[str, dict[str, str]], ...] = (
    ("connect", {}),
    ("login_attempt", {"principal": "root", "secret_b64": "YQ==", "outcome": "accepted"}),
    ("command", {"command": "id", "session_id": "warm", "user": "root"}),
    ("session_recorded", {"session_id": "warm", "duration_s": "1", "commands": "1"}),
)


async def rehearse(folder: Path, rounds: int = 0) -> None:
    """Store and profile some visits in an empty folder; leaves no thread or connection behind.

    Args:
        rounds: how often; 0: as a warm-up wants it.
    """
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    database = Database(settings.db_url)
    await database.create_all()
    async with (
        open_context("collect", settings, notifies=False) as collecting,
        open_context("profiler", settings, notifies=False) as profiling,
    ):
        collector = collect.Collector(collecting)
        await collector.resume()
        for number in range(rounds or warming.rounds()):
            _write_visit(settings.spool_dir / "warm.log", f"192.0.2.{number % 3}")
            while await collector.tick():
                pass
            await collector.settle()
            _, scored = await profiling.write(profiler.profile_batch)
            profiler.publish(profiling, scored)
        # What the workers do when nothing happens: wait with a time-out.
        wake = await collecting.wake()
        await wake.wait(0.001)
        collector.close()
    await asyncio.sleep(0)


def _write_visit(spool: Path, address: str) -> None:
    now = dt.datetime.now(dt.UTC)
    with spool.open("ab") as file:
        for kind, fields in _VISIT:
            told = {"src_ip": address, **fields}
            file.write(make_line("warm", "ssh", kind, told, None, INFO, now) + b"\n")
