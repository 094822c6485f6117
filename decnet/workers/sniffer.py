"""sniffer: fingerprints of who speaks to our decoys, from the packets themselves.

What it finds goes as events through its own spool to `collect`, host name the decky's, app
`sniffer`; summaries go on `decky.<name>.traffic`. No database, no ORM.

It needs CAP_NET_RAW, and an interface that is there. Where one is missing it stays up, says
"waiting for …" in its status and heartbeat, and tries again every DECNET_SNIFFER_RETRY seconds:
an interface may come, and a fleet that runs without root works without its sniffer. It has sent
READY by then, since `decnetctl up` and the workers after it are not to wait for what may never
come. It never ends because it cannot sniff.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from decnet.bus import topics
from decnet.context import Context, run_worker
from decnet.decoys.journal import Journal
from decnet.decoys.spool import Spool
from decnet.packets.capture import CannotCapture, Capture
from decnet.packets.rehearsal import exercise
from decnet.packets.rights import keep_only_net_raw
from decnet.packets.sensor import Sensor
from decnet.packets.settings import Place, SnifferSettings

log = logging.getLogger("decnet.sniffer")

DATABASE = False
"""It needs none; see `decnet.workers`."""
SERVICE = "sniffer"
QUIET = {"tcp_syn_fingerprint"}
"""Not on the bus: there is one for every address that scans."""
SWEEP_SECONDS = 1.0


class Reporter:
    """Where findings go: into the spool, and to the bus."""

    def __init__(self, ctx: Context, spool: Spool) -> None:
        self._ctx = ctx
        self._spool = spool
        self._journals: dict[str, Journal] = {}

    def emit(self, event_type: str, place: Place, fields: dict[str, object]) -> None:
        """Record a finding, then tell of it."""
        journal = self._journals.get(place.decky)
        if journal is None:
            journal = self._journals[place.decky] = Journal(self._spool, place.decky, SERVICE)
        journal.event(event_type, fields)
        if event_type not in QUIET:
            told = {name: value for name, value in fields.items() if value not in (None, "")}
            self._ctx.bus.publish(topics.decky_traffic(place.decky), told, type=event_type)


async def main(ctx: Context) -> None:
    """Sniff until told to stop."""
    settings = SnifferSettings.from_env()
    spool = Spool(
        ctx.settings.spool_dir,
        ctx.name,
        lambda: ctx.bus.publish(topics.SYSTEM_SPOOL, {"decoy": ctx.name}),
    )
    sensor = Sensor(settings, Reporter(ctx, spool).emit)
    ctx.reports += [spool.health, sensor.health]
    with contextlib.closing(spool):
        try:
            while not ctx.stopping.is_set():
                async with _capturing(ctx, settings) as capture:
                    if capture is not None:
                        await _watch(ctx, sensor, capture)
        finally:
            sensor.close()


@contextlib.asynccontextmanager
async def _capturing(ctx: Context, settings: SnifferSettings) -> AsyncIterator[Capture | None]:
    """An open capture; None where there was none to be had, after waiting a while."""
    try:
        capture = Capture(settings.interface, settings.places, settings.packets_per_second)
    except CannotCapture as error:
        text = f"waiting for {error}"
        if ctx.health.get("waiting") != text:
            log.warning("%s; hint: %s; trying every %d s", text, error.hint, settings.retry)
        ctx.health["waiting"] = text
        ctx.ready(text)
        with ctx.idle(), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.retry):
                await ctx.stopping.wait()
        yield None
        return
    ctx.health.pop("waiting", None)

    def report() -> dict[str, object]:
        return {"packets_dropped": capture.count_drops()}

    ctx.reports.append(report)
    try:
        ctx.ready(f"{len(settings.places)} ports on {settings.interface}")
        yield capture
    finally:
        ctx.reports.remove(report)
        capture.close()


async def _watch(ctx: Context, sensor: Sensor, capture: Capture) -> None:
    """Packets to the sensor, until told to stop or the interface is gone."""
    capture.start(sensor.packet)
    assert capture.broken is not None
    stop = asyncio.ensure_future(ctx.stopping.wait())
    try:
        while not stop.done():
            ctx.progress()
            either: set[asyncio.Future[Any]] = {stop, capture.broken}
            await asyncio.wait(either, timeout=SWEEP_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            sensor.sweep(time.time())
            if capture.broken.done():
                log.warning("no more packets: %s", capture.broken.result())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP_SECONDS):
                        await ctx.stopping.wait()
                return
    finally:
        stop.cancel()


async def rehearse(folder: Path) -> None:
    """Packets of every kind through a sensor; needs no socket and no database."""
    exercise(folder)


def run() -> None:
    """The worker, under the zygote or alone: as root it keeps CAP_NET_RAW and nothing else."""
    keep_only_net_raw()
    run_worker("sniffer", main, database=DATABASE)


if __name__ == "__main__":
    run()
