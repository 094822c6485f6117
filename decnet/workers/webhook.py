"""webhook: what other systems subscribed to, sent to them as signed HTTP requests.

Events are read from the tables that other workers write, behind cursors of our own, into an
outbox; each receiver's lane delivers from there. Killed at any instant it loses nothing; what
was delivered and not yet noted is sent again, with the same id. Only heartbeats and traffic
summaries come from the bus alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.context import Context, open_context, run_worker
from decnet.db import cursors
from decnet.db.engine import Database
from decnet.db.tables import Attacker, Log, utc_now
from decnet.settings import Settings
from decnet.webhook import store
from decnet.webhook.engine import Engine
from decnet.webhook.feeds import PROFILER_CURSOR
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


async def rehearse(folder: Path) -> None:
    """Queue events in an empty folder, and send them to ourselves; nothing leaves the machine."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    receiver = await asyncio.start_server(_accept, "127.0.0.1", 0)
    url = "http://{}:{}/".format(*receiver.sockets[0].getsockname())
    async with open_context("webhook", settings, notifies=False) as ctx:

        async def subscribe(session: AsyncSession) -> None:
            patterns = ("attacker.>", "ttp.>", "canary.>", "system.log")
            await store.add(session, "warm", url, patterns)

        await ctx.write(subscribe)
        engine = Engine(ctx, WebhookSettings(allow_private=True))
        await engine.open(await ctx.wake())
        for number in range(1, 7):

            async def visit(session: AsyncSession, number: int = number) -> None:
                now, ip = utc_now(), f"192.0.2.{number}"
                session.add(
                    Log(
                        timestamp=now,
                        decky="warm",
                        service="ssh",
                        event_type="connect",
                        attacker_ip=ip,
                        raw_line="-",
                        fields={"number": "1"},
                    )
                )
                session.add(Attacker(ip=ip, first_seen=now, last_seen=now, event_count=1))
                await cursors.set(session, PROFILER_CURSOR, number)

            await ctx.write(visit)
            while await engine.tick():
                pass
            await asyncio.sleep(0.01)
        await engine.close()
    receiver.close()
    await receiver.wait_closed()


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
            await reader.readexactly(int(length))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
    writer.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("webhook", main)


if __name__ == "__main__":
    run()
