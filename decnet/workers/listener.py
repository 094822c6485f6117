"""listener: takes other machines' log lines into `master.log` and `master.json`. See `decnet.ship`.

No database and no ORM. With DECNET_LISTENER_INGEST the lines also go to this machine's collect, as
spool files of its own: so each is stored once. Without certificates it ends with 78.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

from decnet.bus import topics
from decnet.context import Context, WorkerError, run_worker
from decnet.decoys.house import PortRefused, listen
from decnet.settings import inner
from decnet.ship.frames import FrameReader, frame
from decnet.ship.ledger import Arrived, Ledger
from decnet.ship.listener import Listener
from decnet.ship.options import ShipOptions
from decnet.ship.sender import Sender
from decnet.ship.tls import server_context
from zygote.warming import rounds

log = logging.getLogger("decnet.listener")

DATABASE = False
ROUNDS = 12
"""So often must a function run before the interpreter has specialised it."""
REHEARSED = '<134>1 2026-11-24T03:00:00Z d ssh - command [relay@55555 src_ip="192.0.2.7" n="{}"]\n'
PORT_VARIABLE = "DECNET_SWARM_SYSLOG_PORT"


async def main(ctx: Context) -> None:
    """Listen until told to stop."""
    options = ShipOptions.from_env(ctx.settings)
    tls = server_context(options.master_bundle)
    state_file = inner(ctx.settings.state_dir, "listener") / "listener.json"
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


async def rehearse(folder: Path) -> None:
    """A few lines from a log file into `master.log`, without a network between; leaves nothing."""
    source, spool = folder / "decnet.log", folder / "spool"
    spool.mkdir()
    sender = Sender(source, folder / "forwarder.json")
    sender.open()
    ledger = Ledger(folder / "listener.json", folder / "master.log", spool, ingest=True)
    ledger.open()
    frames = FrameReader()
    for number in range(rounds(ROUNDS)):
        with source.open("a") as file:
            file.write(REHEARSED.format(number))
        lines = sender.read(ROUNDS)
        assert lines is not None
        arrived = frames.feed(b"".join(frame(line) for line in lines.lines))
        batch = [Arrived("warm", line, "0" * 32, sender.next) for line in arrived]
        ledger.commit(ledger.prepare(batch))
        sender.advance(lines)
        sender.save()
    ledger.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("listener", main, database=DATABASE)


if __name__ == "__main__":
    run()
