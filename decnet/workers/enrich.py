"""enrich: what lists and services know of each attacker, into `attacker_intel`.

Whom to ask about is found in the database: attackers without a row, and rows that have expired.
Files in the data folder are always looked at; services in the network only where
DECNET_INTEL_ENABLED says so, and never about an address that is not public. A provider that fails
is asked again later, and the others' answers count meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from decnet.bus import topics
from decnet.context import Context, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.errors import StorageError
from decnet.db.tables import Attacker, utc_now
from decnet.intel import store
from decnet.intel.ask import Asker
from decnet.intel.offline import Blocklists, Feodo
from decnet.intel.online import KINDS, Online
from decnet.intel.provider import Provider
from decnet.intel.settings import IntelSettings
from decnet.intel.store import Done, Due
from decnet.settings import Settings

log = logging.getLogger("decnet.enrich")

POLL_SECONDS = 30.0
BATCH = 50
REST_SECONDS = 1.0
"""At least, between two looks when there was nothing to do, however often the bus calls."""
ASIDE_MOST = 1000


class Enricher:
    """The worker's state between ticks; all that counts of it is in the database."""

    def __init__(
        self, ctx: Context, settings: IntelSettings, client: httpx2.AsyncClient | None
    ) -> None:
        self._ctx = ctx
        root = settings.root
        self._offline = (Blocklists(root / "blocklists"), Feodo(root / "feodo.csv"))
        self._online, self._off = online_providers(settings, client)
        self._providers: list[Provider] = [*self._offline, *self._online]
        self._asker = Asker(
            self._providers,
            ttl=settings.ttl,
            timeout=settings.timeout,
            retry_first=settings.retry_first,
        )
        self._gate = asyncio.Semaphore(settings.at_once)
        self._aside: set[str] = set()
        ctx.health |= {"enriched": 0, "due": 0, "set_aside": 0}
        ctx.reports.append(self._report)

    @property
    def status(self) -> str:
        """For the manager."""
        names = [provider.name for provider in self._providers]
        off = "".join(f"; {name} off: {why}" for name, why in self._off.items())
        return f"asking {', '.join(names)}{off}"

    async def tick(self) -> bool:
        """One batch; False where there was nothing to do."""
        await asyncio.to_thread(self._refresh)
        now = utc_now()
        async with self._ctx.db.session() as session:
            found = await store.due(session, now, BATCH, self._aside)
            self._ctx.health["due"] = await store.measure(session, now) if found else 0
        if not found:
            return False
        await self._store(await asyncio.gather(*(self._enrich(one) for one in found)))
        return True

    def _refresh(self) -> None:
        for provider in self._offline:
            provider.refresh()

    async def _enrich(self, due: Due) -> Done:
        async with self._gate:
            now = utc_now()
            outcome = await self._asker.ask(due.ip, due.providers, now)
            self._ctx.progress()
            return Done(due, outcome, now)

    async def _store(self, done: Sequence[Done]) -> None:
        try:
            await self._ctx.write(partial(store.store, done=done))
        except StorageError:
            raise
        except Exception as error:
            if len(done) > 1:
                for one in done:
                    await self._store([one])
                return
            # One row that the database refuses must not stop all others.
            log.error("attacker %s is set aside: %r", done[0].due.uuid, error)
            self._ctx.health["set_aside"] += 1
            if len(self._aside) < ASIDE_MOST:
                self._aside.add(done[0].due.uuid)
            return
        self._ctx.health["enriched"] += len(done)
        for one in done:
            self._ctx.bus.publish(topics.ATTACKER_INTEL_ENRICHED, one.payload())

    def _report(self) -> dict[str, Any]:
        told: dict[str, Any] = {**self._asker.counts}
        if breakers := self._asker.open_breakers():
            told["left_alone"] = breakers
        if troubles := [t for provider in self._offline for t in provider.troubles]:
            told["troubles"] = troubles[:8]
        return told


def online_providers(
    settings: IntelSettings, client: httpx2.AsyncClient | None
) -> tuple[list[Online], dict[str, str]]:
    """The services that are asked; and those that are not, with the reason."""
    online: list[Online] = []
    off: dict[str, str] = {}
    for name in settings.providers if client is not None else ():
        kind, key = KINDS[name], settings.keys.get(name, "")
        if kind.needs_key and not key:
            off[name] = f"DECNET_{name.upper()}_API_KEY is not set"
        else:
            assert client is not None
            online.append(kind(client, settings.urls[name], key))
    return online, off


@contextlib.asynccontextmanager
async def open_client(settings: IntelSettings) -> AsyncIterator[httpx2.AsyncClient | None]:
    """The HTTP client; None where nothing may leave this machine."""
    if not settings.enabled:
        yield None
        return
    limits = httpx2.Limits(max_connections=16, max_keepalive_connections=4)
    headers = {"User-Agent": "decnet-enrich/1.0"}
    async with httpx2.AsyncClient(
        timeout=settings.timeout, limits=limits, headers=headers
    ) as client:
        yield client


async def main(ctx: Context) -> None:
    """Enrich until told to stop."""
    settings = IntelSettings.from_env(ctx.settings.state_dir)
    wake = await ctx.wake(topics.ATTACKER_OBSERVED, topics.ATTACKER_SCORED)
    async with open_client(settings) as client:
        enricher = Enricher(ctx, settings, client)
        ctx.ready(enricher.status)
        while not ctx.stopping.is_set():
            ctx.progress()
            started = time.monotonic()
            if not await enricher.tick():
                # To find nothing costs a look at every attacker: at most a tenth of the time.
                rest = max(REST_SECONDS, 10 * (time.monotonic() - started))
                with ctx.idle(), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(rest, POLL_SECONDS)):
                        await ctx.stopping.wait()
                await wake.wait(POLL_SECONDS)


async def rehearse(folder: Path) -> None:
    """Enrich an attacker from files, in an empty folder; leaves no thread or connection behind."""
    env = {"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"}
    settings = Settings.from_env(env)
    await Database(settings.db_url).create_all()
    lists = folder / "intel" / "blocklists"
    lists.mkdir(parents=True)
    (lists / "warm.txt").write_text("192.0.2.0/24\n")
    async with open_context("enrich", settings, notifies=False) as ctx:
        now = utc_now()

        async def visit(session: Any) -> None:
            session.add_all(
                Attacker(ip=f"192.0.2.{n}", first_seen=now, last_seen=now) for n in range(3)
            )

        await ctx.db.write(visit)
        enricher = Enricher(ctx, IntelSettings.from_env(folder, env), None)
        while await enricher.tick():
            pass


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("enrich", main)


if __name__ == "__main__":
    run()
