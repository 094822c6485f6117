"""What to preload, from what workers imported after the fork. Arithmetic only.

A module that `n` workers have imported for themselves costs its bytes `n` times; preloaded it
costs them once. So only what several have pays off, and what more of them have is counted first:
of a library that two workers import in different ways each part is counted once, for all that
have that part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

WORTH_KIB = 64
"""A module that saves less is left out of the proposal: a list is read by people, too."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A late module, imported in a clone over those that at least as many workers have.

    Attributes:
        kib: private memory that it cost.
        brought: the modules that came with it, itself not counted.
        refused: why it cannot be preloaded, or "".
    """

    module: str
    kib: int
    seconds: float
    brought: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        kib: what it costs each of `workers`.
        workers_kib: what their private memory falls by, all of them together.
        saved_kib: the same less the one copy that the zygote then has.
        proposed: it is in the list.
    """

    module: str
    workers: tuple[str, ...]
    kib: int
    workers_kib: int
    saved_kib: int
    seconds: float
    modules: int
    proposed: bool
    refused: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """For one zygote.

    Attributes:
        preload: what it has now.
        rows: the late modules, those that save most first.
        unread: worker → why its modules are not known.
        search_kib: what a worker writes by its first import, whatever it is: caches of finders,
            the import system's own code.
        silent: workers that would import nothing any more, and so not write that either.
    """

    zygote: str
    preload: tuple[str, ...]
    rows: tuple[Row, ...]
    workers: tuple[str, ...]
    unread: Mapping[str, str]
    search_kib: int = 0
    silent: tuple[str, ...] = ()

    @property
    def added(self) -> tuple[str, ...]:
        """What to add; a package is not named beside a module of it."""
        names = [row.module for row in self.rows if row.proposed]
        return tuple(
            name for name in names if not any(other.startswith(name + ".") for other in names)
        )

    @property
    def saved_kib(self) -> int:
        """Of the whole fleet."""
        rows = sum(row.saved_kib for row in self.rows if row.proposed)
        return rows + self.search_kib * len(self.silent)

    def line(self) -> str:
        """The line of the fleet file, as TOML."""
        return f"preload = {json.dumps([*self.preload, *self.added])}"

    def as_json(self) -> dict[str, Any]:
        """Keys are stable; KiB."""
        return {
            "zygote": self.zygote,
            "preload": list(self.preload),
            "proposed": [*self.preload, *self.added],
            "added": list(self.added),
            "saved_kib": self.saved_kib,
            "search_kib": self.search_kib,
            "silent": list(self.silent),
            "workers": list(self.workers),
            "unread": dict(self.unread),
            "modules": [asdict(row) for row in self.rows],
        }


def order(late: Mapping[str, Sequence[str]]) -> list[str]:
    """In which order to import late modules, so that each is counted for all who have it.

    A module takes its place in sys.modules when it is done, so it stands there behind what it
    imported itself.

    Args:
        late: worker → its late modules, in the order of sys.modules.
    Returns:
        Those of most workers first; among equals a module before what it imports itself.
    """
    count: dict[str, int] = {}
    for modules in late.values():
        for module in reversed(modules):
            count[module] = count.get(module, 0) + 1
    # Python's sort is stable, and a dict keeps the order of its first insertions.
    return sorted(count, key=lambda module: -count[module])


def propose(
    zygote: str,
    preload: Sequence[str],
    late: Mapping[str, Sequence[str]],
    costs: Sequence[Cost],
    *,
    workers: Sequence[str],
    unread: Mapping[str, str],
    at_least: int = 2,
    search_kib: int = 0,
) -> Proposal:
    """The rows and the proposal.

    Args:
        late: worker → its late modules.
        costs: in the order of `order`; a module that came with another has none.
        at_least: so many workers must have it.
    """
    rows = []
    for cost in costs:
        users = tuple(name for name in late if cost.module in late[name])
        total = cost.kib * len(users)
        # With one user its private memory falls by as much as the zygote's rises.
        saved = total - cost.kib
        good = not cost.refused and len(users) >= at_least
        rows.append(
            Row(
                cost.module, users, cost.kib, total, saved, cost.seconds, len(cost.brought) + 1,
                good and max(saved, total if at_least < 2 else 0) >= WORTH_KIB, cost.refused,
            )
        )  # fmt: skip
    rows.sort(key=lambda row: (-row.saved_kib, -row.workers_kib))
    gone = {row.module for row in rows if row.proposed}
    gone |= {name for cost in costs if cost.module in gone for name in cost.brought}
    silent = tuple(name for name in late if late[name] and gone.issuperset(late[name]))
    return Proposal(
        zygote, tuple(preload), tuple(rows), tuple(workers), dict(unread), search_kib, silent
    )
