"""A visit in a throw-away database, tagged: so that a zygote's children find all of it warm."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.context import open_context
from decnet.db import cursors
from decnet.db.engine import Database
from decnet.db.tables import Attacker, AttackerBehavior, Log, new_uuid, utc_now
from decnet.settings import Settings
from decnet.ttp.service import Tagger
from decnet.ttp.settings import TtpSettings
from decnet.ttp.sources import PROFILED
from zygote.warming import rounds

_ADDRESS = "192.0.2.1"
_VISIT: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "ssh",
        "login_attempt",
        {"principal": "root", "secret_printable": "root", "outcome": "refused"},
    ),
    ("ssh", "command", {"command": "uname -a; cat /etc/passwd", "session_id": "warm"}),
    ("http", "request", {"method": "GET", "path": "/.env", "query": "a=%27", "status": "404"}),
    ("ssh", "download_attempt", {"url": "http://198.51.100.7/x"}),
)


async def rehearse(folder: Path) -> None:
    """Tag some visits in an empty folder; leaves no thread or connection behind."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    database = Database(settings.db_url)
    if settings.db_file is None or not settings.db_file.exists():
        await database.create_all()
    async with open_context("ttp", settings, notifies=False) as ctx:
        tagger = Tagger(ctx, TtpSettings())
        await tagger.start()
        for number in range(rounds()):
            await ctx.write(functools.partial(_visit, number=number))
            while await tagger.tick(everything=True):
                pass
            await tagger.follow_rules()
        wake = await ctx.wake()
        await wake.wait(0.001)
    await asyncio.sleep(0)


async def _visit(session: AsyncSession, number: int) -> None:
    now = utc_now()
    ip = f"{_ADDRESS}{number % 3}"
    rows = [
        {
            "timestamp": now + dt.timedelta(seconds=at),
            "decky": "warm",
            "service": service,
            "event_type": kind,
            "attacker_ip": ip,
            "raw_line": "-",
            "fields": fields,
        }
        for at, (service, kind, fields) in enumerate(_VISIT)
    ]
    last = 0
    for row in rows:
        result: Any = await session.execute(insert(Log).values(row))
        last = result.inserted_primary_key[0]
    if number < 3:
        uuid = new_uuid()
        session.add(Attacker(uuid=uuid, ip=ip, first_seen=now, last_seen=now))
        await session.flush()
        session.add(AttackerBehavior(attacker_uuid=uuid, behavior_class="scanning"))
    await cursors.set(session, PROFILED, last)
