"""`decnetctl services` and `archetypes`: what decoys there can be. Asks nobody."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from decnet.cli.rest import say
from decnet.decoys.catalogue import ARCHETYPES, KINDS
from decnet.settings import Settings
from zygote.cli.options import Json


def services(*, as_json: Json = False) -> None:
    """List the services that decoys pretend, and the port of each on the first decky.

    The second decky's port is 100 higher, the third one's 200, and so on.
    """
    ports = Settings.from_env().decoy_ports
    rows = [
        {
            "service": kind.name,
            "port": ports[kind.name],
            "pretends": kind.real_port,
            "variable": kind.variable,
            "archetypes": [a.name for a in ARCHETYPES.values() if kind.name in a.services],
        }
        for kind in KINDS.values()
    ]
    if as_json:
        say(json.dumps(rows))
        return
    table = _table("SERVICE", "PORT", "USUALLY AT", "SET BY", "ARCHETYPES")
    for row in rows:
        *cells, names = row.values()
        assert isinstance(names, list)
        table.add_row(*map(str, cells), " ".join(names))
    _show(table)


def archetypes(*, as_json: Json = False) -> None:
    """List the kinds of machine that a decky can be, and the services of each.

    `decnetctl deploy` takes them; the mutator chooses a decky's services from its archetype's.
    """
    if as_json:
        rows = [
            {"name": a.name, "services": a.services, "what": a.what} for a in ARCHETYPES.values()
        ]
        say(json.dumps(rows))
        return
    table = _table("ARCHETYPE", "SERVICES", "WHAT")
    for one in ARCHETYPES.values():
        table.add_row(one.name, " ".join(one.services), one.what)
    _show(table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        right = name in ("PORT", "USUALLY AT")
        table.add_column(name, justify="right" if right else "left")
    return table


def _show(table: Table) -> None:
    # A pipe has no width: nothing is cut there.
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160).print(table)
