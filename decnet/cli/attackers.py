"""`decnetctl attackers`: who visited, and how they behave."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.table import Table

from decnet.cli.rest import get, printable, say
from zygote.cli.options import Json


def attackers(
    *, limit: int = 50, ip: str | None = None, as_json: Json = False, url: str | None = None
) -> None:
    """List attackers' profiles, last seen first.

    Args:
        limit: at most so many (1 to 1000).
        ip: only this address.
        url: the REST interface, if not on this machine: http://HOST:PORT
    """
    page = get("/attackers", url, limit=limit, ip=ip)
    if as_json:
        say(json.dumps(page))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("IP", "FIRST SEEN", "LAST SEEN", "EVENTS", "CREDS", "BEHAVIOUR", "SERVICES"):
        right = name in ("EVENTS", "CREDS")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "SERVICES")
    for row in page["data"]:
        table.add_row(
            printable(row["ip"]),
            row["first_seen"][5:19].replace("T", " "),
            row["last_seen"][5:19].replace("T", " "),
            str(row["event_count"]),
            str(row["credential_count"]),
            printable(row["behavior_class"] or "-"),
            printable(" ".join(row["services"])),
        )
    # A pipe has no width: nothing is cut there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    if not page["data"]:
        console.print("nobody yet; try: ssh -p 2222 root@127.0.0.1")
        return
    console.print(table)
    if page["total"] > len(page["data"]):
        console.print(f"{len(page['data'])} of {page['total']}; --limit shows more")
