"""How `floor --from-running --tree` shows its proposal, and what it measures for that."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.render import Column
from zygote.client.blocking import BlockingClient
from zygote.client.memory import take_census
from zygote.fleet.words import listed
from zygote.inspect.grow import Forest, grow
from zygote.inspect.propose import Proposal

COLUMNS = (
    Column("ZYGOTE", lambda z: z.name, style=lambda z: "bold" if z.new else ""),
    Column("PARENT", lambda z: z.parent),
    Column("WORKERS", lambda z: str(len(z.workers)), right=True),
    Column("ADDS", lambda z: _mb(z.kib), right=True, plain="ADDS_MB"),
    Column("OWN", lambda z: _mb(z.own_kib), right=True, plain="OWN_MB", drop=2),
    Column("SAVES", lambda z: _mb(z.saved_kib), right=True, plain="SAVES_MB"),
    Column("IMPORTS", lambda z: listed(z.added, 3), drop=3),
    Column("COPIES", lambda z: listed(z.workers, 3), drop=1),
)
_LEFT = 5


def _mb(kib: int) -> str:
    return render.megabytes(kib) if kib else ""


def plan(control: Path, proposals: Sequence[Proposal], budget: int | None) -> Forest:
    """A tree for the fleet as it runs.

    Args:
        budget: bytes; None: no more than now.
    """
    with BlockingClient(control) as manager:
        zygotes = manager.zygotes()
        census = take_census(manager.status(), zygotes, manager.workers())
    total = census.totals()
    now = int((total["pss_kib"] or 0) + (total["pagetables_kib"] or 0))
    rss: Mapping[str, int] = {z.name: row.rss_kib or 0 for z, row in census.zygotes}
    budget_kib = None if budget is None else budget // 1024
    return grow(proposals, rss, now, budget_kib, (zygote.name for zygote in zygotes))


def show(forest: Forest, *, as_json: bool) -> bool:
    """The table, and what to paste; whether it keeps to the budget."""
    if as_json:
        sys.stdout.write(json.dumps(forest.as_json()) + "\n")
        return forest.fits
    for worker, why in forest.unread.items():
        sys.stderr.write(f"{current.program}: {worker}: not looked at: {why}\n")
    shown = [z for z in forest.zygotes if z.new or z.added] or list(forest.zygotes)
    note = "MB of 10^6 bytes; OWN: of its parent's pages that a branch un-shares; SAVES: less that"
    render.show(COLUMNS, shown, note=note)
    print()
    render.heading(_sum(forest), "" if forest.fits else "bold red")
    for module, users in list(forest.left.items())[:_LEFT]:
        render.heading(f"left to {listed(users, 3)}: {module}", "dim")
    if len(forest.left) > _LEFT:
        render.heading(f"and of other modules: {len(forest.left) - _LEFT}", "dim")
    if text := forest.toml():
        print()
        sys.stdout.write(text)
    else:
        render.heading("nothing to change: no branch would save more than it costs itself", "")
    return forest.fits


def _sum(forest: Forest) -> str:
    text = f"the fleet takes {_mb(forest.now_kib)} MB now, about {_mb(forest.then_kib)} then"
    if forest.exposure_kib:
        text += (
            f"; {_mb(forest.exposure_kib)} MB of modules would be in workers that do not use them"
        )
    if forest.budget_kib is None:
        if forest.least_kib < forest.then_kib:
            text += (
                f"; {_mb(forest.least_kib)} at the least (--budget), if workers may have modules "
                "that they do not use"
            )
        return text
    if forest.fits:
        return f"{text}; within the budget of {_mb(forest.budget_kib)}"
    return (
        f"{text}: {_mb(forest.then_kib - forest.budget_kib)} above the budget; no tree of these "
        f"imports takes less than {_mb(forest.least_kib)}"
    )
