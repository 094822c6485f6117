"""`zygotectl events`: what happened, and what happens."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Follow, Json
from zygote.cli.text import clean
from zygote.client.api import Client
from zygote.control.interface import Event

STYLES = {
    "ready": "green", "baked": "green", "serving": "green", "adopted": "cyan",
    "failed": "bold red", "bake-failed": "bold red", "internal-error": "bold red",
    "fault": "bold red", "oom-killed": "red", "watchdog-expired": "red", "reload-failed": "red",
    "backoff": "yellow", "stopping": "yellow", "killing": "yellow", "limits": "yellow",
    "waiting": "yellow", "recycling": "yellow", "over-budget": "yellow",
}  # fmt: skip


def events(
    *,
    follow: Follow = False,
    n: Annotated[
        int, Parameter(name=["--last", "-n"], help="How many of the newest to begin with.")
    ] = 20,
    as_json: Json = False,
) -> int:
    """Show the newest events, oldest first; with --follow, each as it happens.

    The manager keeps the last 1000. With --json, one object a line.
    """
    show = show_json if as_json else printer()
    try:
        asyncio.run(_show(follow, max(0, n), show))
    except KeyboardInterrupt:
        if not follow:
            raise
    return 0


async def _show(follow: bool, last: int, show: Callable[[Event], None]) -> None:
    seen = 0
    client = Client.connect(current.socket())
    async with await client as manager:
        async for event in manager.events(follow=follow, last=last):
            if seen and event.seq > seen + 1:
                sys.stderr.write(f"({event.seq - seen - 1} events lost: this reader was slow)\n")
            seen = event.seq
            show(event)


def show_json(event: Event) -> None:
    """One object on one line, at once."""
    sys.stdout.write(json.dumps(asdict(event)) + "\n")
    sys.stdout.flush()


def printer(*, stderr: bool = False) -> Callable[[Event], None]:
    """Something that prints events as lines, coloured on a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    if not stream.isatty():

        def plain(event: Event) -> None:
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(event.at))
            pid = f" pid={event.pid}" if event.pid else ""
            detail = f" {clean(event.detail)}" if event.detail else ""
            stream.write(f"{when} {clean(event.subject)} {event.event}{pid}{detail}\n")
            stream.flush()

        return plain
    from rich.text import Text

    screen = render.console(stderr=stderr)

    def coloured(event: Event) -> None:
        when = time.strftime("%H:%M:%S", time.localtime(event.at))
        pid = f"pid={event.pid} " if event.pid else ""
        line = Text.assemble(
            (when, "dim"), "  ", f"{clean(event.subject):<12}", "  ",
            (f"{event.event:<9}", STYLES.get(event.event, "")), "  ", (pid, "dim"),
        )  # fmt: skip
        detail = event.detail if event.event.endswith(("error", "failed")) else clean(event.detail)
        line.append(clean(detail, keep_lines=True))
        line.rstrip()
        screen.print(line, soft_wrap=True)

    return coloured
