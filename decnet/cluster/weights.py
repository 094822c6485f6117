"""How much speaks for two addresses being one actor. Pure; never looks at the time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from decnet.cluster.keys import STRONG, WEAK, compared, kind_of

HIGH, MEDIUM, LOW, VERY_LOW = 1.0, 0.6, 0.2, 0.05
THRESHOLD = 1.0
MOST = HIGH + MEDIUM + LOW + VERY_LOW


@dataclass(frozen=True)
class Traits:
    """What is known of one address."""

    keys: frozenset[str] = frozenset()
    commands: Mapping[str, Collection[str]] = field(default_factory=dict)
    """By phase (`phases.commands_by_phase`)."""
    secrets: frozenset[str] = frozenset()
    """Hashes of the credentials it tried."""
    asn: int | None = None


def weigh(one: Traits, other: Traits, common: Collection[str] = ()) -> float:
    """The weight of an edge; there is one from `THRESHOLD` on.

    Args:
        common: keys of so many addresses that they speak for nobody.
    """
    return (
        HIGH * is_strong(one, other, common)
        + MEDIUM * commands_alike(one, other)
        + LOW * jaccard(one.secrets, other.secrets)
        + VERY_LOW * (one.asn is not None and one.asn == other.asn)
    )


def is_strong(one: Traits, other: Traits, common: Collection[str] = ()) -> bool:
    """An equal JA3 or HASSH; else a payload or endpoint in common, unless vetoed."""
    shared = {key for key in one.keys & other.keys if key not in common}
    if any(kind_of(key) in STRONG for key in shared):
        return True
    return any(kind_of(key) in WEAK for key in shared) and not is_vetoed(one, other)


def is_vetoed(one: Traits, other: Traits) -> bool:
    """Whether there are fingerprints to compare, and all of them disagree."""
    mine, theirs = compared(one.keys), compared(other.keys)
    both = set(map(kind_of, mine)) & set(map(kind_of, theirs))
    return bool(both) and not mine & theirs


def commands_alike(one: Traits, other: Traits) -> float:
    """The best likeness of commands within one phase."""
    phases = one.commands.keys() & other.commands.keys()
    return max((jaccard(one.commands[p], other.commands[p]) for p in phases), default=0.0)


def jaccard(one: Collection[str], other: Collection[str]) -> float:
    """Common ones by all; 0 where there are none at all."""
    one, other = set(one), set(other)
    return len(one & other) / len(one | other) if one and other else 0.0


def confidence(sample: Collection[Traits], common: Collection[str] = ()) -> float:
    """How sure an identity is, 0 to 1: the mean of its addresses' best edges, by the most possible.

    One address is surely one actor.
    """
    if len(sample) < 2:
        return 1.0
    traits = list(sample)
    best = [0.0] * len(traits)
    for (i, one), (j, other) in combinations(enumerate(traits), 2):
        weight = weigh(one, other, common)
        best[i], best[j] = max(best[i], weight), max(best[j], weight)
    return round(sum(best) / len(best) / MOST, 3)
