"""`decnetctl identities`: who is behind the addresses."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from decnet.cli.rest import get, printable, say
from zygote.cli.options import Json


def identities(
    uuid: str | None = None,
    /,
    *,
    limit: int = 50,
    merged: bool = False,
    as_json: Json = False,
    url: str | None = None,
) -> None:
    """List identities, last seen first; or show one with its addresses and habits.

    Args:
        uuid: only this one; one that was merged shows what it is a part of.
        limit: at most so many (1 to 1000).
        merged: those as well that turned out to be a part of another.
        url: the REST interface, if not on this machine: http://HOST:PORT
    """
    if uuid is not None:
        _show(get(f"/identities/{uuid}", url), as_json)
        return
    page = get("/identities", url, limit=limit, merged=merged or None)
    if as_json:
        say(json.dumps(page))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("IDENTITY", "FIRST SEEN", "LAST SEEN", "ADDRESSES", "SURE", "CAMPAIGN", "BY"):
        right = name in ("ADDRESSES", "SURE")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "BY")
    for row in page["data"]:
        table.add_row(
            row["uuid"],
            time_of(row["first_seen_at"]),
            time_of(row["last_seen_at"]),
            str(row["observation_count"]),
            f"{row['confidence']:.2f}",
            (row["campaign_id"] or "-")[:8],
            printable(reasons(row) or "-"),
        )
    show(table, page, "nobody yet; the clusterer writes them down (decnetctl ps clusterer)")


def reasons(row: dict[str, Any]) -> str:
    """How many values of each kind hold it together."""
    kinds = {
        "ja3": "ja3_hashes",
        "hassh": "hassh_hashes",
        "payload": "payload_hashes",
        "c2": "c2_endpoints",
    }
    return " ".join(f"{kind}:{len(row[k])}" for kind, k in kinds.items() if row.get(k))


def time_of(text: str) -> str:
    """A time as lists show it."""
    return text[5:19].replace("T", " ")


def show(table: Table, page: dict[str, Any], nothing: str) -> None:
    """Print a page as a table, or what to do where there is nothing in it."""
    # A pipe has no width: nothing is cut there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    if not page["data"]:
        console.print(nothing)
        return
    console.print(table)
    if page.get("next"):
        console.print(f"the first {len(page['data'])}; --limit shows more")


def _show(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say(json.dumps(row))
        return
    say(f"identity   {row['uuid']}")
    say(f"campaign   {row['campaign_id'] or '-'}")
    say(f"seen       {time_of(row['first_seen_at'])} to {time_of(row['last_seen_at'])}")
    say(f"sure       {row['confidence']:.2f}")
    for name in ("ja3_hashes", "hassh_hashes", "ja4_hashes", "payload_hashes", "c2_endpoints"):
        if row.get(name):
            say(f"{name.split('_')[0]:<10} {printable(' '.join(row[name]))}")
    for one in row.get("attackers", ()):
        say(f"address    {printable(one['ip'])}")
    for one in row.get("habits", ()):
        value = printable(json.dumps(one["current_value"]))
        say(f"habit      {printable(one['primitive'])} {one['state']} {value}")
