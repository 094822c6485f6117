"""listener: takes other machines' log lines into `master.log` and `master.json`. See `decnet.ship`.

No database and no ORM. With DECNET_LISTENER_INGEST the lines also go to this machine's collect, as
spool files of its own: so each is stored once. Without certificates it ends with 78.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from decnet.bus import topics
from decnet.context import Context, WorkerError, run_worker
from decnet.decoys.house import PortRefused, listen
from decnet.ship.ledger import Ledger
from decnet.ship.listener import Listener
from decnet.ship.options import ShipOptions
from decnet.ship.tls import server_context

log = logging.getLogger("decnet.listener")

PORT_VARIABLE = "DECNET_SWARM_SYSLOG_PORT"


async def main(ctx: Context) -> None:
    """Listen until told to stop."""
    options = ShipOptions.from_env(ctx.settings)
    tls = server_context(options.master_bundle)
    state_file = ctx.settings.state_dir / "listener.json"
    ledger = Ledger(state_file, options.master_log, ctx.settings.spool_dir, ingest=options.ingest)
    try:
        ledger.open()
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise WorkerError(
            f"cannot use {state_file}: {error}",
            hint="check DECNET_STATE_DIR; without the file nobody's lines are known yet",
        ) from error
    try:
        sock = listen(options.listen_host, options.port, PORT_VARIABLE)
    except PortRefused as error:
        raise WorkerError(error.text, code="port-refused", hint=error.hint) from error

    def stored(count: int) -> None:
        if options.ingest:
            ctx.bus.publish(topics.SYSTEM_SPOOL, {"decoy": "listener"})

    def trouble(error: OSError | None) -> None:
        text = "" if error is None else (error.strerror or str(error))
        if text and ctx.health.get("waiting") != text:
            log.warning("cannot write (%s); the senders wait, nothing is lost", text)
        if text:
            ctx.health["waiting"] = text
            ctx.status(f"waiting: {text}")
        elif ctx.health.pop("waiting", None) is not None:
            ctx.status("")

    listener = Listener(ledger, tls, stored, trouble)
    ctx.reports.append(listener.health)
    where = "{}:{}".format(*sock.getsockname()[:2])
    serving = asyncio.create_task(listener.serve(sock))
    stop = asyncio.create_task(ctx.stopping.wait())
    try:
        log.info("listening on %s", where)
        ctx.ready(f"syslog over TLS on {where}")
        with ctx.idle():
            await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        serving.cancel()
        stop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        sock.close()
        ledger.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("listener", main, database=False)


if __name__ == "__main__":
    run()
