"""`zygotectl down`: stop the fleet and its manager."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.client.api import Client


def down(
    *,
    no_wait: Annotated[
        bool, Parameter(show_default=False, help="Only ask for it; do not wait until it is gone.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Stop all workers in reverse order, the zygotes, and the manager."""
    wait = not no_wait
    pid = asyncio.run(_down(wait))
    if as_json:
        sys.stdout.write(json.dumps({"ok": True, "pid": pid, "gone": wait}) + "\n")
    else:
        render.heading(f"the manager (pid {pid}) {'has stopped' if wait else 'stops'}", "")
    return 0


async def _down(wait: bool) -> int:
    async with await Client.connect(current.socket()) as manager:
        pid = (await manager.status()).pid
        work = asyncio.ensure_future(manager.shutdown(wait=wait))
        await asyncio.wait({work}, timeout=1.0)
        if not work.done() and sys.stderr.isatty() and not current.json:
            with render.console(stderr=True).status("stopping the fleet"):
                await work
        await work
    return pid
