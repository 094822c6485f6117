"""The worker's body: its sources in turn, its rules as they change, what it tells of both."""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from typing import Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, func, select

from decnet.bus.subscription import Event
from decnet.context import Context
from decnet.db import cursors
from decnet.db.tables import Log, utc_now
from decnet.ttp import announce, states
from decnet.ttp.catalogue import Catalogue, Change
from decnet.ttp.engine import Judge, Meter, Verdict
from decnet.ttp.settings import TtpSettings
from decnet.ttp.shared import get_shared
from decnet.ttp.sources import PROFILED, Page, Source, all_sources
from decnet.ttp.tagger import CURSOR_PREFIX, Moved, Turn, commit_page, judge_page, read_page
from decnet.ttp.tags import Written

log = logging.getLogger("decnet.ttp")

RULES_SECONDS = 2.0
"""How often the operator's folder and the decisions on rules are looked at."""
TRIES = 3
"""So often is a row tried that the database refuses; then it is passed over and counted."""


class Tagger:
    """All that the worker knows; nothing in it grows with the number of attackers."""

    def __init__(self, ctx: Context, settings: TtpSettings) -> None:
        self.ctx = ctx
        self.settings = settings
        self.meter = Meter()
        self.catalogue = Catalogue(get_shared(), settings.rules_dir)
        self.sources = all_sources()
        self.lag = 0
        self.skipped = 0
        self.tagged = 0
        self._verdicts: dict[str, Verdict] = {}
        self._counting: dict[str, Verdict] = {}
        self._due: dict[str, float] = {}
        self._hinted: set[str] = set()
        self._read_at: dict[str, float] = {}
        self._refused: dict[str, int] = {}
        self._rules_due = 0.0
        self._faults: dict[str, str] = {}

    def report(self) -> dict[str, Any]:
        """Heartbeat fields."""
        return {
            "lag": self.lag,
            "events": self.meter.events,
            "tagged": self.tagged,
            "rules": len(self.catalogue.rules),
            "rule_faults": len(self.catalogue.faults),
            "rules_off": sum(v.state == "disabled" for v in self._counting.values()),
            "timeouts": self.meter.timeouts.total(),
            "texts_cut": self.meter.texts_cut,
            "poison": self.meter.poison + self.skipped,
            "unattributed": self.meter.unattributed,
        }

    async def start(self) -> None:
        """Read the rules, and write down which are in force."""
        folder = self.catalogue.folder
        await asyncio.to_thread(self.catalogue.refresh)
        if folder is not None and self.catalogue.faults:
            async with self.ctx.db.session() as session:
                old = await states.old_contents(session, folder)
            for name, contents in old.items():
                if self.catalogue.recover(name, contents):
                    log.warning("%s: its last good rules stay in force", name)
        self._tell_faults()
        await self._note_rules()
        await self._read_verdicts()
        self.lag = await self.measure_lag()

    async def follow_rules(self) -> None:
        """Take changed rules and decisions into force, and tell of them."""
        if time.monotonic() < self._rules_due:
            return
        self._rules_due = time.monotonic() + RULES_SECONDS
        changes = await asyncio.to_thread(self.catalogue.refresh)
        self._tell_faults()
        if changes:
            await self._apply(changes)
        await self._read_verdicts()

    def listen(self) -> list[str]:
        """Let bus events say which source has news; gives their topics."""
        for source in self.sources:
            for topic in source.topics:
                self.ctx.bus.listen(topic, functools.partial(self._hint, source.name))
        return sorted({topic for source in self.sources for topic in source.topics})

    def _hint(self, name: str, event: Event) -> None:
        self._hinted.add(name)

    def is_due(self, source: Source) -> bool:
        """Whether a source has news, or is to be looked at without any."""
        now = time.monotonic()
        if source.name in self._hinted:
            # Not at each of a flood of hints: some sources look at more than what is new.
            return now >= self._read_at.get(source.name, -source.least) + source.least
        return now >= self._due.get(source.name, 0.0)

    async def tick(self, *, everything: bool = False) -> bool:
        """One page of each source that is due; whether there may be more at once."""
        more = False
        for source in self.sources:
            if self.ctx.stopping.is_set():
                return False
            if not everything and not self.is_due(source):
                continue
            # Taken down before the work: what comes meanwhile counts for the next tick.
            self._hinted.discard(source.name)
            self._read_at[source.name] = time.monotonic()
            turn = await self.turn(source)
            if turn is None or not turn.is_last:
                more = True
                self._due[source.name] = self._read_at[source.name] = 0.0
            else:
                self._due[source.name] = time.monotonic() + source.every
        self.lag = await self.measure_lag()
        return more

    async def turn(self, source: Source) -> Turn | None:
        """One page of one source; None where it has to be tried again."""
        refused = self._refused.get(source.name, 0)
        most = 1 if refused else self.settings.batch_size
        place, page = await read_page(self.ctx.db, source, most)
        if page.rows == 0 and page.place == place:
            return Turn(0, Written((), 0), page.is_last)
        judge = Judge(self.catalogue.attack, self.catalogue.kinds, self._counting, self.meter)
        tags = await judge_page(self.ctx.db, judge, page.events, self.ctx.progress)
        if refused > TRIES:
            log.warning("%s: a row that the database refuses is passed over", source.name)
            self.skipped += 1
            tags = []

        async def work(session: AsyncSession) -> Written:
            return await commit_page(session, source, place, page, tags)

        try:
            written = await self.ctx.write(work)
        except Moved:
            log.warning("%s: another ttp worker is at work; its place is taken over", source.name)
            return None
        except DBAPIError as error:
            self._refused[source.name] = refused + 1
            log.warning("%s: tags refused (%s), row by row now", source.name, error.orig)
            await asyncio.sleep(0.1 * (refused + 1))
            return None
        self._settle(source, page, refused, written)
        await self._suppress()
        return Turn(page.rows, written, page.is_last and not refused)

    def _settle(self, source: Source, page: Page, refused: int, written: Written) -> None:
        page.settle()
        if refused and (refused > TRIES or page.is_last):
            self._refused.pop(source.name)
        self.meter.unattributed += written.unattributed
        self.tagged += len(written.new)
        announce.tagged(self.ctx.bus, written.new)

    # -- rules

    async def _apply(self, changes: list[Change]) -> None:
        await self._note_rules()
        for change in changes:
            self.meter.timeouts.pop(change.rule_id, None)

        async def work(session: AsyncSession) -> None:
            # Suppressed as it was; as it is now it gets another chance.
            for change in changes:
                await states.forget_verdict(session, change.rule_id, states.WORKER)

        await self.ctx.write(work)
        for change in changes:
            announce.reloaded(self.ctx.bus, change)
        log.info("%d rules changed, %d in force", len(changes), len(self.catalogue.rules))

    async def _note_rules(self) -> None:
        await self.ctx.write(lambda session: states.write_rules(session, self.catalogue.rules))

    async def _read_verdicts(self) -> None:
        async with self.ctx.db.session() as session:
            self._verdicts = await states.read_verdicts(session)
        now = utc_now()
        counting = {
            rule: verdict
            for rule, verdict in self._verdicts.items()
            if verdict.state != "enabled" and verdict.holds(now)
        }
        before, self._counting = self._counting, counting
        for rule in sorted(set(before) | set(counting)):
            if before.get(rule) != counting.get(rule):
                announce.state(self.ctx.bus, rule, counting.get(rule))
                if rule not in counting:
                    self.meter.timeouts.pop(rule, None)

    async def _suppress(self) -> None:
        """Rules that take too long too often rest for a while, for everybody to see."""
        for rule in self.meter.too_slow():
            if rule in self._counting:
                continue
            until = utc_now() + states.SUPPRESSED
            reason = "took too long again and again"
            verdict = Verdict("disabled", None, until, reason, states.WORKER)

            async def work(
                session: AsyncSession, rule: str = rule, verdict: Verdict = verdict
            ) -> None:
                await states.set_verdict(session, rule, verdict)

            await self.ctx.write(work)
            self._counting[rule] = verdict
            announce.suppressed(self.ctx.bus, rule, verdict)
            log.warning("rule %s is suppressed for an hour: %s", rule, reason)

    def _tell_faults(self) -> None:
        for name, fault in self.catalogue.faults.items():
            if self._faults.get(name) != fault:
                log.warning("rules not used:\n%s", fault)
        self._faults = dict(self.catalogue.faults)
        self.ctx.health["rule_fault"] = next(iter(self._faults.values()), "")[:300]

    async def measure_lag(self) -> int:
        """Rows of `logs` behind, those included that the profiler has not seen yet."""
        async with self.ctx.db.session() as session:
            last = await session.scalar(select(func.max(col(Log.id)))) or 0
            place = await cursors.get(session, CURSOR_PREFIX + "logs", 0)
            profiled = await cursors.get(session, PROFILED, 0)
        waits = place >= profiled and last > profiled
        self.ctx.health["waits_for_profiler"] = int(last - profiled) if waits else 0
        return int(last - place)
