"""Rounds: one attacker after the other claimed, visited port by port, and told of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.context import Context
from decnet.db.errors import StorageError
from decnet.decoys.journal import Journal
from decnet.decoys.spool import Spool
from decnet.probes import store
from decnet.probes.settings import ProbeSettings
from decnet.probes.store import Change, Claim
from decnet.probes.talk import Result, Wire
from decnet.probes.targets import is_own, plan, target_of
from decnet.probes.told import as_pending, ids_of, in_spool
from decnet.probes.visit import ERROR, PROBES, visit_port

log = logging.getLogger("decnet.probe")


class Prober:
    """The worker's hands; all that counts is in the database."""

    def __init__(self, ctx: Context, settings: ProbeSettings, spool: Spool) -> None:
        self._ctx = ctx
        self._settings = settings
        self._spool = spool
        self._journal = Journal(spool, "decnet-prober", "prober")
        self._running: dict[str, asyncio.Task[None]] = {}
        self._allowed = set(PROBES)
        self._counts: Counter[str] = Counter()

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {"visiting": len(self._running), **self._counts}
        if missing := sorted(set(PROBES) - self._allowed):
            told["cannot"] = ",".join(missing)
        return told

    @property
    def is_busy(self) -> bool:
        """Whether no more can be claimed now."""
        return len(self._running) >= self._settings.concurrency

    async def enrol(self) -> None:
        """Make rounds for attackers that are new, or back after the TTL."""

        def allow(ip: str) -> str | None:
            return target_of(ip, self._settings)

        async with self._ctx.db.session() as session:
            place = await store.load_place(session)
            if not await store.has_news(session, place):
                return
        while True:

            async def work(session: AsyncSession, place: store.Place = place) -> store.Enrolment:
                return await store.enrol(session, place, allow, self._settings.ttl)

            page = await self._ctx.write(work)
            self._counts["enrolled"] += page.rounds
            if page.rows < store.PAGE:
                return
            place = page.place

    async def start_due(self, hint: Callable[[], None]) -> None:
        """Begin rounds that are due, as many as may run at once; `hint` is called as each ends."""
        lease = self._settings.lease
        while not self.is_busy:
            claim = await self._ctx.write(lambda s: store.claim(s, list(self._running), lease))
            if claim is None:
                return
            task = asyncio.create_task(self._guarded(claim), name=f"probe:{claim.ip}")
            self._running[claim.attacker_uuid] = task

            def over(_: object, uuid: str = claim.attacker_uuid) -> None:
                self._running.pop(uuid, None)
                hint()

            task.add_done_callback(over)

    async def stop(self) -> None:
        """End all rounds; the next prober goes on where they were."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- one round

    async def _guarded(self, claim: Claim) -> None:
        keeper = asyncio.create_task(self._keep(claim, asyncio.current_task()))
        try:
            await self._round(claim)
        except asyncio.CancelledError:
            with contextlib.suppress(StorageError):
                await self._ctx.db.write(lambda s: store.release(s, claim))
            raise
        except StorageError as error:  # told to stop while the disk is full: the lease runs out
            log.warning("%s: left for later: %s", claim.ip, error)
        except Exception:
            log.exception("the visit to %s failed; it is tried again", claim.ip)
            self._counts["failed"] += 1
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self, claim: Claim, visit: asyncio.Task[Any] | None) -> None:
        """Renew the lease for as long as the round goes on."""
        lease = self._settings.lease
        while True:
            await asyncio.sleep(lease / 3)
            if not await self._ctx.write(lambda s: store.extend(s, claim, lease)):
                log.warning("%s is visited by another prober now", claim.ip)
                if visit is not None:
                    visit.cancel()
                return

    async def _round(self, claim: Claim) -> None:
        if claim.pending:
            await self._tell_old(claim)
        if claim.number > store.ATTEMPTS_MOST:
            log.error("%s: given up after %d tries", claim.ip, store.ATTEMPTS_MOST)
            self._counts["given_up"] += 1
            given_up = {"probe": "round", "error": f"given up after {store.ATTEMPTS_MOST} tries"}
            await self.keep_results(claim, 0, [Result("round", ERROR, "", given_up)], [])
        elif target_of(claim.ip, self._settings) is not None:  # the settings may have changed
            await self._visit(claim)
        await self._ctx.write(lambda s: store.finish(s, claim))
        self._counts["rounds"] += 1

    async def _visit(self, claim: Claim) -> None:
        async with self._ctx.db.session() as session:
            own = claim.ip in await store.decky_addresses(session) or is_own(claim.ip)
        done = list(claim.done)
        for port, probes in plan(self._settings, own=own).items():
            if str(port) in done:
                continue
            wire = Wire(claim.ip, port, self._settings.timeout, self._settings.gap)
            before = set(self._allowed)
            results = await visit_port(wire, probes, self._allowed)
            for lost in before - self._allowed:
                log.warning("CAP_NET_RAW is missing: going on without the probe %r", lost)
            self._counts["ports"] += 1
            done.append(str(port))
            if results:  # closed ports are noted with the next open one: a few knocks again at most
                await self.keep_results(claim, port, results, done)

    async def keep_results(
        self, claim: Claim, port: int, results: list[Result], done: list[str]
    ) -> None:
        """Into the database, then into the spool, then on the bus."""
        pending = [
            as_pending(
                result.event,
                {"target_ip": claim.ip, "target_port": str(port), **result.fields},
                f"{claim.attacker_uuid[:8]}-{claim.started_at:%Y%m%d%H%M%S%f}-{port}-{at}",
            )
            for at, result in enumerate(results)
        ]
        changes = await self._ctx.write(
            lambda s: store.record(s, claim, port, results, done, pending)
        )
        if changes is None:
            raise RuntimeError("the claim is another prober's")
        await self._tell(pending)
        await self._ctx.write(lambda s: store.settle(s, claim))
        for change in changes:
            self._publish(claim, change)

    async def _tell_old(self, claim: Claim) -> None:
        """Events of a prober that was killed, if it did not come to tell them itself."""
        ids = ids_of(claim.pending)
        told = in_spool(self._spool.path, ids)
        async with self._ctx.db.session() as session:
            told |= await store.told_ids(session, claim, ids)
        await self._tell([one for one in claim.pending if not ids_of([one]) <= told])
        await self._ctx.write(lambda s: store.settle(s, claim))

    async def _tell(self, pending: list[dict[str, Any]]) -> None:
        for one in pending:
            self._journal.event(one["event"], one["fields"])
        while self._spool.health()["queued"]:  # the disk is full: they stay pending until it is not
            await asyncio.sleep(0.5)

    def _publish(self, claim: Claim, change: Change) -> None:
        result = change.result
        if not result.hash:
            return
        self._counts["fingerprints"] += 1
        who = {
            "attacker_ip": claim.ip,
            "attacker_uuid": claim.attacker_uuid,
            "port": change.port,
            "probe_type": result.probe,
        }
        self._ctx.bus.publish(
            topics.ATTACKER_FINGERPRINTED,
            {**who, "hash": result.hash, "result": result.fields},
            type=result.probe,
        )
        if change.old_hash is not None:
            rotated = {"old_hash": change.old_hash, "new_hash": result.hash}
            rotated_payload = {**who, **rotated, "rotation_count": change.rotations}
            self._ctx.bus.publish(topics.ATTACKER_FINGERPRINT_ROTATED, rotated_payload)
