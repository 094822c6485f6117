"""forwarder: sends this machine's `decnet.log` to the master's listener. See `decnet.ship`.

No database and no ORM. It is ready when it has its certificates: a master that cannot be reached
is waited for, the lines are in the file. Without certificates it ends with 78.
"""

from __future__ import annotations

import asyncio

from decnet.bus import topics
from decnet.context import Context, WorkerError, run_worker
from decnet.settings import inner
from decnet.ship.forwarder import Forwarder
from decnet.ship.options import ShipOptions
from decnet.ship.sender import Sender
from decnet.ship.tls import client_context

DATABASE = False


async def main(ctx: Context) -> None:
    """Forward until told to stop."""
    options = ShipOptions.from_env(ctx.settings)
    tls = client_context(options.agent_bundle)
    state_file = inner(ctx.settings.state_dir, "forwarder") / "forwarder.json"
    sender = Sender(options.source, state_file)
    try:
        sender.open()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WorkerError(
            f"cannot use {state_file}: {error}",
            hint="check DECNET_STATE_DIR; without the file all lines are sent from the first on",
        ) from error
    wake = await ctx.wake(topics.SYSTEM_LOG)
    forwarder = Forwarder(
        sender,
        options.master_host,
        options.port,
        tls,
        options.lag_most,
        wake.wait,
        ctx.stopping.is_set,
        ctx.progress,
        ctx.status,
    )
    ctx.reports.append(forwarder.health)
    ctx.ready(f"{options.source} to {options.master_host}:{options.port}")
    running = asyncio.create_task(forwarder.run())
    stop = asyncio.create_task(ctx.stopping.wait())
    try:
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        # At any instant: what the master has not acknowledged is sent again.
        running.cancel()
        stop.cancel()
        await asyncio.gather(running, stop, return_exceptions=True)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("forwarder", main, database=DATABASE)


if __name__ == "__main__":
    run()
