"""What every worker of the fleet needs, imported once by the zygote `floor`, and its warm-up.

The imports below are the whole point: tables, engine, bus client, web framework, and each
worker's module, so that a worker forked from here imports nothing. asyncssh is not among them:
only the SSH decoy needs it, and it lives in the zygote `decoy`.
"""

from __future__ import annotations

import asyncio
import importlib
import tempfile
from pathlib import Path
from typing import Any

import aiosqlite.core  # noqa: F401
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

import decnet.bus.broker
import decnet.bus.client
import decnet.context
import decnet.geo.where
import decnet.workers.api
from decnet import dress
from decnet.db import compiled, cursors
from decnet.db.engine import Database
from decnet.db.tables import Attacker, Log, utc_now
from decnet.entrance import walk_in
from decnet.rehearsal import rehearse
from decnet.workers import WORKERS
from zygote.warming import watched

ELSEWHERE = frozenset(("sniffer", "probe"))
"""Workers of the zygote `packet`, a branch of this one."""
ABSENT = ELSEWHERE | {"forwarder", "listener"}
"""Not at the dress rehearsal: they need certificates."""
MODULES: tuple[Any, ...] = tuple(
    importlib.import_module(module) for name, module in WORKERS.items() if name not in ELSEWHERE
)


def warm() -> None:
    """Run the hot paths once, on a database that is thrown away.

    SQLAlchemy compiles and caches its statements, mappers are configured, pydantic builds its
    validators and the interpreter specialises bytecode: all lazily built state that otherwise
    each worker would build again in private memory. Leaves no thread, socket or loop behind.
    """
    decnet.geo.where.load_shared()
    with tempfile.TemporaryDirectory(prefix="decnet-warm-") as folder:
        if watched():
            entrance = Path(folder) / "entrance"
            entrance.mkdir()
            asyncio.run(Database(f"sqlite+aiosqlite:///{entrance}/decnet.db").create_all())
            walk_in(entrance, database=True)
        asyncio.run(_exercise(Path(folder) / "warm.db"))
        asyncio.run(rehearse(Path(folder)))
        for module in MODULES:
            if hasattr(module, "rehearse"):
                scene = Path(folder) / module.__name__
                scene.mkdir()
                asyncio.run(module.rehearse(scene))
        stage = Path(folder) / "stage"
        stage.mkdir()
        asyncio.run(dress.rehearse(stage, ABSENT))
    decnet.workers.api.APP.openapi()
    compiled.CACHE.keep()


async def _exercise(path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{path}")
    await database.create_all()
    await database.open()

    async def work(session: AsyncSession) -> None:
        now = utc_now()
        session.add(
            Log(
                timestamp=now,
                decky="decky",
                service="ssh",
                event_type="connect",
                attacker_ip="192.0.2.1",
                raw_line="-",
                fields={"a": "b"},
            )
        )
        session.add(Attacker(ip="192.0.2.1", first_seen=now, last_seen=now, services=["ssh"]))
        await cursors.set(session, "warm", {"at": 1})
        await cursors.get(session, "warm")

    try:
        await database.write(work)
        async with database.session() as session:
            await session.execute(select(Log).order_by(col(Log.id).desc()).limit(1))
            await session.execute(select(func.count(col(Attacker.uuid))))
    finally:
        await database.close()
