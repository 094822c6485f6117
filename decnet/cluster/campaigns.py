"""Which identities work together. Pure: records in, weights and components out.

Without a handed-over host the rest must add up: infrastructure in common, or two typists whose
rhythm differs in at most one bit. So an edge needs a key in common (payload, endpoint, half of
the rhythm's SimHash, host and day), and nobody is compared who has none. A key of more than
`BLOCK_MOST` identities tells nothing and counts nowhere.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from decnet.cluster.graph import UnionFind
from decnet.cluster.phases import HANDED_OVER, TAKEN_UP
from decnet.cluster.weights import jaccard

PHASE_HANDOFF, SHARED_INFRA, TEMPORAL_OVERLAP, COHORT, KEYSTROKE = 1.0, 1.0, 0.4, 0.1, 0.6
THRESHOLD = 1.0
MOST = PHASE_HANDOFF + SHARED_INFRA + TEMPORAL_OVERLAP + COHORT + KEYSTROKE
HANDOFF_SECONDS = 24 * 3600.0
SIMHASH_BITS = 8
"""Bits of difference from which two rhythms have nothing in common."""
BLOCK_MOST = 256
_DAY = 86_400


@dataclass(frozen=True)
class Stay:
    """An identity on a host; times are epoch seconds."""

    decky: str
    began: float
    began_in: frozenset[str]
    ended: float
    ended_in: frozenset[str]


@dataclass(frozen=True)
class Node:
    """What campaigns see of an identity."""

    uuid: str
    first: float = 0.0
    last: float = 0.0
    infra: frozenset[str] = frozenset()
    asns: frozenset[int] = frozenset()
    tools: frozenset[str] = frozenset()
    deckies: frozenset[str] = frozenset()
    simhash: int = 0
    """Rhythm of the keys, 64 bit; 0 where it is not known."""
    stays: tuple[Stay, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For `campaign_nodes.record`: the same for equal nodes."""
        return {
            "first": self.first,
            "last": self.last,
            "infra": sorted(self.infra),
            "asns": sorted(self.asns),
            "tools": sorted(self.tools),
            "deckies": sorted(self.deckies),
            "simhash": self.simhash,
            "stays": [
                [s.decky, s.began, sorted(s.began_in), s.ended, sorted(s.ended_in)]
                for s in sorted(self.stays, key=lambda s: s.decky)
            ],
        }

    @classmethod
    def from_json(cls, uuid: str, record: Mapping[str, Any]) -> Node:
        """The inverse."""
        return cls(
            uuid=uuid,
            first=record["first"],
            last=record["last"],
            simhash=record["simhash"],
            **{k: frozenset(record[k]) for k in ("infra", "asns", "tools", "deckies")},
            stays=tuple(
                Stay(decky, began, frozenset(b), ended, frozenset(e))
                for decky, began, b, ended, e in record["stays"]
            ),
        )


def keys_of(node: Node) -> set[str]:
    """The keys by which it may be found; none means that it can be in no campaign."""
    found = set(node.infra) | _simhash_keys(node)
    for stay in node.stays:
        if stay.ended_in & HANDED_OVER:
            found.add(_stay_key("out", stay.decky, stay.ended))
        if stay.began_in & TAKEN_UP:
            found.add(_stay_key("in", stay.decky, stay.began))
    return found


def counterparts(key: str) -> tuple[str, ...]:
    """Keys of those who may be linked through a key of one's own."""
    kind, _, rest = key.partition(":")
    if kind not in ("in", "out"):
        return (key,)
    day, _, decky = rest.partition(":")
    other, near = ("in", 1) if kind == "out" else ("out", -1)
    return f"{other}:{day}:{decky}", f"{other}:{int(day) + near}:{decky}"


def weigh(one: Node, other: Node, common: Collection[str] = ()) -> float:
    """The weight of an edge; there is one from `THRESHOLD` on.

    Args:
        common: keys of too many identities.
    """
    return round(
        PHASE_HANDOFF * (_hands_over(one, other, common) or _hands_over(other, one, common))
        + SHARED_INFRA * jaccard(_rare(one.infra, common), _rare(other.infra, common))
        + TEMPORAL_OVERLAP * _overlap(one, other)
        + COHORT * _cohort(one, other)
        + KEYSTROKE * _keystroke(one, other, common),
        9,
    )


def partition(nodes: Iterable[Node], common: Collection[str] = ()) -> list[frozenset[str]]:
    """Connected components by uuid; every node is in exactly one."""
    by_uuid = {node.uuid: node for node in nodes}
    buckets: dict[str, list[str]] = {}
    for node in by_uuid.values():
        for key in keys_of(node) - set(common):
            buckets.setdefault(key, []).append(node.uuid)
    sets = UnionFind()
    for key, members in buckets.items():
        for other_key in counterparts(key):
            if other_key < key:
                continue
            for one, other in itertools.product(members, buckets.get(other_key, ())):
                # Two that are one already need no weighing.
                if (
                    sets.find(one) != sets.find(other)
                    and weigh(by_uuid[one], by_uuid[other], common) >= THRESHOLD
                ):
                    sets.union(one, other)
    found: dict[str, set[str]] = {}
    for uuid in by_uuid:
        found.setdefault(sets.find(uuid), set()).add(uuid)
    return [frozenset(part) for part in found.values()]


def confidence(sample: Collection[Node], common: Collection[str] = ()) -> float:
    """How sure a campaign is: the mean of its identities' best edges, by the most possible."""
    nodes = list(sample)
    if len(nodes) < 2:
        return 0.0
    best = [max(weigh(one, other, common) for other in nodes if other is not one) for one in nodes]
    return round(sum(best) / len(best) / MOST, 3)


def _stay_key(kind: str, decky: str, time: float) -> str:
    return f"{kind}:{int(time // _DAY)}:{decky[:128]}"


def _simhash_keys(node: Node) -> set[str]:
    if not node.simhash:
        return set()
    return {f"ks0:{node.simhash >> 32:08x}", f"ks1:{node.simhash & 0xFFFFFFFF:08x}"}


def _rare(keys: frozenset[str], common: Collection[str]) -> set[str]:
    return {key for key in keys if key not in common}


def _hands_over(one: Node, other: Node, common: Collection[str]) -> bool:
    """Whether one leaves a host ready, and within a day the other begins there."""
    ends = {s.decky: s for s in one.stays if s.ended_in & HANDED_OVER}
    for begins in other.stays:
        ended = ends.get(begins.decky)
        if (
            ended is not None
            and begins.began_in & TAKEN_UP
            and 0 <= begins.began - ended.ended <= HANDOFF_SECONDS
            and _stay_key("out", ended.decky, ended.ended) not in common
            and _stay_key("in", begins.decky, begins.began) not in common
        ):
            return True
    return False


def _overlap(one: Node, other: Node) -> float:
    """The time in which both were seen, by the time in which either was."""
    both = min(one.last, other.last) - max(one.first, other.first)
    either = max(one.last, other.last) - min(one.first, other.first)
    if either <= 0:
        return 1.0
    return max(0.0, both) / either


def _cohort(one: Node, other: Node) -> float:
    return (
        jaccard(one.tools, other.tools)
        + jaccard(one.deckies, other.deckies)
        + jaccard(set(map(str, one.asns)), set(map(str, other.asns)))
    ) / 3


def _keystroke(one: Node, other: Node, common: Collection[str]) -> float:
    if not one.simhash or not other.simhash:
        return 0.0
    if any(key in common for key in _simhash_keys(one) | _simhash_keys(other)):
        return 0.0
    return max(0.0, 1 - (one.simhash ^ other.simhash).bit_count() / SIMHASH_BITS)


def epoch(time: dt.datetime) -> float:
    """A time as the records have it."""
    return time.timestamp()
