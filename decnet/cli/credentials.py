"""`decnetctl credentials`: the secrets that were tried."""

from __future__ import annotations

import json

from rich.table import Table

from decnet.cli.identities import show, time_of
from decnet.cli.rest import get, printable, say
from zygote.cli.options import Json


def credentials(
    *,
    limit: int = 50,
    ip: str | None = None,
    service: str | None = None,
    user: str | None = None,
    reused: bool = False,
    as_json: Json = False,
    url: str | None = None,
) -> None:
    """List the secrets that were tried, last tried first.

    Args:
        limit: at most so many (1 to 1000).
        ip: only by this address.
        service: only there (ssh, http, …).
        user: only with this user name.
        reused: secrets that were tried at several places instead.
        url: the REST interface, if not on this machine: http://HOST:PORT
    """
    if reused:
        _reused(get("/credential-reuse", url, limit=limit), as_json)
        return
    page = get("/credentials", url, limit=limit, attacker_ip=ip, service=service, principal=user)
    if as_json:
        say(json.dumps(page))
        return
    table = _table("LAST TRIED", "IP", "WHERE", "USER", "SECRET", "TRIES", "OUTCOME")
    for row in page["data"]:
        kind = "" if row["secret_kind"] == "plaintext" else f" ({row['secret_kind']})"
        table.add_row(
            time_of(row["last_seen"]),
            printable(row["attacker_ip"]),
            printable(f"{row['decky_name']}/{row['service']}"),
            printable(row["principal"]),
            printable(row["secret_printable"]) + kind,
            str(row["attempt_count"]),
            printable(row["outcome"] or "-"),
        )
    show(table, page, "none yet; try: ssh -p 2222 root@127.0.0.1")


def _reused(page: dict[str, object], as_json: bool) -> None:
    if as_json:
        say(json.dumps(page))
        return
    table = _table("LAST SEEN", "USER", "SHA-256", "PLACES", "TRIES", "ADDRESSES", "SERVICES")
    rows = page["data"]
    assert isinstance(rows, list)
    for row in rows:
        table.add_row(
            time_of(row["last_seen"]),
            printable(row["principal"] or "(several)"),
            row["secret_sha256"][:16],
            str(row["target_count"]),
            str(row["attempt_count"]),
            printable(" ".join(row["attacker_ips"])),
            printable(" ".join(row["services"])),
        )
    show(table, page, "no secret was tried at two places yet")


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        right = name in ("TRIES", "PLACES")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table
