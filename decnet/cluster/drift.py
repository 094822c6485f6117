"""How steady a habit is: one identity's observations of one primitive. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

UNKNOWN, STABLE, DRIFTING, CONFLICTED, MULTI_ACTOR = (
    "unknown",
    "stable",
    "drifting",
    "conflicted",
    "multi_actor",
)
WINDOW, MAJORITY, LEAST = 5, 4, 3
SMOOTHING = 0.3
STEADY, WILD = 0.20, 1.00
"""Dispersion (deviation by mean) up to which a number is steady, beyond which it says nothing."""
SHIFT = 0.30
"""Relative change of the mean that is a change of habit."""
MULTI_ACTOR_MOST = 0.6
"""No rhythm proves that there are two: the confidence's ceiling."""
NUMBER_MOST = 1e15
"""A number of this size is taken as a word."""
SIMHASH_NEAR = 8
"""Bits of difference from which two rhythms are not one hand's."""
ALARM_AT = 2
"""Primitives that must look like several actors before anybody is told."""


@dataclass(frozen=True)
class Seen:
    """One observation."""

    attacker: str
    value: Any
    confidence: float = 1.0


@dataclass(frozen=True)
class Verdict:
    """What the observations say together; `value` is a mean where they are numbers."""

    state: str
    value: Any
    confidence: float


def judge(seen: Sequence[Seen]) -> Verdict:
    """Judge observations, oldest first."""
    values = [one.value for one in seen if one.value is not None]
    if len(values) < LEAST:
        return Verdict(UNKNOWN, values[-1] if values else None, 0.0)
    trust = statistics.fmean(one.confidence for one in seen[-WINDOW:])
    numbers = all(_is_number(value) for value in values)
    if (share := _several(seen, numbers)) is not None:
        return Verdict(MULTI_ACTOR, values[-1], round(min(MULTI_ACTOR_MOST, share * trust), 3))
    state, value, sure = _of_numbers(values) if numbers else _of_names(values)
    return Verdict(state, value, round(max(0.0, min(1.0, sure * trust)), 3))


def gather_simhashes(seen: Sequence[Seen]) -> list[Seen]:
    """SimHashes (64 bit as hex) that are near each other take the value of the first of them.

    Two sessions of one hand never have quite the same one; what is no SimHash stays as it is.
    """
    firsts: list[int] = []
    made = []
    for one in seen:
        try:
            value = int(one.value, 16) if isinstance(one.value, str) else -1
        except ValueError:
            value = -1
        if not 0 <= value < 1 << 64:
            made.append(one)
            continue
        first = next((f for f in firsts if (f ^ value).bit_count() < SIMHASH_NEAR), None)
        if first is None:
            firsts.append(first := value)
        made.append(replace(one, value=f"{first:016x}"))
    return made


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -NUMBER_MOST < value < NUMBER_MOST  # False for "not a number" as well


def _of_numbers(values: list[Any]) -> tuple[str, Any, float]:
    window, earlier = values[-WINDOW:], values[:-WINDOW]
    smooth = float(values[0])
    for value in values[1:]:
        smooth += SMOOTHING * (value - smooth)
    smooth = round(smooth, 6)
    dispersion = _dispersion(window)
    if dispersion > WILD:
        return CONFLICTED, smooth, 1 / (1 + dispersion)
    if earlier and _shift(statistics.fmean(earlier), statistics.fmean(window)) > SHIFT:
        return DRIFTING, smooth, 1 - dispersion
    if dispersion <= STEADY:
        return STABLE, smooth, 1 - dispersion
    return DRIFTING, smooth, 1 - dispersion


def _of_names(values: list[Any]) -> tuple[str, Any, float]:
    window, earlier = values[-WINDOW:], values[:-WINDOW]
    name, count = _top(window)
    if count < min(MAJORITY, len(window)):
        return CONFLICTED, values[-1], count / len(window)
    if earlier and _top(earlier)[0] != name:
        return DRIFTING, name, count / len(window)
    return STABLE, name, count / WINDOW


def _several(seen: Sequence[Seen], numbers: bool) -> float | None:
    """The second address's share, where two addresses are steady and differ."""
    by_attacker: dict[str, list[Any]] = {}
    for one in seen:
        if one.value is not None:
            by_attacker.setdefault(one.attacker, []).append(one.value)
    steady = []
    for values in by_attacker.values():
        if len(values) < LEAST:
            continue
        state, value, _ = (_of_numbers if numbers else _of_names)(values)
        if state == STABLE:
            steady.append((len(values), value))
    steady.sort(key=lambda pair: (-pair[0], str(pair[1])))
    for at, (_, one) in enumerate(steady):
        for count, other in steady[at + 1 :]:
            if (_shift(one, other) > SHIFT) if numbers else (one != other):
                return 2 * count / len(seen)
    return None


def _top(values: list[Any]) -> tuple[Any, int]:
    """The most frequent, the latest of equally frequent ones; values need not be hashable."""
    counts = Counter(map(repr, values))
    best = max(counts.values())
    return next((v, best) for v in reversed(values) if counts[repr(v)] == best)


def _dispersion(values: list[Any]) -> float:
    mean = statistics.fmean(values)
    deviation = statistics.pstdev(values)
    return deviation / abs(mean) if mean else (0.0 if not deviation else 2 * WILD)


def _shift(before: float, after: float) -> float:
    if before == after:
        return 0.0
    return abs(after - before) / max(abs(before), abs(after)) if before and after else 1.0
