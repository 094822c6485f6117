"""campaign-clusterer: which identities work together.

Woken by `identity.>` and `ttp.tagged`; its queue is a mark on the identities themselves, and a
cursor on `ttp_tag`. One batch a transaction; splits are computed outside of it.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.bus import topics
from decnet.cluster import campaign_records, campaign_steps
from decnet.cluster.campaigns import BLOCK_MOST
from decnet.cluster.settings import ClusterSettings
from decnet.cluster.steps import Steps
from decnet.context import Context, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    ClusterEvidence,
    utc_now,
)
from decnet.settings import Settings

log = logging.getLogger("decnet.cluster")

REVIEW_EVERY = 20
"""Ticks after which splits are looked for even where there is always something new."""
WAKES = (topics.EVERY_IDENTITY, "ttp.tagged", "attribution.>")


class CampaignClusterer:
    """The worker between two ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context, block_most: int = BLOCK_MOST) -> None:
        self._ctx = ctx
        self._block_most = block_most
        self._steps = Steps(ctx, "identities", campaign_steps.skip_one)
        self._ticks = 0
        self._waiting = 0

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {"waiting_identities": self._waiting, **self._steps.health()}

    async def tick(self) -> bool:
        """One batch of each step; whether there may be more."""
        take, write = self._steps.take, self._steps.write
        busy = await take("tags", lambda: write(campaign_records.mark_tagged))
        busy |= await take("identities", self._renew)
        self._ticks += 1
        if not busy or self._ticks % REVIEW_EVERY == 0:
            # Splits wait until what is known is in its place, but not for ever.
            busy |= await take("reviewed", self._review)
        async with self._ctx.db.session() as session:
            self._waiting = await measure_waiting(session)
        return busy

    async def _renew(self) -> int:
        most = self._steps.batch(campaign_steps.BATCH)
        return await self._steps.write(
            lambda session: campaign_steps.renew(session, most, self._block_most)
        )

    async def _review(self) -> int:
        async with self._ctx.db.session() as session:
            plan = await campaign_steps.plan(session, self._block_most)
        if plan is None:
            return 0
        if plan.too_big:
            self._steps.done["too_big"] += 1
            log.warning("campaign %s has too many identities to be taken apart", plan.campaign)
        return await self._steps.write(lambda session: campaign_steps.split(session, plan))


async def measure_waiting(session: AsyncSession) -> int:
    """Identities that changed and are not taken into account yet."""
    statement = (
        select(func.count())
        .select_from(AttackerIdentity)
        .where(col(AttackerIdentity.campaign_dirty).is_(True))
    )
    return int(await session.scalar(statement) or 0)


async def main(ctx: Context) -> None:
    """Cluster until told to stop."""
    settings = ClusterSettings.from_env()
    wake = await ctx.wake(*WAKES)
    clusterer = CampaignClusterer(ctx)
    ctx.reports.append(clusterer.health)
    ctx.ready("clustering identities")
    while not ctx.stopping.is_set():
        ctx.progress()
        if not await clusterer.tick():
            await wake.wait(settings.poll_seconds)


async def rehearse(folder: Path) -> None:
    """Make a campaign in an empty folder; leaves no thread or connection behind."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    async with open_context("campaign-clusterer", settings, notifies=False) as ctx:
        clusterer = CampaignClusterer(ctx)
        for number in range(4):

            async def visit(session: AsyncSession, number: int = number) -> None:
                now, ip = utc_now(), f"192.0.2.{number}"
                identity = AttackerIdentity(
                    first_seen_at=now, last_seen_at=now, observation_count=1
                )
                session.add(identity)
                session.add(
                    Attacker(ip=ip, first_seen=now, last_seen=now, identity_id=identity.uuid)
                )
                session.add(
                    ClusterEvidence(key="c2:192.0.2.9:80", attacker_ip=ip, kind="c2", placed=True)
                )

            await ctx.write(visit)
            while await clusterer.tick():
                pass


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("campaign-clusterer", main)


if __name__ == "__main__":
    run()
