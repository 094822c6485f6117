"""profiler: a profile of every address, from `logs`; traits of every ended session.

Each batch and the profiles that it touches are one transaction with their cursor, so a kill at any
instant neither loses nor doubles an event. Nothing is kept in memory between two batches: what a
profile needs of the past is in its own row. See `decnet.analysis`.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from decnet.analysis import observe, rehearsal
from decnet.analysis.batch import (
    BATCH,
    CURSOR,
    Scored,
    measure_lag,
    profile_batch,
    skip_event,
)
from decnet.analysis.places import relocate
from decnet.bus import topics
from decnet.context import Context, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.errors import StorageError
from decnet.geo.where import Geo, GeoSettings
from decnet.settings import Settings

__all__ = ["CURSOR", "main", "profile_batch", "publish", "run"]

log = logging.getLogger("decnet.profiler")

POLL_SECONDS = 5.0
TRIES = 3
"""So often is an event tried alone before it is set aside."""


class Profiler:
    """The worker's state between ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context, geo: GeoSettings) -> None:
        self._ctx = ctx
        self._geo = Geo(geo)
        self._geo.refresh(now=True)
        self._located: float = 0
        self._most = BATCH
        self._tries = 0
        ctx.health |= {"profiled": 0, "lag": 0, "set_aside": 0}
        ctx.health |= {"sessions": 0, "unreadable_sessions": 0, "session_faults": 0}
        ctx.reports.append(self._report)

    async def tick(self) -> bool:
        """One batch of events, some sessions; False where there was neither."""
        self._geo.refresh()
        busy = await self._relocate()
        async with self._ctx.db.session() as session:
            self._ctx.health["lag"] = await measure_lag(session)
        if self._ctx.health["lag"] > 0:
            await self._profile()
            busy = True
        return await self._observe() or busy

    async def _profile(self) -> None:
        work = partial(profile_batch, most=self._most, locate=self._geo.find)
        try:
            count, scored = await self._ctx.write(work)
        except StorageError:
            raise
        except Exception as error:
            await self._narrow(error)
            return
        self._most, self._tries = min(BATCH, self._most * 2), 0
        self._ctx.health["profiled"] += count
        publish(self._ctx, scored)

    async def _narrow(self, error: Exception) -> None:
        """One event must not stop all that come after it: halve the batch until it is found."""
        if self._most > 1:
            log.warning("a batch of %d cannot be profiled (%r): halving it", self._most, error)
            self._most //= 2
            return
        self._tries += 1
        if self._tries < TRIES:
            return
        self._tries = 0
        poison = await self._ctx.write(skip_event)
        self._ctx.health["set_aside"] += 1
        log.error("event %s of logs is set aside: it cannot be profiled", poison, exc_info=error)

    async def _relocate(self) -> bool:
        """Some of the known attackers by a table that is new; False where there is no more."""
        made = self._geo.made
        if made in (0, self._located):
            return False
        work = partial(relocate, made=made, locate=self._geo.find)
        changed, more = await self._ctx.write(work)
        self._ctx.health["relocated"] = self._ctx.health.get("relocated", 0) + changed
        if not more:
            self._located = made
        return more

    async def _observe(self) -> bool:
        async with self._ctx.db.session() as session:
            ended = await observe.ended_sessions(session)
        if not ended:
            return False
        self._ctx.progress()
        seen = await observe.look_at(ended, self._ctx.settings.artifacts_dir)
        rows = await self._ctx.write(partial(observe.store, seen=seen))
        health = self._ctx.health
        health["sessions"] += seen.sessions
        health["unreadable_sessions"] += seen.unreadable
        health["session_faults"] += seen.faults
        for row in rows:
            self._ctx.bus.publish(topics.observation(row["primitive"]), observe.payload_of(row))
        return True

    def _report(self) -> dict[str, object]:
        told: dict[str, object] = {"geo_shared": self._geo.is_shared}
        if self._geo.trouble:
            told["geo_trouble"] = self._geo.trouble
        return told


def publish(ctx: Context, scored: list[Scored]) -> None:
    """Hints, after the commit."""
    for one in scored:
        if one.first is not None:
            ctx.bus.publish(
                topics.ATTACKER_OBSERVED,
                {
                    "attacker_ip": one.columns["ip"],
                    "decky": one.first.decky,
                    "service": one.first.service,
                    "event_type": one.first.event_type,
                    "first_seen": one.columns["first_seen"].isoformat(),
                },
            )
        names = (
            *("event_count", "service_count", "decky_count", "bounty_count"),
            *("credential_count", "is_traversal"),
        )
        ctx.bus.publish(
            topics.ATTACKER_SCORED,
            {
                "attacker_ip": one.columns["ip"],
                **{name: one.columns[name] for name in names},
            },
        )


async def main(ctx: Context) -> None:
    """Profile until told to stop."""
    wake = await ctx.wake(topics.SYSTEM_LOG, topics.ATTACKER_SESSION_ENDED)
    profiler = Profiler(ctx, GeoSettings.from_env())
    ctx.ready("following logs")
    while not ctx.stopping.is_set():
        ctx.progress()
        if not await profiler.tick():
            await wake.wait(POLL_SECONDS)


async def rehearse(folder: Path) -> None:
    """Profile a visit and look at its session, in an empty folder; leaves nothing behind."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    async with open_context("profiler", settings, notifies=False) as ctx:
        profiler = Profiler(ctx, GeoSettings(folder, folder))
        for number in range(4):
            await ctx.write(partial(rehearsal.visit, settings.artifacts_dir, number))
            while await profiler.tick():
                pass


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("profiler", main)


if __name__ == "__main__":
    run()
