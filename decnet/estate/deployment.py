"""What was deployed, in the database: rows of `fleet_deckies`, and that they are all there is.

Without a deployment the fleet file says which decoys there are, and the reconciler writes down
what it finds. With one the rows say it: the reconciler then also stops what is not in them, so it
holds for the next start of the fleet, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.db import cursors
from decnet.db.tables import FleetDecky, utc_now
from decnet.estate.host import host_uuid
from decnet.estate.manager import Running
from decnet.estate.wanted import Wanted

KEY = "deployment"


@dataclass(frozen=True)
class Steps:
    """What makes the running decoys those that are wanted: pairs of number and services."""

    start: list[tuple[int, tuple[str, ...]]]
    stop: list[tuple[int, tuple[str, ...]]]
    kept: int

    @property
    def changes(self) -> int:
        """How many decoys are started or stopped."""
        return sum(len(services) for _, services in (*self.start, *self.stop))


async def is_deployed(session: AsyncSession) -> bool:
    """Whether the rows say which decoys there are."""
    return bool(await cursors.get(session, KEY))


async def store(
    session: AsyncSession, wanted: Iterable[Wanted], source: str, interval_min: int
) -> None:
    """Make the rows of this host exactly these.

    Args:
        source: the file, or what else it came from.
        interval_min: minutes between mutations where a decky does not say.
    """
    host, now = await host_uuid(session), utc_now()
    rows = await session.scalars(select(FleetDecky).where(col(FleetDecky.host_uuid) == host))
    known = {row.name: row for row in rows}
    for decky in wanted:
        row = known.pop(decky.name, None)
        if row is None:
            row = FleetDecky(host_uuid=host, name=decky.name, state="new", services=[])
            session.add(row)
        if set(row.services) != set(decky.services):
            row.mutated_at = now
        row.services = list(decky.services)
        row.archetype = decky.archetype
        row.mutate_interval_min = interval_min if decky.interval is None else decky.interval
        row.updated_at = now
    for row in known.values():
        await session.delete(row)
    await cursors.set(session, KEY, {"source": source, "at": now.isoformat()})


async def forget(session: AsyncSession) -> None:
    """Let the fleet file say again which decoys there are."""
    host = await host_uuid(session)
    rows = await session.scalars(select(FleetDecky).where(col(FleetDecky.host_uuid) == host))
    for row in rows:
        await session.delete(row)
    await cursors.set(session, KEY, None)


def steps(wanted: Iterable[Wanted], running: dict[str, Running]) -> Steps:
    """From what runs to what is wanted. Pure."""
    start, stop, kept = [], [], 0
    named = {decky.name: decky for decky in wanted}
    for decky in named.values():
        there = running.get(decky.name, Running(decky.number))
        live = set(there.live)
        kept += len(live & set(decky.services))
        if absent := tuple(sorted(set(decky.services) - live)):
            start.append((decky.number, absent))
    for name, there in sorted(running.items(), key=lambda item: item[1].number):
        surplus = set(there.live) - set(named[name].services if name in named else ())
        if surplus:
            stop.append((there.number, tuple(sorted(surplus))))
    return Steps(start, stop, kept)
