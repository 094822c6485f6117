"""`zygotectl ps`: every process of the fleet with its memory."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import fleet_table, render
from zygote.cli.context import current
from zygote.cli.options import Json, Names
from zygote.client.api import Client
from zygote.client.memory import WALK_SECONDS, Census, take_census

Wide = Annotated[
    bool, Parameter(show_default=False, help="Every column, however narrow the terminal.")
]


Exact = Annotated[
    bool, Parameter(show_default=False, help="Estimate nothing, however long it takes.")
]


def ps(
    names: Names = [],  # noqa: B006
    /,
    *,
    wide: Wide = False,
    exact: Exact = False,
    as_json: Json = False,
) -> int:
    """List the fleet's processes: workers, zygotes, the manager, and the total.

    RSS counts shared pages whole, PSS divides them, USS is what a process has
    alone, DIRTY what it wrote of that, PTAB its page tables. The sum of PSS
    and PTAB is what the fleet costs; "help memory" tells more.

    A figure with a ~ is estimated from other workers of the same zygote:
    measuring a thousand of them takes seconds.
    """
    census = asyncio.run(_look(names, None if exact else WALK_SECONDS))
    if as_json:
        sys.stdout.write(json.dumps(fleet_table.as_json(census)) + "\n")
        return 0
    lines = fleet_table.lines_of(census)
    if wide:
        sys.stdout.write(render.plain(fleet_table.WIDE, lines))
    else:
        render.show(fleet_table.PS, lines, note=fleet_table.note(census))
    return 0


async def _look(names: list[str], walk_seconds: float | None) -> Census:
    async with await Client.connect(current.socket()) as manager:
        workers = await manager.workers(names or None)
        return take_census(await manager.status(), await manager.zygotes(), workers, walk_seconds)
