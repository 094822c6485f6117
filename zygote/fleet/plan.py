"""The order in which workers start. Pure: names in, names out."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence


def start_order(after: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Everybody after those whom they come `after`, otherwise in the given order.

    Args:
        after: name -> names; a name that is no key is ignored.
    Returns:
        The order, without those in or behind a cycle; and the cycles, each as the way around it:
        ["a", "b", "a"] where a comes after b, and b after a.
    """
    names = list(after)
    rank = {name: number for number, name in enumerate(names)}
    open_needs = {name: {need for need in after[name] if need in rank} for name in names}
    needed_by: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for need in open_needs[name]:
            needed_by[need].append(name)
    ready = [rank[name] for name in names if not open_needs[name]]
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for other in needed_by[name]:
            open_needs[other].discard(name)
            if not open_needs[other]:
                heapq.heappush(ready, rank[other])
    return order, _cycles(names, {name: open_needs[name] for name in names if open_needs[name]})


def _cycles(names: Sequence[str], needs: Mapping[str, set[str]]) -> list[list[str]]:
    """At least one way around for each knot. Whatever is left here has a need that is left too,
    so that following needs always comes to a place where one has been."""
    rank = {name: number for number, name in enumerate(names)}
    seen: set[str] = set()
    cycles = []
    for start in sorted(needs, key=rank.__getitem__):
        way: list[str] = []
        at = start
        while at not in seen:
            seen.add(at)
            way.append(at)
            at = min(needs[at], key=rank.__getitem__)
        if at in way:
            around = way[way.index(at) :]
            first = around.index(min(around, key=rank.__getitem__))
            around = around[first:] + around[:first]
            cycles.append([*around, around[0]])
    return cycles
