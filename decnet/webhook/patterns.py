"""Which events a subscription's patterns ask for, and from where those events come. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from decnet.bus import topics

SIMPLE = {
    "AttackerDetail": ("attacker.>",),
    "DeckyStatus": ("decky.*.state", "decky.*.traffic"),
    "SystemStatus": ("system.>",),
}
"""Names that may be given in place of patterns."""
PATTERNS_MOST = 32
_TRANSIENT = ("system.>", "decky.*.traffic", "attacker.observation.>")
"""Not worth a row: straight from the bus to the receiver, lost with the process."""


def expand(words: Iterable[str]) -> list[str]:
    """Patterns, the simple names replaced by theirs; each once.

    Raises:
        ValueError: a word is no pattern, there is none, or there are too many.
    """
    found: list[str] = []
    for word in words:
        found += [p for p in SIMPLE.get(word, (word,)) if p not in found]
    for pattern in found:
        if not topics.is_pattern(pattern):
            raise ValueError(f"not a topic pattern: {pattern!r}")
    if not 0 < len(found) <= PATTERNS_MOST:
        raise ValueError(f"one to {PATTERNS_MOST} topic patterns are needed")
    return found


def wants(patterns: Sequence[str], topic: str) -> bool:
    """Whether one of the patterns asks for a stored event of the topic.

    `system.log` by name asks for each stored line; a wildcard only for the bus's summaries.
    """
    if topic == topics.SYSTEM_LOG:
        return topic in patterns
    return any(topics.matches(pattern, topic) for pattern in patterns)


def wants_from_bus(patterns: Sequence[str], topic: str) -> bool:
    """Whether one of the patterns asks for the bus's copy of an event."""
    return any(
        topics.matches(pattern, topic)
        for pattern in patterns
        if not (topic == topics.SYSTEM_LOG == pattern)
    )


def is_transient(topic: str) -> bool:
    """Whether events of the topic are not stored by us."""
    return any(topics.matches(pattern, topic) for pattern in _TRANSIENT)


def overlap(one: str, other: str) -> bool:
    """Whether some topic matches both patterns."""
    a, b = one.split("."), other.split(".")
    for x, y in zip(a, b, strict=False):
        if ">" in (x, y):
            return True
        if x != y and "*" not in (x, y):
            return False
    return len(a) == len(b)
