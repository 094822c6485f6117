"""`decnetctl visits`: what the visitors did, and with -f what they do, live."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter

from decnet.cli.rest import check, connect, get, printable, say, unreachable
from zygote.cli.options import Follow, Json

RECONNECT_SECONDS = 1.0
SHOWN = (
    "principal",
    "secret_printable",
    "command",
    "method",
    "path",
    "user_agent",
    "url",
    "outcome",
)


def visits(
    *,
    follow: Follow = False,
    n: Annotated[int, Parameter(name=["-n", "--lines"])] = 20,
    service: str | None = None,
    ip: str | None = None,
    as_json: Json = False,
    url: str | None = None,
) -> None:
    """Show visitors' events, oldest first.

    Args:
        n: how many of the newest to begin with.
        service: only this one (ssh, http, …).
        ip: only from this address.
        url: the REST interface, if not on this machine: http://HOST:PORT
    """
    page = get("/logs", url, limit=max(1, min(n, 1000)), service=service, attacker_ip=ip)
    rows = list(reversed(page["data"]))[-n:] if n else []
    for row in rows:
        show(row, as_json)
    if not follow:
        return
    last = page["data"][0]["id"] if page["data"] else 0
    for row in stream(last, url):
        if service in (None, row["service"]) and ip in (None, row["attacker_ip"]):
            show(row, as_json)


def stream(last: int, url: str | None) -> Iterator[dict[str, Any]]:
    """Events after row `last`, for ever: each once, whatever happens to the connection."""
    import httpx2  # late: --help needs none

    failed = 0
    while True:
        with connect(url, timeout=None) as client:
            try:
                headers = {"Last-Event-ID": str(last)}
                with client.stream("GET", "/events", headers=headers) as answer:
                    check(answer)
                    failed = 0
                    for line in answer.iter_lines():
                        if line.startswith("data:"):
                            row = json.loads(line.removeprefix("data:"))
                            last = row["id"]
                            yield row
            except httpx2.TransportError as error:
                failed += 1
                if failed > 60:
                    raise unreachable(client, error) from error
        time.sleep(RECONNECT_SECONDS)


def show(row: dict[str, Any], as_json: bool) -> None:
    """One event on one line."""
    if as_json:
        say(json.dumps(row))
        return
    fields = row["fields"]
    detail = " ".join(f"{k}={printable(fields[k])}" for k in SHOWN if fields.get(k))
    when = row["timestamp"][:19].replace("T", " ")
    where = f"{printable(row['decky'])}/{printable(row['service'])}"
    what = f"{printable(row['attacker_ip']):15}  {where}  {printable(row['event_type'])}"
    say(f"{when}  {what}  {detail}")
