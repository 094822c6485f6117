"""mutate: deckies change their services, on schedule and on demand.

Requests are rows of `decky_mutations` (from the schedule, the REST interface, `decnetctl mutate`);
the bus only says that there is one. A decky's decoys are started and stopped through the manager's
control socket; without a manager the requests wait.
"""

from __future__ import annotations

import random

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.db.tables import DeckyMutation, FleetDecky, utc_now
from decnet.decoys.catalogue import UnknownDecoy, decky_number
from decnet.estate import manager, mutations
from decnet.estate.host import host_uuid
from zygote.errors import ZygoteError

POLL_SECONDS = 10.0
AWAY_SECONDS = 5.0


class Mutator:
    """The worker's state between ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context, host: str, chance: random.Random | None = None) -> None:
        self._ctx = ctx
        self._host = host
        self._chance = chance or random.Random()

    async def tick(self) -> bool:
        """Ask for what is due and apply one request; False where there was nothing to do."""
        ctx = self._ctx
        async with ctx.db.session() as session:
            if not await mutations.is_needed(session, self._host, utc_now()):
                return False
        await ctx.write(lambda session: mutations.request_due(session, self._host, utc_now()))
        await ctx.write(lambda session: mutations.refuse_orphans(session, self._host))
        claimed = await ctx.write(
            lambda session: mutations.claim(session, self._host, self._chance)
        )
        if claimed is None:
            return False
        row, decky = claimed
        fault = await self._apply(row, decky)
        assert row.id is not None
        number = row.id
        if fault:
            ctx.health["failed"] += 1
            await ctx.write(lambda session: mutations.mark_failed(session, number, fault))
            return row.tries < mutations.TRIES_MOST
        told = await ctx.write(lambda session: mutations.mark_applied(session, number))
        if told is not None:
            ctx.health["applied"] += 1
            ctx.bus.publish(topics.decky_mutation(row.decky_name), told)
        return True

    async def _apply(self, row: DeckyMutation, decky: FleetDecky) -> str:
        """New services first: a decky is never without any. Gives what went wrong."""
        old, new = set(row.old_services), set(row.new_services)
        try:
            number = decky_number(row.decky_name, self._ctx.settings.decky_name)
            started = await manager.start(number, sorted(new))
            fault = manager.faults(started)
            if fault:
                # As it was: what did not come up must not cost what is there.
                await manager.stop(number, sorted(new - old))
                return fault
            if old - new:
                return manager.faults(await manager.stop(number, sorted(old - new)))
        except UnknownDecoy as error:
            return str(error)
        except ZygoteError as error:
            return error.message
        return ""


async def main(ctx: Context) -> None:
    """Mutate until told to stop."""
    manager.check_possible()
    wake = await ctx.wake(topics.EVERY_MUTATE_REQUEST)
    ctx.health |= {"applied": 0, "failed": 0}
    mutator = Mutator(ctx, await ctx.write(host_uuid))
    ctx.ready("waiting for what is due")
    while not ctx.stopping.is_set():
        ctx.progress()
        try:
            await (await manager.connect()).close()
        except manager.ManagerAway as error:
            ctx.health["manager"] = error.message
            ctx.status(f"waiting: {error.message}")
            await wake.wait(AWAY_SECONDS)
            continue
        if ctx.health.pop("manager", None):
            ctx.status("waiting for what is due")
        if not await mutator.tick():
            await wake.wait(POLL_SECONDS)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("mutate", main)


if __name__ == "__main__":
    run()
