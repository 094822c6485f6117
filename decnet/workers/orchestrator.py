"""orchestrator: makes the deckies look lived in, one small act a minute."""

from __future__ import annotations

import random

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.estate.life import Life, resume
from decnet.estate.settings import EstateSettings


async def main(ctx: Context) -> None:
    """Act until told to stop."""
    settings = EstateSettings.from_env()
    wake = await ctx.wake()
    life = Life(ctx, settings, random.Random(await ctx.write(resume)))
    ctx.health |= {"acts": 0, "failed": 0}
    ctx.ready(f"an act every {settings.life_seconds} s")
    while not ctx.stopping.is_set():
        ctx.progress()
        done = await life.tick()
        if done is not None:
            kind, decky, payload = done
            ctx.health["acts" if payload["success"] else "failed"] += 1
            ctx.bus.publish(topics.orchestrator(kind, decky), payload)
        await wake.wait(settings.life_seconds)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("orchestrator", main)


if __name__ == "__main__":
    run()
