"""`decnetctl mutate`: ask for other services on deckies, by the database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from decnet.bus import topics
from decnet.cli.database import with_database
from decnet.cli.rest import say
from decnet.decoys.catalogue import KINDS
from decnet.settings import Settings
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from decnet.db.engine import Database


def mutate(
    *names: str,
    every: Annotated[bool, Parameter("--all")] = False,
    services: Annotated[tuple[str, ...], Parameter("--service", negative=())] = (),
    interval: int | None = None,
) -> None:
    """Ask for other services on deckies; the worker `mutate` applies it.

    Args:
        names: deckies.
        every: all of them.
        services: exactly these; default: the mutator chooses from the archetype's pool.
        interval: set the minutes between scheduled mutations instead (0: never).
    """
    unknown = [kind for kind in services if kind not in KINDS]
    if unknown:
        raise ZygoteError(
            f"no such service: {', '.join(unknown)}",
            hint=f"there are: {', '.join(KINDS)}",
            exit_code=Exit.USAGE,
        )
    if bool(names) == every:
        raise ZygoteError("which deckies?", hint="name some, or say --all", exit_code=Exit.USAGE)
    for line in asyncio.run(with_database(lambda db: _ask(db, names, services, interval))):
        say(line)


async def _ask(
    database: Database, names: tuple[str, ...], services: tuple[str, ...], interval: int | None
) -> list[str]:
    from decnet.db.tables import FleetDecky  # late: --help and completion load no table
    from decnet.estate import mutations
    from decnet.estate.deckies import all_deckies

    known = {row.name: row for row in await all_deckies(database)}
    missing = [name for name in names if name not in known]
    if missing:
        raise ZygoteError(
            f"no such decky: {', '.join(missing)}",
            hint=f"there are: {', '.join(known) or 'none yet'}",
            exit_code=Exit.NO_SUCH_WORKER,
        )

    async def work(session: AsyncSession) -> list[str]:
        said = []
        for name in names or known:
            row = known[name]
            if interval is not None:
                found = await session.get(FleetDecky, (row.host_uuid, name))
                assert found is not None
                found.mutate_interval_min = max(0, interval)
                said.append(f"{name}: {'every ' + str(interval) + ' min' if interval else 'never'}")
                continue
            number = await mutations.request(
                session, row.host_uuid, name, trigger="operator", actor="cli", services=services
            )
            said.append(f"{name}: " + (f"request {number}" if number else "one is waiting already"))
        return said

    said = await database.write(work)
    await _hint(names or tuple(known))
    return said


async def _hint(names: tuple[str, ...]) -> None:
    from decnet.bus.client import BusClient

    settings = Settings.from_env()
    bus = BusClient(settings.bus_socket, "cli", enabled=settings.bus_enabled)
    try:
        await bus.connect()
        for name in names:
            bus.publish(topics.mutate_request(name), {"decky": name, "actor": "cli"})
        await bus.flush()
    finally:
        await bus.close()
