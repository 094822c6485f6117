"""`decnetctl campaigns`: identities that work together."""

from __future__ import annotations

import json

from rich.table import Table

from decnet.cli.identities import reasons, show, time_of
from decnet.cli.rest import get, printable, say
from zygote.cli.options import Json


def campaigns(
    uuid: str | None = None,
    /,
    *,
    limit: int = 50,
    merged: bool = False,
    as_json: Json = False,
    url: str | None = None,
) -> None:
    """List campaigns, last seen first; or show one with its identities.

    Args:
        uuid: only this one; one that was merged shows what it is a part of.
        limit: at most so many (1 to 1000).
        merged: those as well that are a part of another now, or fell apart.
        url: the REST interface, if not on this machine: http://HOST:PORT
    """
    if uuid is not None:
        one = get(f"/campaigns/{uuid}", url)
        page = {"data": one["identities"]}
        if as_json:
            say(json.dumps(one))
            return
        say(f"campaign {one['uuid']}: {one['identity_count']} identities")
    else:
        page = get("/campaigns", url, limit=limit, merged=merged or None)
        if as_json:
            say(json.dumps(page))
            return
    what = "CAMPAIGN" if uuid is None else "IDENTITY"
    many = "IDENTITIES" if uuid is None else "ADDRESSES"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (what, "FIRST SEEN", "LAST SEEN", many, "SURE", "BY"):
        right = name in (many, "SURE")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "BY")
    for row in page["data"]:
        table.add_row(
            row["uuid"],
            time_of(row["first_seen_at"]),
            time_of(row["last_seen_at"]),
            str(row["identity_count" if uuid is None else "observation_count"]),
            f"{row['confidence']:.2f}",
            printable(reasons(row) or "-"),
        )
    show(table, page, "none yet; the clusterers write them down (decnetctl ps campaign-clusterer)")
