"""`decnetctl`: every verb of `zygotectl` on the honeypot fleet, and the tenant's own beside them.

Commands are import strings: `--help` and completion load no table, no web framework, no scapy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zygote import __version__
from zygote.cli.app import drive

if TYPE_CHECKING:
    from cyclopts import App

FLEET = Path(__file__).resolve().parent.parent / "fleet.toml"
OWN = {
    "visits": "Show what the visitors did; with -f, live.",
    "attackers": "List who visited, and how they behave.",
    "token": "Print a bearer token for the REST interface.",
    "deckies": "List the deckies: what is wanted of each, and how it is.",
    "mutate": "Ask for other services on deckies.",
    "supervise": "Host workers as tasks of one process, to compare.",
    "geo": "Compile, or ask, the table of countries and systems.",
    "canary": "Bait that calls home: make it, plant it, see who took it.",
    "webhooks": "Tell other systems what happens: signed HTTP requests.",
    "ca": "Make certificates for shipping logs between machines.",
    "migrate": "Bring the database to this program's revision.",
}


def extend(app: App) -> None:
    """Add the tenant's commands."""
    for name, text in OWN.items():
        app.command(f"decnet.cli.{name}:{name}", name=name, help=text, group="Honeypot")


def before_up() -> None:
    """What a fleet needs before its manager starts: its database, and its certificates."""
    from decnet.run.prepare import certificates, migrate

    migrate()
    certificates()


def main() -> int:
    """The command `decnetctl`; returns its exit code."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return drive(
        "decnetctl",
        __version__,
        default_fleet=lambda: FLEET,
        extend=extend,
        before_up=before_up,
    )


if __name__ == "__main__":
    sys.exit(main())
