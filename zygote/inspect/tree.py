"""Which branches of a zygote pay, from what its workers imported after the fork. Arithmetic only.

A group is what the same workers imported. It can be had in three ways: each of them pays for
itself, or the zygote has it (and with it all workers, those that have no use for it, too), or a
branch has it. So two things are to be weighed:

    memory    a copy for each who has it, and for each branch what it un-shares of its parent
    exposure  KiB of modules that a worker has and does not use, summed over all workers

The plan sought has the least exposure that the budget allows, and of those the least memory. With
room enough nobody gets what it does not use; the tighter the budget, the more goes into branches of
several, and at last into the zygote itself.

Branches are sets of workers of which any two are apart or one in the other: that is what a tree
is. Given such sets, where each group belongs is found exactly, for a price of exposure in memory;
all sets made of some candidates are tried, each with a scale of prices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

MOST_CANDIDATES = 8
"""Sets of workers that are tried in all combinations."""
_STRICT = 5
_PAIRED = 12
PRICES = (math.inf, *(2.0**power for power in range(6, -10, -1)), 0.0)
"""KiB of memory that a KiB of exposure is worth."""
_PTE = 512
"""A page table entry has 8 bytes for 4 KiB."""

Workers = frozenset[str]


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that the same workers imported.

    Attributes:
        kib: of private memory that they cost each of `users`.
    """

    modules: tuple[str, ...]
    users: Workers
    kib: int


@dataclass(frozen=True, slots=True)
class Node:
    """A zygote of the plan.

    Attributes:
        workers: that are copies of it or of what is below it.
        parent: the index of its parent among the nodes; -1: none, it is the root.
        groups: what it imports beside what its parent has.
        kib: of that, together.
        saved_kib: of the whole fleet, by these groups being here, less what the branch costs.
    """

    workers: Workers
    parent: int
    groups: tuple[Group, ...]
    kib: int
    saved_kib: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A tree, the root first and each parent before what is below it.

    Attributes:
        saved_kib: of the whole fleet, against each worker paying for itself.
        exposure_kib: of modules that workers have and do not use.
    """

    nodes: tuple[Node, ...]
    saved_kib: int
    exposure_kib: int


def frontier(workers: Workers, groups: Sequence[Group], branch_kib: int) -> list[Plan]:
    """The plans of which none is worse than another in both: least exposure first.

    Args:
        workers: all copies of the zygote.
        branch_kib: that a branch costs, whatever it adds.
    """
    found: dict[tuple[int, int], Plan] = {}
    for family in _families(_candidates(workers, groups, branch_kib)):
        for price in PRICES:
            plan = _plan(workers, family, groups, branch_kib, price)
            found.setdefault((plan.exposure_kib, -plan.saved_kib), plan)
    best: list[Plan] = []
    for _, plan in sorted(found.items(), key=lambda item: item[0]):
        if not best or plan.saved_kib > best[-1].saved_kib:
            best.append(plan)
    return best


def choose(frontiers: Sequence[Sequence[Plan]], to_save_kib: int) -> list[Plan]:
    """One plan of each frontier: so that they save so much together, if they can.

    Begins with the least exposure of each, and goes on where a KiB of exposure saves most.
    """
    places = [0] * len(frontiers)

    def rate(index: int) -> float:
        here = frontiers[index][places[index]]
        ahead = frontiers[index][places[index] + 1]
        gain = ahead.saved_kib - here.saved_kib
        return gain / max(1, ahead.exposure_kib - here.exposure_kib)

    while sum(f[at].saved_kib for f, at in zip(frontiers, places, strict=True)) < to_save_kib:
        ahead = [i for i, plans in enumerate(frontiers) if places[i] + 1 < len(plans)]
        if not ahead:
            break
        places[max(ahead, key=rate)] += 1
    return [plans[at] for plans, at in zip(frontiers, places, strict=True)]


def _candidates(workers: Workers, groups: Sequence[Group], branch_kib: int) -> list[Workers]:
    """Sets of workers that a branch could be for: those of groups, and made of two of these."""
    sets = {group.users for group in groups}
    weighty = sorted(groups, key=lambda group: -group.kib * len(group.users))[:_PAIRED]
    for one, other in combinations([group.users for group in weighty], 2):
        sets |= {one & other, one | other, one - other, other - one}
    possible = [each for each in sets if 1 < len(each) < len(workers)]
    chosen: list[Workers] = []
    # What pays although nobody gets what it does not use; then what pays if some may.
    for price, most in ((math.inf, _STRICT), (0.25, MOST_CANDIDATES)):
        gain = {
            each: _plan(workers, (each,), groups, branch_kib, price).saved_kib for each in possible
        }
        ranked = sorted(possible, key=lambda each: (-gain[each], len(each), sorted(each)))
        chosen += [each for each in ranked if each not in chosen][: most - len(chosen)]
    return chosen


def _families(candidates: Sequence[Workers]) -> Iterator[tuple[Workers, ...]]:
    """All sets of candidates that make a tree."""
    for size in range(len(candidates) + 1):
        for family in combinations(candidates, size):
            if all(
                one <= two or two <= one or not one & two for one, two in combinations(family, 2)
            ):
                yield family


def _plan(
    workers: Workers,
    family: Iterable[Workers],
    groups: Sequence[Group],
    branch_kib: int,
    price: float,
) -> Plan:
    """The best places for all groups on the tree that these sets make."""
    sets = [workers, *sorted(family, key=lambda each: (-len(each), sorted(each)))]
    parents = [-1] + [
        max(above for above in range(index) if sets[index] <= sets[above])
        for index in range(1, len(sets))
    ]
    below: list[list[int]] = [[] for _ in sets]
    for index, parent in enumerate(parents):
        if parent >= 0:
            below[parent].append(index)
    held: list[list[Group]] = [[] for _ in sets]
    saved = [0] + [-branch_kib] * (len(sets) - 1)
    exposure = 0
    for group in groups:
        _, places = _place(0, sets, below, group, price)
        for index in places:
            idle = len(sets[index] - group.users)
            held[index].append(group)
            exposure += idle * group.kib
            using = len(sets[index] & group.users)
            saved[index] += (using - 1) * group.kib - idle * group.kib // _PTE
    nodes = tuple(
        Node(each, parent, tuple(has), sum(group.kib for group in has), gain)
        for each, parent, has, gain in zip(sets, parents, held, saved, strict=True)
    )
    return Plan(nodes, sum(saved), exposure)


def _place(
    index: int, sets: Sequence[Workers], below: Sequence[Sequence[int]], group: Group, price: float
) -> tuple[float, list[int]]:
    """What a group costs the workers of a node at least, and the nodes to have it for that."""
    users = sets[index] & group.users
    if not users:
        return 0.0, []
    apart = users.difference(*(sets[child] for child in below[index]))
    cost, places = float(len(apart) * group.kib), list[int]()
    for child in below[index]:
        more, inside = _place(child, sets, below, group, price)
        cost += more
        places += inside
    idle = len(sets[index] - group.users)
    here = group.kib * (1 + (idle * price if idle else 0.0) + idle / _PTE)
    return (here, [index]) if here < cost else (cost, places)
