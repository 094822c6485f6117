"""`decnetctl webhooks`: who is told of what, and how the telling goes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any

from cyclopts import App
from rich.console import Console
from rich.table import Table

from decnet.bus.topics import WEBHOOKS_CHANGED
from decnet.cli.local import transact
from decnet.cli.rest import printable, say
from decnet.webhook.event import Event
from decnet.webhook.settings import WebhookSettings
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from decnet.webhook.sender import Outcome, Receiver

webhooks = App(name="webhooks", help="Tell other systems what happens: signed HTTP requests.")


@webhooks.command
def add(
    name: str,
    url: str,
    *patterns: str,
    secret: str = "",
    at_once: int = 1,
    as_json: Json = False,
) -> None:
    """Subscribe a receiver. Prints its secret: the only time that it is shown.

    Args:
        name: for you.
        url: where to: http:// or https://
        patterns: topics ("attacker.>", "canary.*.triggered", "system.log"), or AttackerDetail,
            DeckyStatus, SystemStatus. Default: AttackerDetail.
        secret: for the signatures; one is made if you give none.
        at_once: deliveries at once, 1 to 10. With 1 the events come in order.
    """
    from decnet.webhook import store

    made = transact(
        lambda session: store.add(
            session, name, url, patterns or ("AttackerDetail",), secret=secret, concurrency=at_once
        ),
        WEBHOOKS_CHANGED,
    )
    if as_json:
        say(json.dumps({**store.public(made), "secret": made.secret}))
        return
    say(f"secret {made.secret}")
    _say(f"{name} gets {' '.join(made.topic_patterns)}; try: decnetctl webhooks test {name}")


@webhooks.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List the subscriptions."""
    from decnet.webhook import store

    rows = [store.public(row) for row in transact(store.every)]
    if as_json:
        say(json.dumps(rows))
        return
    table = _table("NAME", "STATE", "DELIVERED", "DROPPED", "LAST ERROR", "URL", "TOPICS")
    for row in rows:
        table.add_row(
            printable(row["name"]),
            _state(row),
            str(row["delivered_count"]),
            str(row["dropped_count"]),
            printable(row["last_error"] or "-"),
            printable(row["url"]),
            " ".join(row["topic_patterns"]),
        )
    _show(table, rows, "none yet; see: decnetctl webhooks add --help")


@webhooks.command
def remove(name: str) -> None:
    """Remove a subscription with its queue and dead letters."""
    from decnet.webhook import store

    transact(lambda session: store.remove(session, name), WEBHOOKS_CHANGED)
    _say(f"{name} is removed")


@webhooks.command
def enable(name: str) -> None:
    """Let a subscription deliver (again): what waits is sent."""
    from decnet.webhook import store

    transact(lambda session: store.enable(session, name), WEBHOOKS_CHANGED)
    _say(f"{name} delivers")


@webhooks.command
def disable(name: str) -> None:
    """Switch a subscription off; what happens meanwhile is not kept for it."""
    from decnet.webhook import store

    transact(lambda session: store.enable(session, name, on=False), WEBHOOKS_CHANGED)
    _say(f"{name} is off")


@webhooks.command
def rotate(name: str, *, secret: str = "") -> None:
    """Give a subscription another secret, and print it.

    Args:
        secret: for the signatures from now on; one is made if you give none.
    """
    from decnet.webhook import store

    made = transact(lambda session: store.rotate(session, name, secret), WEBHOOKS_CHANGED)
    say(f"secret {made.secret}")


@webhooks.command
def dead(name: str, *, limit: int = 50, as_json: Json = False) -> None:
    """List the dead letters: events that the receiver did not take."""
    from decnet.webhook import store

    rows = transact(lambda session: store.dead(session, name, limit))
    if as_json:
        say(json.dumps(rows, default=str))
        return
    table = _table("EVENT", "SINCE", "TRIES", "TOPIC", "ERROR")
    for row in rows:
        since, error = str(row["updated_at"])[:19], printable(row["last_error"] or "-")
        table.add_row(row["event_id"], since, str(row["attempts"]), row["topic"], error)
    _show(table, rows, "no dead letters")


@webhooks.command
def log(name: str, *, limit: int = 50, as_json: Json = False) -> None:
    """List the last deliveries."""
    from decnet.webhook import store

    rows = [
        row.model_dump(mode="json")
        for row in transact(lambda session: store.deliveries(session, name, limit))
    ]
    if as_json:
        say(json.dumps(rows))
        return
    table = _table("AT", "OUTCOME", "STATUS", "TRIES", "MS", "TOPIC", "ERROR")
    for row in rows:
        table.add_row(
            row["at"][:19],
            row["outcome"],
            str(row["status_code"] or "-"),
            str(row["attempts"]),
            f"{row['duration_ms']:.0f}",
            row["topic"],
            printable(row["error"] or "-"),
        )
    _show(table, rows, "nothing delivered yet")


@webhooks.command
def replay(name: str, event: str = "") -> None:
    """Send dead letters again.

    Args:
        event: only this one (see `decnetctl webhooks dead`).
    """
    from decnet.webhook import store

    count = transact(lambda session: store.replay(session, name, event), WEBHOOKS_CHANGED)
    _say(f"{count} events wait for delivery")


@webhooks.command
def test(name: str, *, as_json: Json = False) -> None:
    """Send a test event now, from here; exit code 1 where the receiver does not take it."""
    from decnet.webhook import store
    from decnet.webhook.sender import Receiver

    row = transact(lambda session: store.find(session, name))
    receiver = Receiver(row.uuid, row.name, row.url, row.secret, tuple(row.topic_patterns))
    outcome = asyncio.run(_send_test(receiver))
    told = {"ok": outcome.ok, "status": outcome.status, "error": outcome.error}
    if as_json:
        say(json.dumps({**told, "attempts": outcome.attempts, "seconds": outcome.seconds}))
    elif outcome.ok:
        _say(f"{name} answered {outcome.status} in {outcome.seconds * 1000:.0f} ms")
    if not outcome.ok:
        raise ZygoteError(
            f"{name} did not take the test event: {outcome.error}",
            code="webhook-test",
            hint="see: decnetctl webhooks list",
            exit_code=Exit.FAILED,
        )


async def _send_test(receiver: Receiver) -> Outcome:
    from decnet.webhook.sender import Sender

    sender = Sender(WebhookSettings.from_env())
    event = Event.make(
        "system.webhook.test", uuid.uuid4().hex, time.time(), {"subscription": receiver.name}
    )
    try:
        return await sender.deliver(receiver, event)
    finally:
        await sender.close()


def _state(row: dict[str, Any]) -> str:
    if not row["enabled"]:
        return "off"
    return "disabled by failures" if row["auto_disabled_at"] else "delivers"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _show(table: Table, rows: list[Any], nothing: str) -> None:
    # A pipe has no width: nothing is cut there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 250)
    console.print(table if rows else nothing)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)
