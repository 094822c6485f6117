"""The decoys that run, and the deckies that are wanted: looked up and changed, for `deploy`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from decnet.cli.local import transact
from decnet.decoys.catalogue import WORKER_PREFIX, UnknownDecoy, decky_number, worker_name
from decnet.estate.manager import Running, group
from decnet.estate.plan import LIVE
from decnet.estate.wanted import Wanted
from zygote.cli.context import current
from zygote.client.api import Client
from zygote.control.interface import Result, WorkerState
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from decnet.estate.deployment import Steps

AT_ONCE = 40
"""Decoys in one call to the manager: so there is progress to be told."""


async def apply(steps: Steps, quiet: bool) -> list[Result]:
    """New ones first: there is always something to attack."""
    start = [worker_name(kind, number) for number, kinds in steps.start for kind in kinds]
    stop = [worker_name(kind, number) for number, kinds in steps.stop for kind in kinds]
    found: list[Result] = []
    async with await Client.connect(current.socket()) as manager:
        for names, call, verb in (
            (start, manager.spawn, "started"),
            (stop, manager.stop, "stopped"),
        ):
            for at in range(0, len(names), AT_ONCE):
                found += await call(names[at : at + AT_ONCE])
                if not quiet and len(names) > AT_ONCE:
                    done = min(at + AT_ONCE, len(names))
                    sys.stderr.write(f"{current.program}: {done} of {len(names)} {verb}\n")
        # The reconciler may have been quicker than we: what it began is waited for.
        told = {result.name for result in found}
        begun = [w.name for w in await manager.workers() if _begins(w) and w.name not in told]
        if begun:
            found += await manager.spawn(begun)
    return found


def _begins(worker: WorkerState) -> bool:
    return (
        worker.name.startswith(WORKER_PREFIX) and worker.state in LIVE and worker.state != "ready"
    )


async def running(first: str) -> dict[str, Running] | None:
    """Decky -> its decoys; None where no manager answers."""
    try:
        async with await Client.connect(current.socket()) as manager:
            return group(await manager.workers(), first)
    except ZygoteError as error:
        if error.exit_code != Exit.NO_MANAGER:
            raise
        return None


def rows(first: str) -> dict[str, Wanted]:
    """Decky -> how it is wanted, as the database has it.

    Args:
        first: the name of decky 1.
    """
    from decnet.estate.deckies import rows_of_host

    found = {}
    for row in transact(rows_of_host):
        try:
            number = decky_number(row.name, first)
        except UnknownDecoy:
            continue
        minutes = row.mutate_interval_min
        found[row.name] = Wanted(number, row.name, row.archetype, tuple(row.services), minutes)
    return found


async def as_shipped() -> list[Result]:
    """Start the decoys of the fleet file, stop the others."""
    async with await Client.connect(current.socket()) as manager:
        decoys = [w for w in await manager.workers() if w.name.startswith(WORKER_PREFIX)]
        start = [w.name for w in decoys if w.autostart]
        stop = [w.name for w in decoys if not w.autostart and w.state in LIVE]
        found = await manager.spawn(start) if start else []
        return found + (await manager.stop(stop) if stop else [])
