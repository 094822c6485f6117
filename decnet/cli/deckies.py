"""`decnetctl deckies`: what is wanted of each decky, and how it is."""

from __future__ import annotations

import asyncio
import json
import sys

from rich.console import Console
from rich.table import Table

from decnet.cli.database import with_database
from decnet.cli.rest import printable, say
from zygote.cli.options import Json


def deckies(*, as_json: Json = False) -> None:
    """List the deckies of this database: what is wanted of each, and how it is."""
    from decnet.estate.deckies import all_deckies  # late: tables

    rows = asyncio.run(with_database(all_deckies))
    if as_json:
        say(json.dumps([row.model_dump(mode="json") for row in rows]))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("DECKY", "STATE", "ARCHETYPE", "MUTATES", "LAST SEEN", "SERVICES", "ERROR"):
        table.add_column(name, no_wrap=name not in ("SERVICES", "ERROR"))
    for row in rows:
        minutes = row.mutate_interval_min
        table.add_row(
            printable(row.name),
            row.state,
            row.archetype or "-",
            f"every {minutes} min" if minutes else "never",
            f"{row.last_seen:%m-%d %H:%M:%S}" if row.last_seen else "-",
            " ".join(row.services),
            printable(row.last_error or ""),
        )
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    if not rows:
        console.print("no deckies yet; the reconciler writes them down (decnetctl ps reconciler)")
        return
    console.print(table)
