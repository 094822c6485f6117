"""Connected components, bucket by bucket: near linear in what is shown, never pair by pair. Pure.

Two addresses are linked where they share a strong key, or a weak one unless all fingerprints that
both have disagree (`weights.weigh` says the same of a single pair). The weaker evidence adds up to
0.85 at most, so nothing else reaches the threshold, and buckets of equal keys find every link.
A key in more than `bucket_most` hands names a tool, not a person, and links nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from decnet.cluster.keys import STRONG, compared, kind_of


class UnionFind:
    """Disjoint sets of labels; a set is named by its smallest label."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, label: str) -> str:
        """The smallest label of its set; an unknown label is a set of its own."""
        parent = self._parent
        root = label
        while (above := parent.get(root, root)) != root:
            root = above
        while label != root:
            parent[label], label = root, parent[label]
        return root

    def union(self, one: str, other: str) -> None:
        """Make two sets one."""
        one, other = self.find(one), self.find(other)
        if one != other:
            # The smallest as the root costs rank, not order: path compression remains.
            self._parent[max(one, other)] = min(one, other)
            self._parent.setdefault(min(one, other), min(one, other))

    def groups(self) -> dict[str, set[str]]:
        """Sets of more than one label, by their smallest."""
        found: dict[str, set[str]] = {}
        for label in list(self._parent):
            found.setdefault(self.find(label), set()).add(label)
        return {root: labels for root, labels in found.items() if len(labels) > 1}


def link_strong(sets: UnionFind, labels: Iterable[str]) -> None:
    """All that share a strong key are one."""
    first: str | None = None
    for label in labels:
        first = first or label
        sets.union(first, label)


def link_weak(sets: UnionFind, members: Iterable[tuple[str, Collection[str]]]) -> None:
    """Those that share a weak key, each with its compared keys (`keys.compared`).

    Linked are two that have no kind in common (nothing to compare), or share a value.
    """
    by_mask: dict[frozenset[str], list[str]] = {}
    by_value: dict[str, str] = {}
    for label, fingerprints in members:
        by_mask.setdefault(frozenset(map(kind_of, fingerprints)), []).append(label)
        for fingerprint in fingerprints:
            sets.union(by_value.setdefault(fingerprint, label), label)
    masks = sorted(by_mask, key=sorted)
    for at, one in enumerate(masks):
        for other in masks[at:]:
            if one & other or (one == other and one):
                continue
            # Each of the one with each of the other: so they are all one set.
            link_strong(sets, [*by_mask[one], *by_mask[other]])


def partition(
    keys: Mapping[str, Collection[str]], common: Collection[str] = ()
) -> list[frozenset[str]]:
    """Connected components.

    Args:
        keys: label -> what it shows.
        common: keys that link nobody.
    Returns:
        Every label in exactly one set; in no special order.
    """
    sets = UnionFind()
    buckets: dict[str, list[str]] = {}
    for label, shown in keys.items():
        for key in shown:
            if key not in common:
                buckets.setdefault(key, []).append(label)
    for key, labels in buckets.items():
        if len(labels) < 2 or kind_of(key) == "ja4":
            continue
        if kind_of(key) in STRONG:
            link_strong(sets, labels)
        else:
            link_weak(sets, ((label, compared(keys[label])) for label in labels))
    found: dict[str, set[str]] = {}
    for label in keys:
        found.setdefault(sets.find(label), set()).add(label)
    return [frozenset(labels) for labels in found.values()]
