"""reconciler: the deckies that are wanted, and those that run, made to agree every 30 s.

python -m decnet.workers.reconciler --once      one pass, its outcome as a line of JSON
"""

from __future__ import annotations

import json
import sys

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.db.tables import DeckyMutation
from decnet.estate import manager
from decnet.estate.deployment import is_deployed
from decnet.estate.host import host_uuid
from decnet.estate.mutations import OPEN
from decnet.estate.reconcile import Outcome, Repair, note_repairs, payload, reconcile
from decnet.estate.settings import EstateSettings
from zygote.errors import ZygoteError


class Reconciler:
    """One pass after the other; nothing is kept between them."""

    def __init__(self, ctx: Context, host: str, settings: EstateSettings) -> None:
        self._ctx = ctx
        self._host = host
        self._settings = settings

    async def tick(self) -> Outcome:
        """Look, write down, repair, tell."""
        ctx = self._ctx
        try:
            seen = await manager.running(ctx.settings.decky_name)
            ctx.health.pop("manager", None)
        except manager.ManagerAway as error:
            seen = None
            ctx.health["manager"] = error.message
        outcome = await ctx.write(lambda session: self._write(session, seen))
        ctx.health["deckies"] = outcome.deckies
        done = [(repair, await self._repair(repair)) for repair in outcome.repairs]
        if done:
            ctx.health["repaired"] += sum(not fault for _, fault in done)
            await ctx.write(lambda session: note_repairs(session, self._host, done))
        stopped = [(surplus, await self._stop(surplus)) for surplus in outcome.surplus]
        if stopped:
            await ctx.write(lambda session: note_repairs(session, self._host, stopped, "stop"))
        for change in outcome.changes:
            topic = topics.decky_state(self._host, change.decky)
            ctx.bus.publish(topic, payload(self._host, change), type=change.state)
        return outcome

    async def _write(
        self, session: AsyncSession, seen: dict[str, manager.Running] | None
    ) -> Outcome:
        busy = await session.scalars(
            select(col(DeckyMutation.decky_name)).where(col(DeckyMutation.state).in_(OPEN))
        )
        return await reconcile(
            session,
            self._host,
            seen,
            first=self._ctx.settings.decky_name,
            interval_min=self._settings.mutate_interval_min,
            repair=self._settings.repair,
            deployed=await is_deployed(session),
            busy=frozenset(busy.all()),
        )

    async def _repair(self, repair: Repair) -> str:
        try:
            return manager.faults(await manager.start(repair.number, repair.services))
        except ZygoteError as error:
            return error.message

    async def _stop(self, surplus: Repair) -> str:
        try:
            return manager.faults(await manager.stop(surplus.number, surplus.services))
        except ZygoteError as error:
            return error.message


async def main(ctx: Context) -> None:
    """Reconcile until told to stop."""
    manager.check_possible()
    settings = EstateSettings.from_env()
    wake = await ctx.wake(topics.EVERY_MUTATION)
    ctx.health |= {"deckies": 0, "repaired": 0}
    reconciler = Reconciler(ctx, await ctx.write(host_uuid), settings)
    ctx.ready("comparing")
    while not ctx.stopping.is_set():
        ctx.progress()
        await reconciler.tick()
        await wake.wait(settings.reconcile_seconds)


async def once(ctx: Context) -> None:
    """One pass."""
    ctx.health |= {"deckies": 0, "repaired": 0}
    reconciler = Reconciler(ctx, await ctx.write(host_uuid), EstateSettings.from_env())
    outcome = await reconciler.tick()
    told = {
        "deckies": outcome.deckies,
        "changes": [[c.decky, c.previous, c.state] for c in outcome.changes],
        "repaired": [[r.decky, list(r.services)] for r in outcome.repairs],
    }
    print(json.dumps(told))


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("reconciler", once if "--once" in sys.argv[1:] else main)


if __name__ == "__main__":
    run()
