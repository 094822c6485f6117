"""Asking all providers about an address: at once, each with its own cache, breaker and retries."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from decnet.intel.breaker import Breaker
from decnet.intel.provider import (
    UNKNOWN,
    Finding,
    Provider,
    ProviderError,
    aggregate,
    may_leave,
)

log = logging.getLogger("decnet.intel")

RETRY_MOST = 6 * 3600.0
FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What is to be stored of an address."""

    columns: dict[str, Any]
    """Of the providers that answered now; the others' stay as they are."""
    providers: dict[str, dict[str, Any]]
    verdict: str
    expires_at: dt.datetime

    def told(self) -> dict[str, str]:
        """provider -> verdict, or "failed"."""
        return {
            name: FAILED if state.get("error") else str(state["verdict"])
            for name, state in self.providers.items()
        }


class Asker:
    """Asks, and remembers of each provider whether it works.

    Args:
        providers: in the order in which they are told.
        ttl: seconds for which an answer is good.
        timeout: seconds for one answer.
        retry_first: seconds after the first failure; then it doubles, up to `RETRY_MOST`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        ttl: float,
        timeout: float,
        retry_first: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = providers
        self._ttl = ttl
        self._timeout = timeout
        self._retry_first = retry_first
        self._breakers = {p.name: Breaker(clock) for p in providers if p.is_online}
        self.counts: Counter[str] = Counter()

    def open_breakers(self) -> dict[str, int]:
        """Providers that are left alone, and for how many seconds."""
        return {
            name: round(breaker.remaining)
            for name, breaker in self._breakers.items()
            if breaker.remaining > 0
        }

    async def ask(
        self, address: str, before: Mapping[str, Mapping[str, Any]], now: dt.datetime
    ) -> Outcome:
        """Ask whoever is due. Never raises for a provider's sake.

        Args:
            before: `attacker_intel.providers` of the address; {} for a new one.
        """
        due = [p for p in self._providers if _is_due(before.get(p.name), now)]
        answers = await asyncio.gather(*(self._one(p, address) for p in due))
        columns: dict[str, Any] = {}
        states: dict[str, dict[str, Any]] = {
            p.name: dict(before[p.name]) for p in self._providers if p.name in before
        }
        for provider, answer in zip(due, answers, strict=True):
            old = states.get(provider.name, {})
            if isinstance(answer, Finding):
                columns |= answer.columns
                states[provider.name] = self._state(answer.verdict, now, self._ttl)
                continue
            tries = int(old.get("tries", 0)) + 1
            wait = min(self._retry_first * 2.0 ** min(tries - 1, 20), RETRY_MOST)
            # What it said before still counts; it is only old.
            state = self._state(old.get("verdict", UNKNOWN), now, max(wait, answer.retry_after))
            states[provider.name] = {**state, "error": str(answer)[:200], "tries": tries}
        verdict = aggregate(str(state["verdict"]) for state in states.values())
        ends = [dt.datetime.fromisoformat(state["due"]) for state in states.values()]
        expires = min(ends, default=now + dt.timedelta(seconds=self._ttl))
        return Outcome(columns, states, verdict, expires)

    @staticmethod
    def _state(verdict: str, now: dt.datetime, seconds: float) -> dict[str, Any]:
        due = now + dt.timedelta(seconds=seconds)
        return {"verdict": verdict, "at": now.isoformat(), "due": due.isoformat()}

    async def _one(self, provider: Provider, address: str) -> Finding | ProviderError:
        breaker = self._breakers.get(provider.name)
        if breaker is None:
            return await self._guarded(provider, address)
        if not may_leave(address):
            return Finding()
        if not breaker.enter():
            return ProviderError("left alone after failures", breaker.remaining)
        self.counts["asked"] += 1
        answer: Finding | ProviderError = ProviderError("given up")
        try:
            answer = await self._guarded(provider, address)
        finally:
            if isinstance(answer, Finding):
                breaker.success()
            else:
                self.counts["failures"] += 1
                breaker.failure(answer.retry_after)
        return answer

    async def _guarded(self, provider: Provider, address: str) -> Finding | ProviderError:
        try:
            # The client's own time-outs are for one read; an answer in drops has no end.
            async with asyncio.timeout(self._timeout):
                return await provider.ask(address)
        except ProviderError as error:
            return error
        except TimeoutError:
            return ProviderError(f"no answer within {self._timeout:g} s")
        except Exception as error:
            # A fault of ours, or an answer of a kind never seen: that provider alone suffers.
            log.exception("provider %s failed on %s", provider.name, address)
            return ProviderError(f"fault: {type(error).__name__}")


def _is_due(state: Mapping[str, Any] | None, now: dt.datetime) -> bool:
    if not state:
        return True
    try:
        return dt.datetime.fromisoformat(str(state["due"])) <= now
    except (KeyError, ValueError, TypeError):
        return True
