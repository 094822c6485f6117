"""The rhythm of an attacker's events, and what it says of who is at the keys. Pure.

Kept incrementally: a few sums and a sample of the newest gaps, so that a visitor of a million
events costs as much as one of ten. `Timing` goes to the database as JSON and comes back as is.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SAMPLE = 64
"""Newest gaps that the median is taken from."""

UNKNOWN, SLOW_SCAN, SCANNING, BRUTE_FORCE, BEACONING, INTERACTIVE, MIXED = (
    "unknown",
    "slow_scan",
    "scanning",
    "brute_force",
    "beaconing",
    "interactive",
    "mixed",
)

BEACONS = (
    # name, seconds, ± seconds, variation, ± variation
    ("cobalt_strike", 60.0, 8.0, 0.20, 0.05),
    ("sliver", 60.0, 10.0, 0.30, 0.08),
    ("havoc", 45.0, 8.0, 0.10, 0.03),
    ("mythic", 30.0, 6.0, 0.15, 0.03),
)


@dataclass(frozen=True)
class Timing:
    """Gaps between events in seconds: how many events, mean, spread (Welford's sum), extremes."""

    events: int = 0
    first: float = 0.0
    last: float = 0.0
    mean: float = 0.0
    square_sum: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    recent: tuple[float, ...] = field(default=())

    def add(self, time: dt.datetime) -> Timing:
        """With one more event. One that comes late (another decoy's file) has a gap of zero."""
        now = time.timestamp()
        if self.events == 0:
            return Timing(1, now, now)
        gap = round(max(0.0, now - self.last), 6)
        gaps = self.events  # with this one
        delta = gap - self.mean
        mean = self.mean + delta / gaps
        return Timing(
            events=self.events + 1,
            first=min(self.first, now),
            last=max(self.last, now),
            mean=mean,
            square_sum=self.square_sum + delta * (gap - mean),
            shortest=gap if gaps == 1 else min(self.shortest, gap),
            longest=max(self.longest, gap),
            recent=(*self.recent[1 - SAMPLE :], gap),
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of the gaps (of the sample, as statistics.stdev)."""
        gaps = self.events - 1
        return math.sqrt(max(0.0, self.square_sum) / (gaps - 1)) if gaps > 1 else 0.0

    @property
    def variation(self) -> float:
        """Coefficient of variation: deviation by mean; 0 where all came at once."""
        return self.deviation / self.mean if self.mean > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """For `attacker_behavior.timing_stats`: what is to be read, and what goes on from here."""
        return {
            "count": self.events,
            "duration_s": round(self.last - self.first, 6),
            "mean_s": round(self.mean, 6),
            "median_s": round(statistics.median(self.recent), 6) if self.recent else 0.0,
            "stdev_s": round(self.deviation, 6),
            "min_s": round(self.shortest, 6),
            "max_s": round(self.longest, 6),
            "cv": round(self.variation, 6),
            "state": {
                "first": self.first,
                "last": self.last,
                "mean": self.mean,
                "square_sum": self.square_sum,
                "shortest": self.shortest,
                "longest": self.longest,
                "recent": list(self.recent),
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Timing:
        """The inverse; a row without it begins anew."""
        if not value or "state" not in value:
            return cls()
        state = dict(value["state"])
        return cls(events=int(value["count"]), recent=tuple(state.pop("recent")), **state)


def classify(timing: Timing, services: int) -> str:
    """The behaviour class; the first that fits, in this order.

    Args:
        services: how many different ones were touched.
    """
    count, mean, variation = timing.events, timing.mean, timing.variation
    if count < 3:
        return UNKNOWN
    if services >= 2 and mean >= 10 and count >= 4:
        return SLOW_SCAN
    if (services >= 3 and mean < 10) or (services >= 2 and mean < 2):
        return SCANNING
    if services == 1 and count >= 8 and mean < 5 and variation < 0.6:
        return BRUTE_FORCE
    if variation < 0.35 and mean >= 5 and count >= 4:
        return BEACONING
    if variation >= 0.5 and mean < 5 and count >= 6:
        return INTERACTIVE
    return MIXED


def beacon_name(timing: Timing) -> str | None:
    """The implant whose default rhythm this is; the nearest where several fit."""
    fitting = [
        (abs(timing.mean - seconds) / within + abs(timing.variation - spread) / spread_within, name)
        for name, seconds, within, spread, spread_within in BEACONS
        if abs(timing.mean - seconds) <= within and abs(timing.variation - spread) <= spread_within
    ]
    return min(fitting)[1] if fitting else None
