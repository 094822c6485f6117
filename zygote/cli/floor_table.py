"""How `floor` shows its figures: layers, blame, proposals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.render import Column
from zygote.fleet.words import listed
from zygote.inspect.floor import Blamed, Floor, Layer, by_package
from zygote.inspect.propose import Proposal
from zygote.units import format_seconds


def _megabytes(name: str, sign: str = "") -> Callable[[Any], str]:
    return lambda row: sign + render.megabytes(getattr(row, name)) if row is not None else ""


def _seconds(name: str) -> Callable[[Any], str]:
    return lambda row: render.milliseconds(getattr(row, name) * 1000)


def _number(name: str) -> Callable[[Any], str]:
    return lambda row: str(getattr(row, name))


def _loud(name: str, quiet: int) -> Callable[[Layer], str]:
    return lambda row: "bold red" if getattr(row, name) > quiet else ""


LAYERS = (
    Column("LAYER", lambda row: row.layer),
    Column("+RSS", _megabytes("added_rss_kib"), right=True, plain="ADDED_RSS_MB"),
    Column("RSS", _megabytes("rss_kib"), right=True, plain="RSS_MB"),
    Column("PSS", _megabytes("pss_kib"), right=True, drop=3, plain="PSS_MB"),
    Column("+USS", _megabytes("added_uss_kib"), right=True, drop=1, plain="ADDED_USS_MB"),
    Column("USS", _megabytes("uss_kib"), right=True, plain="USS_MB"),
    Column("PTAB", _megabytes("pagetables_kib"), right=True, drop=5, plain="PTAB_MB"),
    Column("TIME", _seconds("seconds"), right=True),
    Column("+MODULES", _number("added_modules"), right=True, drop=4, plain="ADDED_MODULES"),
    Column("MODULES", _number("modules"), right=True, drop=6),
    Column("THREADS", _number("threads"), right=True, style=_loud("threads", 1)),
    Column("FDS", _number("fds"), right=True, drop=2, style=_loud("fds", 3)),
    Column("SOCKETS", _number("sockets"), right=True, drop=7, style=_loud("sockets", 0)),
)
BLAMED = (
    Column("MODULE", lambda row: row.module),
    Column("OWN", _megabytes("own_kib"), right=True, plain="OWN_MB"),
    Column("WITH", _megabytes("with_kib"), right=True, plain="WITH_MB"),
    Column("OWN_TIME", _seconds("own_s"), right=True, drop=2),
    Column("WITH_TIME", _seconds("with_s"), right=True, drop=3),
    Column("IMPORTED_BY", lambda row: row.importer, drop=1),
)
PACKAGES = (
    Column("PACKAGE", lambda row: row.module),
    Column("OWN", _megabytes("own_kib"), right=True, plain="OWN_MB"),
    Column("OWN_TIME", _seconds("own_s"), right=True),
)
LATE = (
    Column("MODULE", lambda row: row.module, style=lambda row: "bold" if row.proposed else ""),
    Column("WORKERS", lambda row: str(len(row.workers)), right=True),
    Column("EACH", _megabytes("kib"), right=True, plain="EACH_MB"),
    Column("PRIVATE", _megabytes("workers_kib"), right=True, plain="PRIVATE_MB", drop=2),
    Column("SAVES", _megabytes("saved_kib"), right=True, plain="SAVES_MB"),
    Column("TIME", _seconds("seconds"), right=True, drop=3),
    Column("MODULES", _number("modules"), right=True, drop=4),
    Column("PRELOAD", lambda row: "yes" if row.proposed else row.refused or "no"),
    Column("USED_BY", lambda row: listed(row.workers, 3), drop=5),
)


def show_floor(found: Floor) -> None:
    """The table, and what is to be known about it."""
    render.show(LAYERS, found.layers, note="MB of 10^6 bytes; +: what the layer added")
    times = f", median of {found.repeat}" if found.repeat > 1 else ""
    over = "each over a bare interpreter" if found.each else "each over those above it"
    _say(f"{found.place.python}: fresh interpreters, {over}{times}; bytecode compiled before")
    if found.compiled:
        some = ", ".join(found.compiled[:3])
        _say(
            f"{current.program}: {len(found.compiled)} sources were compiled while measured, which "
            f"falsifies memory and time: {some}\n  hint: can their __pycache__ be written to? "
            "PYTHONPYCACHEPREFIX=/tmp/pycache puts bytecode elsewhere"
        )
    for layer in found.layers[1:]:
        if layer.threads > 1 or layer.sockets:
            _say(
                f"{current.program}: after {layer.layer}: {layer.threads} threads, "
                f"{layer.sockets} sockets: a bake refuses what starts them at import"
            )


def show_blamed(
    layers: Sequence[str], blamed: Sequence[Blamed], top: int, *, as_json: bool
) -> None:
    """The dearest modules and packages."""
    if as_json:
        answer = {
            "layer": layers[-1],
            "over": list(layers[:-1]),
            "modules": [each._asdict() for each in blamed],
            "packages": [
                {"package": p.module, "own_kib": p.own_kib, "own_s": p.own_s}
                for p in by_package(blamed)
            ],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    dearest = sorted(blamed, key=lambda each: (-each.own_kib, -each.own_s))
    packages = by_package(blamed)
    if top:
        dearest, packages = dearest[:top], packages[:top]
    render.show(BLAMED, dearest, note="MB of 10^6 bytes; OWN: without what it imported itself")
    print()
    render.show(PACKAGES, packages)
    total, seconds = sum(b.own_kib for b in blamed), sum(b.own_s for b in blamed)
    over = f" over {', '.join(layers[:-1])}" if layers[1:] else ""
    _say(
        f"{layers[-1]}{over}: {len(blamed)} modules, {render.megabytes(total)} MB, "
        f"{format_seconds(seconds)}; bytecode compiled before"
    )


def show_proposal(proposal: Proposal, at_least: int) -> None:
    """The table, and the line to put into the fleet file."""
    for worker, why in proposal.unread.items():
        _say(f"{current.program}: {worker}: not looked at: {why}")
    count = len(proposal.workers)
    if not count:
        return
    if not proposal.rows:
        render.heading(f"zygote '{proposal.zygote}': none of its {count} workers has imported "
                       "anything after the fork", "")  # fmt: skip
        return
    render.show(LATE, proposal.rows, note="MB of 10^6 bytes; SAVES: of the whole fleet")
    if not proposal.added:
        render.heading(
            f"zygote '{proposal.zygote}': nothing to preload: no module of weight was imported "
            f"by {at_least} workers or more", "",
        )  # fmt: skip
        return
    print()
    render.heading(f"[zygote.{proposal.zygote}]", "bold")
    render.heading(proposal.line(), "green")
    render.heading(
        f"# saves at least {render.megabytes(proposal.saved_kib)} MB of {count} workers", "dim"
    )
    if proposal.silent:
        each = render.megabytes(proposal.search_kib)
        render.heading(
            f"# ({each} MB of it for each of {len(proposal.silent)} that then import nothing)",
            "dim",
        )


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
