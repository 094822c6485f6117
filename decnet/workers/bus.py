"""bus: the broker as a worker. No database, no network, no privileges.

It beats like every other worker, through its own socket: a heartbeat on `system.bus.health`
proves that the broker delivers.
"""

from __future__ import annotations

from decnet.bus.broker import Broker
from decnet.context import Context, run_worker

DATABASE = False


async def main(ctx: Context) -> None:
    """Serve until told to stop."""
    settings = ctx.settings
    broker = Broker(
        settings.bus_socket,
        group=settings.bus_group,
        control_uids=settings.bus_control_uids,
    )
    await broker.start()
    try:
        ctx.reports.append(broker.health)
        ctx.ready(f"listening at {settings.bus_socket}")
        await ctx.stopping.wait()
    finally:
        await broker.stop()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("bus", main, database=DATABASE)


if __name__ == "__main__":
    run()
