"""`decnetctl canary`: bait that calls home."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App
from rich.console import Console
from rich.table import Table

from decnet.bus import topics
from decnet.canary.settings import CanarySettings
from decnet.cli.local import transact
from decnet.cli.rest import printable, say
from decnet.settings import Settings
from zygote.cli.options import Json

if TYPE_CHECKING:
    from decnet.canary import bait
    from decnet.db.tables import CanaryToken

canary = App(name="canary", help="Bait that calls home: make it, plant it, see who took it.")


@canary.command
def add(
    name: str,
    *,
    make: str | None = None,
    file: Path | None = None,
    kind: str = "http",
    decky: str | None = None,
    path: str | None = None,
    as_json: Json = False,
) -> None:
    """Make a token. Without --make or --file it is an address to be put anywhere.

    Args:
        name: for you.
        make: a file of this kind: aws, env, git, ssh, html, mysql, svg.
        file: bait this file (html, svg, docx or text); a copy of it is kept.
        kind: http, dns, or aws_passive.
        decky: where it is planted.
        path: the place of the file there.
    """
    from decnet.canary import bait, store
    from decnet.canary.instrument import INSTRUMENTERS, kind_of
    from decnet.canary.render import keep

    settings = Settings.from_env()
    if make is not None and make not in bait.GENERATORS:
        raise store.CanaryError(
            f"no bait of the kind {make!r}", f"one of: {', '.join(bait.GENERATORS)}"
        )
    if make is not None and file is not None:
        raise store.CanaryError("a token has one file", "say --make or --file")
    way = kind_of(file.name) if file is not None else None
    if way == "":
        raise store.CanaryError(
            f"a file as {file} cannot be baited", f"one of: {', '.join(INSTRUMENTERS)}"
        )
    blob = keep(settings.artifacts_dir, file, way) if file is not None and way else None
    token = transact(
        lambda session: store.add(
            session,
            name,
            kind=kind,
            generator=make,
            instrumenter=way,
            blob=blob,
            decky=decky,
            path=path,
        ),
        topics.canary("new", "placed"),
    )
    call = _call(settings, token)
    if as_json:
        say(json.dumps({**_row(token), "url": call.url, "dns": call.name}))
        return
    say(call.url)
    if call.name:
        say(call.name)
    if make or file:
        _say(f"its file: decnetctl canary render {token.uuid}")


@canary.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List the tokens."""
    from decnet.canary import store

    settings = Settings.from_env()
    tokens = transact(store.every)
    if as_json:
        say(json.dumps([{**_row(t), "url": _call(settings, t).url} for t in tokens]))
        return
    table = _table("ID", "NAME", "STATE", "RANG", "LAST", "FILE", "URL")
    for token in tokens:
        last = token.last_triggered_at
        table.add_row(
            token.uuid,
            printable(token.name),
            token.state,
            str(token.trigger_count),
            "-" if last is None else f"{last:%m-%d %H:%M:%S}",
            token.generator or token.instrumenter or "-",
            _call(settings, token).url,
        )
    _show(table, tokens, "none yet; try: decnetctl canary add backup-keys --make aws")


@canary.command
def revoke(name: str) -> None:
    """Let a token's hits count no more."""
    from decnet.canary import store

    token = transact(lambda session: store.revoke(session, name), topics.canary("any", "revoked"))
    _say(f"{token.name} is revoked")


@canary.command
def triggers(name: str | None = None, *, limit: int = 50, as_json: Json = False) -> None:
    """List who took the bait, the newest first.

    Args:
        name: of this token only.
    """
    from decnet.canary import store

    rows = transact(lambda session: store.triggers(session, name, limit))
    if as_json:
        say(json.dumps(rows))
        return
    table = _table("AT", "TOKEN", "FROM", "ASKED FOR", "WITH")
    for row in rows:
        what = row["request_path"] or row["dns_qname"] or "-"
        table.add_row(
            row["occurred_at"][:19],
            printable(row["name"]),
            row["src_ip"],
            printable(what) + (" +fingerprint" if row["fingerprint"] else ""),
            printable(row["user_agent"] or "-"),
        )
    _show(table, rows, "nobody yet")


@canary.command(name="render")
def render_(name: str, out: Path | None = None) -> None:
    """Write a token's file.

    Args:
        out: where to; default: standard output.
    """
    from decnet.canary import store
    from decnet.canary.render import render

    settings = Settings.from_env()

    async def read(session: Any) -> Any:
        token = await store.find(session, name)
        return token, await store.blob_of(session, token)

    token, blob = transact(read)
    own = CanarySettings.from_env(settings.state_dir)
    made = render(token, blob, settings.artifacts_dir, own)
    if out is None:
        sys.stdout.buffer.write(made.data)
        sys.stdout.flush()
        return
    try:
        out.write_bytes(made.data)
    except OSError as error:
        raise store.CanaryError(f"cannot write {out}: {error.strerror}") from error
    _say(f"{out}: {len(made.data)} bytes, to be planted as {made.filename}")


def _row(token: CanaryToken) -> dict[str, Any]:
    return token.model_dump(mode="json", exclude={"fingerprint_nonce"})


def _call(settings: Settings, token: CanaryToken) -> bait.Call:
    from decnet.canary import bait

    own = CanarySettings.from_env(settings.state_dir)
    return bait.make_call(token, own.http_base, own.dns_zone)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _show(table: Table, rows: Any, nothing: str) -> None:
    # A pipe has no width: nothing is cut there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 250)
    console.print(table if rows else nothing)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)
