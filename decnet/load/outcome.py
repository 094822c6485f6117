"""What became of the crowd's deeds: stored, profiled, shown, and how long that took.

The database is read from outside, as an auditor would; what is shown comes from the event stream of
the REST interface, taken up again by Last-Event-ID whenever it breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2
from sqlalchemy import func
from sqlmodel import col, select

from decnet.db.engine import Database
from decnet.db.tables import Attacker, Log
from decnet.load.crowd import NET, Tally
from decnet.settings import Settings
from decnet.web.api import auth

MARK = re.compile(r"zz[0-9a-f]+x[0-9a-f]{6}q")
BATCH = 2000


@dataclass
class Stored:
    """Marks found in `logs`: (mark, event type) -> rows; and rows by address."""

    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)
    marks: dict[str, set[str]] = field(default_factory=dict)
    """Mark -> the addresses of its rows."""


async def read_stored(database: Database) -> Stored:
    """Every row of the crowd's."""
    found = Stored()
    last = 0
    async with database.session() as session:
        while True:
            rows = (
                await session.execute(
                    select(col(Log.id), col(Log.event_type), col(Log.attacker_ip), col(Log.fields))
                    .where(col(Log.id) > last, col(Log.attacker_ip).startswith(f"{NET}."))
                    .order_by(col(Log.id))
                    .limit(BATCH)
                )
            ).all()
            if not rows:
                return found
            for number, kind, source, fields in rows:
                last = number
                found.by_source[source] += 1
                for mark in _marks(kind, fields):
                    found.rows[mark, kind] += 1
                    found.marks.setdefault(mark, set()).add(source)


def _marks(kind: str, fields: dict[str, Any]) -> set[str]:
    # A session's last event repeats its commands: that is the recording, not a second event.
    return set() if kind == "session_recorded" else set(MARK.findall(json.dumps(fields)))


async def read_profiled(database: Database) -> dict[str, int]:
    """Address -> events in its profile."""
    async with database.session() as session:
        rows = await session.execute(
            select(col(Attacker.ip), col(Attacker.event_count)).where(
                col(Attacker.ip).startswith(f"{NET}.")
            )
        )
        return {ip: count for ip, count in rows}  # noqa: C416 -- a Row is no tuple to mypy


async def last_log_id(database: Database) -> int:
    """The newest row: the stream begins behind it."""
    async with database.session() as session:
        return int(await session.scalar(select(func.max(col(Log.id)))) or 0)


class Watcher:
    """Follows the event stream and notes when each mark was shown."""

    def __init__(self, settings: Settings, since: int) -> None:
        self.shown: dict[str, float] = {}
        self.repeated = 0
        self._last = since
        self._settings = settings

    async def follow(self) -> None:
        """Until cancelled."""
        settings = self._settings
        base = f"http://{settings.api_host}:{settings.api_port}/api/v1"
        # The stream says something every 15 s: silence for longer is a connection that is lost.
        timeout = httpx2.Timeout(30.0, read=60.0)
        async with httpx2.AsyncClient(base_url=base, timeout=timeout, trust_env=False) as client:
            while True:
                token = auth.mint(settings.jwt_secret, settings.admin_user, "admin", 3600)
                headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": str(self._last)}
                with contextlib.suppress(httpx2.TransportError):
                    async with client.stream("GET", "/events", headers=headers) as answer:
                        async for line in answer.aiter_lines():
                            if line.startswith("data:"):
                                self._note(json.loads(line.removeprefix("data:")))
                await asyncio.sleep(0.2)

    def _note(self, row: dict[str, Any]) -> None:
        if "fields" not in row:
            return
        if row["id"] <= self._last:
            self.repeated += 1
            return
        self._last = row["id"]
        for mark in _marks(row["event_type"], row["fields"]):
            self.shown.setdefault(mark, time.monotonic())


@dataclass(frozen=True)
class Outcome:
    """The counts; equal where nothing was lost or doubled."""

    sent: int
    stored: int
    profiled: int
    shown: int
    lost: int
    doubled: int
    unanswered: int
    delay_ms: dict[str, float]

    @property
    def ok(self) -> bool:
        """Whether everything arrived everywhere, once."""
        return self.lost == self.doubled == 0 and self.sent == self.profiled == self.shown


async def judge(database: Database, tally: Tally, watcher: Watcher) -> Outcome:
    """The counts at this moment."""
    stored = await read_stored(database)
    profiles = await read_profiled(database)
    # Where the sums agree for an address, every one of its events is in the profile, once.
    complete = {ip for ip, rows in stored.by_source.items() if profiles.get(ip) == rows}
    sent = set(tally.done)
    arrived = sent & set(stored.marks)
    known = sent | set(tally.failed)
    return Outcome(
        sent=len(sent),
        stored=len(arrived),
        profiled=sum(stored.marks[mark] <= complete for mark in arrived),
        shown=len(sent & set(watcher.shown)),
        lost=len(sent - arrived),
        doubled=sum(n - 1 for (mark, _), n in stored.rows.items() if n > 1 and mark in known)
        + sum(1 for ip, count in profiles.items() if count > stored.by_source[ip]),
        unanswered=len(tally.failed),
        delay_ms=_delays([watcher.shown[m] - tally.done[m] for m in sent & set(watcher.shown)]),
    )


async def settled(
    database: Database, tally: Tally, watcher: Watcher, seconds: float = 90.0
) -> Outcome:
    """The counts once everything has arrived, or when `seconds` are over."""
    deadline = time.monotonic() + seconds
    while True:
        outcome = await judge(database, tally, watcher)
        if outcome.ok or time.monotonic() > deadline:
            return outcome
        await asyncio.sleep(0.5)


def _delays(seconds: list[float]) -> dict[str, float]:
    """Milliseconds from the decoy's answer to the event stream; 0 where it was there before."""
    if not seconds:
        return {"p50": 0.0, "p99": 0.0}
    ordered = sorted(max(0.0, s) * 1e3 for s in seconds)
    at = min(len(ordered) - 1, round(len(ordered) * 0.99))
    return {"p50": round(ordered[len(ordered) // 2], 1), "p99": round(ordered[at], 1)}
