"""bus: the broker as a worker. No database, no network, no privileges.

It beats like every other worker, through its own socket: a heartbeat on `system.bus.health`
proves that the broker delivers.
"""

from __future__ import annotations

import contextlib
import resource

from decnet.bus.broker import MAX_CLIENTS, Broker
from decnet.context import Context, run_worker

DATABASE = False


def raise_nofile() -> None:
    """A descriptor for each client: the usual soft limit, 1,024, is too few for a large fleet."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CLIENTS + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
    raise_nofile()
    run_worker("bus", main, database=DATABASE)


if __name__ == "__main__":
    run()
