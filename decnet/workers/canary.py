"""canary: waits for bait to call home, by HTTP and by DNS.

A hit is in the journal before its answer is sent, in the database a moment later, on the bus
after that. The answer is the same for every slug and does not tell which ones are known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dnslib import DNSRecord  # type: ignore[import-untyped]
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.canary import dns, store, web
from decnet.canary.bell import Bell
from decnet.canary.hit import Hit, slug_of_path
from decnet.canary.journal import Journal
from decnet.canary.settings import CanarySettings
from decnet.canary.store import Rung
from decnet.context import Context, WorkerError, open_context, run_worker
from decnet.db.engine import Database
from decnet.decoys.house import PortRefused, listen
from decnet.decoys.http_parse import parse_head
from decnet.models import CanaryRevoked, CanaryTriggered
from decnet.settings import Settings

log = logging.getLogger("decnet.canary")

POLL_SECONDS = 5.0
BATCH = 200


class Canary:
    """The worker between the servers and the database."""

    def __init__(self, ctx: Context, journal: Journal) -> None:
        self._ctx = ctx
        self._journal = journal
        self._refused = 0
        self._stored = 0
        self._unknown = 0

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        journal = self._journal
        return {
            "stored": self._stored,
            "queue": len(journal),
            "journal_bytes": journal.size,
            "journal_unwritten": journal.unwritten,
            "journal_bad_lines": journal.bad_lines,
            "hits_lost": journal.lost,
            "hits_refused": self._refused,
            "hits_on_no_token": self._unknown,
        }

    async def store(self) -> bool:
        """A batch of hits into the database; False where there were none."""
        hits = self._journal.take(BATCH)
        if not hits:
            self._journal.stored()  # also where all that was in the file was unreadable
            return False
        try:
            await self._ring(hits)
        except StatementError as error:
            log.warning("the database refuses a batch of %d hits: %s", len(hits), error.orig)
            for hit in hits:
                try:
                    await self._ring([hit])
                except StatementError:
                    self._refused += 1
        self._journal.stored()
        return True

    async def _ring(self, hits: list[Hit]) -> None:
        async def work(session: AsyncSession) -> tuple[list[Rung], int]:
            return await store.ring(session, hits)

        rung, nobody = await self._ctx.write(work)
        self._stored += len(rung)
        self._unknown += nobody
        for one in rung:
            self._publish(one)

    def _publish(self, one: Rung) -> None:
        """Hints, after the commit."""
        token, hit, publish = one.token, one.hit, self._ctx.bus.publish
        publish(
            topics.canary(token.uuid, "triggered"),
            CanaryTriggered(
                token_id=token.uuid,
                trigger_id=one.trigger_id,
                decky_name=token.decky_name,
                src_ip=hit.src_ip,
                user_agent=hit.user_agent,
                request_path=hit.path,
                dns_qname=hit.qname,
            ),
        )
        if one.revoked:
            publish(
                topics.canary(token.uuid, "revoked"),
                CanaryRevoked(token_id=token.uuid, reason=store.FINGERPRINTED),
            )


async def main(ctx: Context) -> None:
    """Listen until told to stop."""
    settings = CanarySettings.from_env(ctx.settings.state_dir)
    journal = Journal(settings.journal, settings.journal_most)
    try:
        journal.open()
    except OSError as error:
        raise WorkerError(
            f"cannot open the journal {settings.journal}: {error.strerror}",
            hint="check the owner of the state folder (DECNET_STATE_DIR)",
        ) from error
    counts: Counter[str] = Counter()
    with contextlib.closing(journal):
        canary = Canary(ctx, journal)
        wake = await ctx.wake("canary.*.placed", "canary.*.revoked")
        bell = Bell(journal, wake.hint)
        async with ctx.db.session() as session:
            bell.renew(await store.known(session))
        async with listening(ctx, settings, bell, counts) as where:
            ctx.reports += [canary.health, bell.health, lambda: {"served": dict(counts)}]
            ctx.ready(where)
            while not ctx.stopping.is_set():
                ctx.progress()
                if await canary.store():
                    continue
                async with ctx.db.session() as session:
                    bell.renew(await store.known(session))
                if not len(journal):
                    await wake.wait(POLL_SECONDS)


@contextlib.asynccontextmanager
async def listening(
    ctx: Context, settings: CanarySettings, bell: Bell, counts: Counter[str]
) -> AsyncIterator[str]:
    """Both servers inside the block; gives where they listen.

    Raises:
        WorkerError: a port cannot be had.
    """
    async with contextlib.AsyncExitStack() as stack:
        try:
            sock = listen(settings.bind, settings.port, "DECNET_CANARY_PORT")
        except PortRefused as error:
            ctx.status(error.text)
            hint = error.hint.replace("DECNET_DECOY_HOST", "DECNET_CANARY_BIND")
            raise WorkerError(error.text, code="port-refused", hint=hint) from error
        stack.callback(sock.close)
        where = "http on {}:{}".format(*sock.getsockname()[:2])
        if settings.dns_zone:
            datagrams = _bind_dns(ctx, settings)
            stack.callback(datagrams.close)
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: dns.Server(bell, settings.dns_zone, settings.dns_answer, counts),
                sock=datagrams,
            )
            stack.callback(transport.close)
            name = "{}:{}".format(*datagrams.getsockname()[:2])
            where += f", dns for {settings.dns_zone} on {name}"
        doorman = await stack.enter_async_context(
            web.serve(sock, bell, settings.trusted_proxies, counts)
        )
        ctx.reports.append(doorman.health)
        log.info("%s", where)
        yield where


def _bind_dns(ctx: Context, settings: CanarySettings) -> Any:
    try:
        return dns.bind(settings.dns_bind, settings.dns_port)
    except (OSError, OverflowError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        text = f"UDP port {settings.dns_port} on {settings.dns_bind} cannot be had: {reason}"
        ctx.status(text)
        raise WorkerError(
            text,
            code="port-refused",
            hint="set DECNET_CANARY_DNS_PORT (and DECNET_CANARY_DNS_BIND), or leave"
            " DECNET_CANARY_DNS_ZONE unset for no DNS",
        ) from error


async def rehearse(folder: Path) -> None:
    """Take hits in an empty folder; leaves no thread, socket or connection behind."""
    env = {"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"}
    settings = Settings.from_env(env)
    await Database(settings.db_url).create_all()
    async with open_context("canary", settings, notifies=False) as ctx:
        token = await ctx.write(lambda session: store.add(session, "warm"))
        slug = token.callback_token
        journal = Journal(CanarySettings.from_env(folder, env).journal, 1 << 20)
        journal.open()
        with contextlib.closing(journal):
            canary = Canary(ctx, journal)
            bell = Bell(journal, lambda: None)
            query = bytes(DNSRecord.question(f"{slug}.warm.test").pack())
            for _ in range(12):
                async with ctx.db.session() as session:
                    bell.renew(await store.known(session))
                head = parse_head(f"GET /c/{slug} HTTP/1.1\r\nUser-Agent: warm".encode())
                found = slug_of_path(head.path)
                bell.http(found, "192.0.2.1", head.path, head.query, head.headers)
                _, found, name = dns.answer(query, "warm.test", "192.0.2.1")
                bell.dns(found, "192.0.2.1", name)
                while await canary.store():
                    pass


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("canary", main)


if __name__ == "__main__":
    run()
