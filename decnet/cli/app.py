"""`decnetctl`: every verb of `zygotectl` on the honeypot fleet, and the tenant's own beside them.

Commands are import strings: `--help` and completion load no table, no web framework, no scapy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.run import installed
from decnet.run.variables import variables
from zygote import __version__
from zygote.cli.app import drive

if TYPE_CHECKING:
    from typing import Any

    from cyclopts import App

    from zygote.cli.ports import Port

HELP = "A honeypot as a fleet of workers on one baked floor: start it, watch it, ask who came."
FLEET = Path(__file__).resolve().parent.parent / "fleet.toml"
OWN = {
    "visits": "Show what the visitors did; with -f, live.",
    "attackers": "List who visited, and how they behave.",
    "identities": "List who is behind the addresses.",
    "campaigns": "List identities that work together.",
    "credentials": "List the secrets that were tried.",
    "export": "What was seen, for other tools: STIX, ATT&CK Navigator, CSV.",
    "services": "List the services that decoys pretend, and their ports.",
    "archetypes": "List the kinds of machine that a decky can be.",
    "user": "Who may log in to the dashboard and the REST interface.",
    "doctor": "Tell what is missing on this machine, for which worker, and the remedy.",
    "token": "Print a bearer token for the REST interface.",
    "deckies": "List the deckies: what is wanted of each, and how it is.",
    "deploy": "Have exactly these deckies, of a file or so many alike.",
    "teardown": "Stop deckies and keep them away.",
    "mutate": "Ask for other services on deckies.",
    "supervise": "Host workers as tasks of one process, to compare.",
    "geo": "Compile, or ask, the table of countries and systems.",
    "canary": "Bait that calls home: make it, plant it, see who took it.",
    "webhooks": "Tell other systems what happens: signed HTTP requests.",
    "ca": "Make certificates for shipping logs between machines.",
    "migrate": "Bring the database to this program's revision.",
}
TTP_HELP = "Techniques of MITRE ATT&CK: rules, what they found, exports."
TTP = {
    "rules": "List the rules in force, and what was decided of them.",
    "tags": "List what was found, newest first.",
    "techniques": "List the techniques that were seen.",
    "disable": "Turn a rule off, or clip its confidence.",
    "enable": "Take back what was decided of a rule.",
    "check": "Try a rule file: faults, and examples that do not hold.",
    "backfill": "Apply the rules in force to what happened before.",
    "navigator": "Print a layer for ATT&CK Navigator.",
    "stix": "Print a bundle of STIX 2.1.",
}


def extend(app: App) -> None:
    """Add the tenant's commands."""
    app.help = HELP
    ttp = type(app)(name="ttp", help=TTP_HELP, group="Honeypot")
    for verb, text in TTP.items():
        module = "ttp_files" if verb in ("check", "backfill", "navigator", "stix") else "ttp"
        ttp.command(f"decnet.cli.{module}:{verb}", name=verb, help=text)
    app.command(ttp)
    for name, text in OWN.items():
        module = {"archetypes": "services", "teardown": "deploy"}.get(name, name)
        app.command(f"decnet.cli.{module}:{name}", name=name, help=text, group="Honeypot")


def before_up() -> None:
    """What a fleet needs before its manager starts: its database, and its certificates."""
    from decnet.run.prepare import prepare
    from decnet.run.stash import stash

    prepare()
    stash(os.environ)


def cold() -> tuple[float, str] | None:
    """What `make run` has measured in the background, once."""
    import json

    from decnet.settings import Settings

    try:
        found = json.loads((Settings.from_env().state_dir / "cold-cost.json").read_text())
        if found.get("failed"):
            return None
        how = f"measured {found['date'][:10]}, {found['workers']} workers, Python {found['python']}"
        return found["pss_kib"] + found["pagetables_kib"], how
    except (OSError, ValueError, KeyError, TypeError):
        return None


def ports(workers: Collection[str]) -> Iterator[Port]:
    """Where the workers of these names will listen."""
    from decnet.doctor.workers import wanted_ports
    from decnet.settings import Settings

    return wanted_ports(Settings.from_env(), workers)


def manual(folder: str) -> None:
    """Write decnetctl(1) below a folder: every verb of zygotectl, and our own."""
    from zygote.cli.app import build_app
    from zygote.cli.manual import write_commands

    app = build_app("decnetctl", __version__)
    extend(app)
    about = "drive the honeypot fleet, and see what its visitors do"
    see = ".BR zygotectl (1),\n.BR zygotectl\\-fleet (5)"
    sys.stderr.write(f"{write_commands(app, Path(folder), 'decnetctl', about, see)}\n")


def tenant(name: str) -> dict[str, Any]:
    """What `install` adds to the fleet's units, which are called `name`."""
    from decnet.run.stash import stash

    environ = installed.environ(os.environ, name)
    environ |= variables(environ)
    stash(environ, write=False)
    return {
        "env": installed.defaults(name),
        "settings": str(installed.settings_file(name)),
        "environ": environ,
        "before": (("-m", "decnet.run.prepare"),),
        "starter": ("-m", "decnet.run.service"),
        # They act on decoys, by a manager.
        "managed": ("mutate", "reconciler"),
        # Packet sockets of sniffer and probe; decoys on the ports that attackers expect.
        "capabilities": ("CAP_NET_RAW", "CAP_NET_BIND_SERVICE"),
    }


def main() -> int:
    """The command `decnetctl`, also called `decnet`; returns its exit code."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    installed.adopt(os.environ)
    os.environ.update(variables(os.environ))
    called = Path(sys.argv[0]).name
    return drive(
        called if called == "decnet" else "decnetctl",
        __version__,
        default_fleet=lambda: FLEET,
        extend=extend,
        before_up=before_up,
        ports=ports,
        cold=cold,
        tenant=tenant,
    )


if __name__ == "__main__":
    sys.exit(main())
