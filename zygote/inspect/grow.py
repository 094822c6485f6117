"""A tree of zygotes for a running fleet: from what its workers imported to a fleet file.

The figures are those of `floor --from-running` and err on the safe side, as those do: a clone that
has run other code writes less at an import than a worker that did nothing before. What a branch
costs by itself is no figure of this fleet but a share of its parent's memory that was measured on
another (benchmarks/tree.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zygote.inspect.propose import WORTH_KIB, Proposal
from zygote.inspect.tree import Group, Node, Plan, choose, frontier

BRANCH_SHARE = 0.08
"""Of its parent's resident memory, that a branch has for itself before it adds anything: the pages
that its imports and its warm-up wrote to. 8.9 and 10.4 of 135 MB were measured."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A zygote of the forest.

    Attributes:
        parent: "" for one that is not forked from another in this plan.
        preload: all of it; `added`: what is new.
        kib: of what is new.
        workers: its own copies, not those of its branches.
        own_kib: what a branch has for itself besides.
        new: it is not in the fleet file.
    """

    name: str
    parent: str
    preload: tuple[str, ...]
    added: tuple[str, ...]
    kib: int
    saved_kib: int
    own_kib: int
    workers: tuple[str, ...]
    new: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """What is proposed for a whole fleet.

    Attributes:
        now_kib: what the fleet takes at present, all processes: PSS and page tables.
        budget_kib: that it is to keep to; None: nobody said.
        least_kib: to be had at the least, with everything in the zygotes that serve.
        left: module → the workers that go on importing it for themselves.
        unread: worker → why its modules are not known.
    """

    zygotes: tuple[Grown, ...]
    now_kib: int
    saved_kib: int
    exposure_kib: int
    least_kib: int
    budget_kib: int | None
    left: Mapping[str, tuple[str, ...]]
    unread: Mapping[str, str]

    @property
    def then_kib(self) -> int:
        """What the fleet would take."""
        return self.now_kib - self.saved_kib

    @property
    def fits(self) -> bool:
        """Within the budget."""
        return self.budget_kib is None or self.then_kib <= self.budget_kib

    def toml(self) -> str:
        """The tables that change, to be pasted over those of the fleet file."""
        parts = []
        for zygote in self.zygotes:
            if zygote.added:
                parent = f'parent = "{zygote.parent}"\n' if zygote.new else ""
                preload = json.dumps(list(zygote.preload))
                parts.append(f"[zygote.{zygote.name}]\n{parent}preload = {preload}\n")
        moved = {name: z.name for z in self.zygotes if z.new for name in z.workers}
        everybody = [name for zygote in self.zygotes for name in zygote.workers]
        for table, zygote_name in _tables(moved, everybody).items():
            parts.append(f'[worker."{table}"]\nzygote = "{zygote_name}"\n')
        return "\n".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Keys are stable; KiB."""
        return {
            "now_kib": self.now_kib,
            "then_kib": self.then_kib,
            "saved_kib": self.saved_kib,
            "least_kib": self.least_kib,
            "budget_kib": self.budget_kib,
            "fits": self.fits,
            "exposure_kib": self.exposure_kib,
            "branch_share": BRANCH_SHARE,
            "zygotes": [
                {
                    "zygote": z.name,
                    "parent": z.parent,
                    "new": z.new,
                    "preload": list(z.preload),
                    "added": list(z.added),
                    "added_kib": z.kib,
                    "own_kib": z.own_kib,
                    "saved_kib": z.saved_kib,
                    "workers": list(z.workers),
                }
                for z in self.zygotes
            ],
            "left": {module: list(users) for module, users in self.left.items()},
            "unread": dict(self.unread),
            "fleet_toml": self.toml(),
        }


def grow(
    proposals: Sequence[Proposal],
    rss_kib: Mapping[str, int],
    now_kib: int,
    budget_kib: int | None,
    taken: Iterable[str] = (),
) -> Forest:
    """The tree with the least that workers do not use, within the budget.

    Args:
        proposals: of `running.look`.
        rss_kib: of each zygote.
        now_kib: the whole fleet, see `Forest`.
        taken: names of zygotes that are in use.
    """
    sound = [proposal for proposal in proposals if proposal.workers]
    branch_kib = {p.zygote: round(BRANCH_SHARE * rss_kib.get(p.zygote, 0)) for p in sound}
    frontiers = [frontier(frozenset(p.workers), groups_of(p), branch_kib[p.zygote]) for p in sound]
    plans = choose(frontiers, 0 if budget_kib is None else now_kib - budget_kib)
    names = {*taken, *(proposal.zygote for proposal in proposals)}
    zygotes: list[Grown] = []
    left: dict[str, tuple[str, ...]] = {}
    for proposal, plan in zip(sound, plans, strict=True):
        zygotes += _grown(proposal, plan, branch_kib[proposal.zygote], names)
        left |= _left(proposal, plan)
    return Forest(
        zygotes=tuple(zygotes),
        now_kib=now_kib,
        saved_kib=sum(plan.saved_kib for plan in plans),
        exposure_kib=sum(plan.exposure_kib for plan in plans),
        least_kib=now_kib - sum(plans[-1].saved_kib for plans in frontiers),
        budget_kib=budget_kib,
        left=left,
        unread={name: why for p in proposals for name, why in p.unread.items()},
    )


def groups_of(proposal: Proposal) -> list[Group]:
    """Late modules by who has them. What may not be preloaded, or weighs nothing, is left out."""
    found: dict[frozenset[str], list[Any]] = {}
    for row in proposal.rows:
        if not row.refused and row.workers_kib >= WORTH_KIB:
            found.setdefault(frozenset(row.workers), []).append(row)
    return [
        Group(tuple(row.module for row in rows), users, sum(row.kib for row in rows))
        for users, rows in found.items()
    ]


def _grown(proposal: Proposal, plan: Plan, branch_kib: int, taken: set[str]) -> list[Grown]:
    names: list[str] = []
    grown = []
    for index, node in enumerate(plan.nodes):
        root = node.parent < 0
        names.append(proposal.zygote if root else _name(node, proposal, taken))
        inner = [other.workers for other in plan.nodes if other.parent == index]
        own = sorted(node.workers.difference(*inner))
        added = _outermost(module for group in node.groups for module in group.modules)
        grown.append(
            Grown(
                name=names[index],
                parent="" if root else names[node.parent],
                preload=(*proposal.preload, *added) if root else added,
                added=added,
                kib=node.kib,
                saved_kib=node.saved_kib,
                own_kib=0 if root else branch_kib,
                workers=tuple(own),
                new=not root,
            )
        )
    return grown


def _name(node: Node, proposal: Proposal, taken: set[str]) -> str:
    """After the package that weighs most in it."""
    weights: dict[str, int] = {}
    rows = {row.module: row.kib for row in proposal.rows}
    for group in node.groups:
        for module in group.modules:
            package = re.sub(r"[^A-Za-z0-9_-]", "", module.split(".")[0]).lstrip("_-")
            weights[package] = weights.get(package, 0) + rows.get(module, 0)
    base = max(weights, key=lambda name: weights[name], default="") or "branch"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    return name


def _outermost(modules: Iterable[str]) -> tuple[str, ...]:
    """A package is not named beside a module of it."""
    names = list(dict.fromkeys(modules))
    return tuple(n for n in names if not any(other.startswith(n + ".") for other in names))


def _left(proposal: Proposal, plan: Plan) -> dict[str, tuple[str, ...]]:
    """What goes on being imported by workers for themselves."""
    found = {}
    for row in proposal.rows:
        has: set[str] = set()
        for node in plan.nodes:
            if any(row.module in group.modules for group in node.groups):
                has |= node.workers
        if rest := tuple(name for name in row.workers if name not in has):
            found[row.module] = rest
    return found


def _tables(moved: Mapping[str, str], everybody: Sequence[str]) -> dict[str, str]:
    """Table of the fleet file → its zygote; a template in place of instances that agree."""
    found: dict[str, str] = {}
    for name, zygote in moved.items():
        stem, at, instance = name.partition("@")
        siblings = [each for each in everybody if at and each.startswith(stem + at)]
        together = instance and all(moved.get(each) == zygote for each in siblings)
        found[stem + at if together else name] = zygote
    return found
