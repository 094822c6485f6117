"""webhook: what other systems subscribed to, sent to them as signed HTTP requests.

Events are read from the tables that other workers write, behind cursors of our own, into an
outbox; each receiver's lane delivers from there. Killed at any instant it loses nothing; what
was delivered and not yet noted is sent again, with the same id. Only heartbeats and traffic
summaries come from the bus alone.
"""

from __future__ import annotations

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.webhook.engine import Engine
from decnet.webhook.settings import WebhookSettings


async def main(ctx: Context) -> None:
    """Deliver until told to stop."""
    settings = WebhookSettings.from_env()
    engine = Engine(ctx, settings)
    wake = await ctx.wake(topics.WEBHOOKS_CHANGED)
    try:
        await engine.open(wake)
        ctx.reports.append(engine.health)
        ctx.ready("delivering")
        while not ctx.stopping.is_set():
            ctx.progress()
            if not await engine.tick():
                await wake.wait(settings.poll)
    finally:
        await engine.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("webhook", main)


if __name__ == "__main__":
    run()
