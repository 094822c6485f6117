"""clusterer: which addresses are one actor, which secrets travel, which habits hold.

Five steps a tick, each a small transaction with its own durable cursor or queue: gather evidence
from `logs`, place it (identities grow and merge), review (they split), correlate secrets, judge
habits. Memory is that of a batch and its buckets, never that of all addresses. A step that fails
does not stop the others; a single event that always fails is set aside.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.cluster import attribution, gather, place, reuse, review, times
from decnet.cluster.settings import ClusterSettings
from decnet.cluster.steps import Steps
from decnet.context import Context, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.tables import Attacker, Credential, Log, utc_now
from decnet.settings import Settings

log = logging.getLogger("decnet.cluster")

GATHERS_MOST = 10
"""Batches of evidence before the next addresses are placed: who comes whole needs no merging."""
REVIEW_EVERY = 20
"""Ticks after which splits are looked for even where there is always something new."""
WAKES = (
    *(topics.ATTACKER_OBSERVED, topics.ATTACKER_SCORED, topics.SYSTEM_LOG),
    *(topics.CREDENTIAL_CAPTURED, "attacker.observation.>"),
)


class Clusterer:
    """The worker between two ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context, settings: ClusterSettings) -> None:
        self._ctx = ctx
        self._settings = settings
        self._steps = Steps(ctx, "gathered", gather.skip_one)
        self._ticks = 0
        self.lag = 0

    async def prepare(self) -> None:
        """Place all evidence anew where the limit changed since the last run."""
        limit = self._settings.bucket_most
        if await self._ctx.write(lambda session: gather.adopt_limit(session, limit)):
            log.info("DECNET_CLUSTER_BUCKET_MOST is %d now: placing all evidence anew", limit)

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {"lag": self.lag, **self._steps.health()}

    async def tick(self) -> bool:
        """One batch of each step; whether there may be more."""
        limit, take, write = self._settings.bucket_most, self._steps.take, self._steps.write
        busy = False
        for _ in range(GATHERS_MOST):
            if not await take("gathered", self._gather):
                break
            busy = True
        placed = await take("placed", lambda: write(lambda s: place.place(s, limit)))
        self._ticks += 1
        if not (busy or placed) or self._ticks % REVIEW_EVERY == 0:
            # Splits wait until what is known is in its place, but not for ever.
            busy |= await take("reviewed", self._review)
        busy |= await take("times", lambda: write(times.follow))
        busy |= await take("secrets", lambda: write(reuse.correlate))
        busy |= await take("observations", lambda: write(attribution.renew))
        async with self._ctx.db.session() as session:
            self.lag = await gather.measure_lag(session)
        return busy or placed

    async def _gather(self) -> int:
        most = self._steps.batch(gather.BATCH)
        return await self._steps.write(lambda session: gather.gather(session, most))

    async def _review(self) -> int:
        async with self._ctx.db.session() as session:
            plan = await review.plan(session, self._settings.bucket_most)
        if plan is None:
            return 0
        if plan.too_big:
            self._steps.done["too_big"] += 1
            log.warning("identity %s has too many addresses to be taken apart", plan.identity)
        await self._steps.write(lambda session: review.split(session, plan))
        return 1


async def main(ctx: Context) -> None:
    """Cluster until told to stop."""
    settings = ClusterSettings.from_env()
    wake = await ctx.wake(*WAKES)
    clusterer = Clusterer(ctx, settings)
    await clusterer.prepare()
    ctx.reports.append(clusterer.health)
    ctx.ready("clustering")
    while not ctx.stopping.is_set():
        ctx.progress()
        if not await clusterer.tick():
            await wake.wait(settings.poll_seconds)


async def rehearse(folder: Path) -> None:
    """Cluster a few addresses in an empty folder; leaves no thread or connection behind."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    async with open_context("clusterer", settings, notifies=False) as ctx:
        clusterer = Clusterer(ctx, ClusterSettings())
        await clusterer.prepare()
        for number in range(6):
            await ctx.write(functools.partial(_visit, number))
            while await clusterer.tick():
                pass


async def _visit(number: int, session: AsyncSession) -> None:
    now, ip = utc_now(), f"192.0.2.{number}"
    session.add(
        Log(
            timestamp=now,
            decky="warm",
            service="ssh",
            event_type="file_captured",
            attacker_ip=ip,
            raw_line="-",
            fields={"hassh": f"{number % 2:032x}", "sha256": f"{number % 3:064x}"},
        )
    )
    session.add(Attacker(ip=ip, first_seen=now, last_seen=now))
    session.add(
        Credential(
            attacker_ip=ip,
            decky_name=f"warm-{number % 2}",
            service="ssh",
            secret_sha256="0" * 64,
            secret_b64="",
            first_seen=now,
            last_seen=now,
        )
    )


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("clusterer", main)


if __name__ == "__main__":
    run()
