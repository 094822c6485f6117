"""Lifters: what a pattern on one text cannot see. Each is a model of its parameters.

A lifter looks at an event and, where it counts, at what the same address did before it. It
depends on nothing that came later, so live, after a restart and in a backfill it says the same.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import regex as rx
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from decnet.ttp.event import Event
from decnet.ttp.patterns import PATTERN_MOST, compile_pattern, search

PAST_MOST = 200
"""So many earlier events of an address and kind are looked back on."""
PAST_IDS = 50_000
"""And none that lies further back than so many rows of `logs`."""
Count = Annotated[int, Field(ge=1, le=PAST_MOST, strict=True)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Words = Annotated[tuple[str, ...], Field(min_length=1, max_length=200)]
NO_PAST: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A lifter's yes. `source_id` names a whole window where the event is only its last part."""

    source_id: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


class Past:
    """What one address did, by kind, oldest first; bounded."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._kinds: dict[str, deque[Event]] = {}
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """One more; the oldest of its kind goes where there are too many."""
        self._kinds.setdefault(event.kind, deque(maxlen=PAST_MOST)).append(event)

    def within(self, event: Event, seconds: float) -> Iterator[Event]:
        """Earlier events of the same kind, at most so many seconds away."""
        span = dt.timedelta(seconds=seconds)
        for earlier in self._kinds.get(event.kind, NO_PAST):
            near = abs(event.time - earlier.time) < span
            if near and event.number - earlier.number <= PAST_IDS:
                yield earlier


def matching(text: str) -> str:
    """A pattern that compiles.

    Raises:
        PydanticCustomError: it does not.
    """
    try:
        compile_pattern(text)
    except (rx.error, OverflowError, RecursionError) as error:
        raise PydanticCustomError(
            "pattern",
            "no regular expression: {reason}",
            {"reason": str(error)[:120], "remedy": "correct the pattern"},
        ) from error
    return text


class Lifter(BaseModel):
    """Base of all; `find` is the question."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    counts: ClassVar[bool] = False
    """Whether `find` wants the past."""

    def source_of(self, event: Event) -> str:
        """The name of the window that the event belongs to; "" where it stands for itself."""
        return ""

    def find(self, event: Event, past: Past) -> Finding | None:
        """A finding, or None.

        Raises:
            PatternTimeout: it cannot be said within the time.
        """
        raise NotImplementedError


class Only(BaseModel):
    """Events that count: one field matches."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    field: str
    regex: Annotated[str, Field(max_length=PATTERN_MOST)]

    _compiles = field_validator("regex")(matching)

    @cached_property
    def pattern(self) -> rx.Pattern[str]:
        """Compiled once."""
        return compile_pattern(self.regex)

    def holds(self, event: Event) -> bool:
        """Whether the event counts."""
        return search(self.pattern, event.text(self.field))


class Burst(Lifter):
    """At least `threshold` events of an address within `window_s` seconds.

    same: only those whose field equals this event's; distinct: not events are counted but
    different values (of several fields: of the one that has the fewest); only: which count.
    A window (of the clock, in steps of `window_s`) is one source, however long the burst goes on.
    """

    counts = True

    threshold: Count
    window_s: Seconds
    same: str | None = None
    distinct: tuple[str, ...] = ()
    only: Only | None = None

    def source_of(self, event: Event) -> str:
        return f"{event.attacker_ip}/{int(event.time.timestamp() // self.window_s)}"

    def find(self, event: Event, past: Past) -> Finding | None:
        if self.only is not None and not self.only.holds(event):
            return None
        counted = [
            other
            for other in past.within(event, self.window_s)
            if (self.same is None or other.text(self.same) == event.text(self.same))
            and (self.only is None or self.only.holds(other))
        ]
        counted.append(event)
        count = min(
            (len({c.text(name) for c in counted} - {""}) for name in self.distinct),
            default=len(counted),
        )
        if count < self.threshold:
            return None
        return Finding(self.source_of(event), {"count": count, "window_s": self.window_s})


class SuccessAfter(Lifter):
    """A log-in that was accepted after at least `failures` refused ones of the same address."""

    counts = True

    failures: Count
    window_s: Seconds

    def find(self, event: Event, past: Past) -> Finding | None:
        if event.text("outcome") != "accepted":
            return None
        refused = sum(e.text("outcome") == "refused" for e in past.within(event, self.window_s))
        return Finding("", {"refused": refused}) if refused >= self.failures else None


class KnownPairs(Lifter):
    """A user name and password that came with a product: "root:root", or "*:raspberry"."""

    pairs: Words

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(pair.lower() for pair in self.pairs)

    def find(self, event: Event, past: Past) -> Finding | None:
        principal, secret = event.text("principal").lower(), event.text("secret_printable").lower()
        if f"{principal}:{secret}" in self._set or f"*:{secret}" in self._set:
            return Finding()
        return None


class Beacon(Lifter):
    """A rhythm that no person keeps: behaviour class `beaconing`, within these bounds."""

    least_s: float = 5
    most_s: float = 86_400
    most_jitter_pct: float = 35
    profiles: tuple[str, ...] = ()

    def find(self, event: Event, past: Past) -> Finding | None:
        interval, jitter = event.data.get("beacon_interval_s"), event.data.get("beacon_jitter_pct")
        if interval is None or jitter is None:
            return None
        if not self.least_s <= interval <= self.most_s or jitter > self.most_jitter_pct:
            return None
        profile = event.data.get("beacon_profile")
        if self.profiles and profile not in self.profiles:
            return None
        found = {"interval_s": interval, "jitter_pct": jitter, "profile": profile}
        return Finding("", {k: v for k, v in found.items() if v is not None})


class Behaviour(Lifter):
    """How an attacker behaves: one of the classes, one of the tools, at least so many places."""

    classes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    least_deckies: int = 0
    least_services: int = 0

    def find(self, event: Event, past: Past) -> Finding | None:
        tools = sorted(set(self.tools) & set(event.data.get("tools") or ()))
        if self.classes and event.data.get("behavior_class") not in self.classes:
            return None
        if self.tools and not tools:
            return None
        deckies, services = event.data.get("deckies", 0), event.data.get("services", 0)
        if deckies < self.least_deckies or services < self.least_services:
            return None
        found = {"behavior_class": event.data.get("behavior_class"), "tools": tools}
        return Finding("", {**found, "deckies": deckies, "services": services})
