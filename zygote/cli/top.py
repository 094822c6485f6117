"""`zygotectl top`: the table of `ps`, live."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from zygote.cli import fleet_table, render
from zygote.cli.context import current
from zygote.cli.fleet_table import Line
from zygote.cli.status import ago, count
from zygote.client.api import Client
from zygote.client.memory import Census, take_census
from zygote.units import parse_seconds

Sort = Literal["fleet", "name", "cpu", "rss", "pss", "uss", "dirty"]
_KEYS = {
    "rss": "rss_kib", "pss": "pss_kib", "uss": "uss_kib", "dirty": "private_dirty_kib",
}  # fmt: skip


def top(
    *,
    once: Annotated[bool, Parameter(show_default=False, help="Show it once and end.")] = False,
    interval: Annotated[str, Parameter(help="Time between two looks: 500ms, 2s.")] = "2s",
    sort: Annotated[Sort, Parameter(help="Order of the workers; fleet: as they start.")] = "fleet",
) -> int:
    """Show processes with their memory and CPU, live; Ctrl-C ends it."""
    seconds = max(0.1, parse_seconds(interval))
    screen = render.console()
    try:
        asyncio.run(_Top(screen, seconds, sort).run(once or not screen.is_terminal))
    except KeyboardInterrupt:
        if once:
            raise
    return 0


class _Top:
    """The screen, and what it has to remember from look to look."""

    def __init__(self, screen: Console, interval: float, sort: Sort) -> None:
        self._screen = screen
        self._interval = interval
        self._sort = sort
        self._before: dict[int, float] = {}
        self._looked = 0.0

    async def run(self, once: bool) -> None:
        async with await Client.connect(current.socket()) as manager:
            census = await self._look(manager)
            if once:
                # CPU is a difference: two looks, a moment apart.
                await asyncio.sleep(min(self._interval, 0.3))
                census = await self._look(manager)
                self._print(*census)
                return
            with Live(console=self._screen, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(self._draw(*census), refresh=True)
                    await asyncio.sleep(self._interval)
                    census = await self._look(manager)

    def _print(self, census: Census, percents: dict[int, float]) -> None:
        if self._screen.is_terminal:
            self._screen.print(self._draw(census, percents))
            return
        lines = self._sorted(fleet_table.lines_of(census, percents))
        sys.stdout.write(render.plain(fleet_table.TOP, lines))

    async def _look(self, manager: Client) -> tuple[Census, dict[int, float]]:
        census = take_census(
            await manager.status(), await manager.zygotes(), await manager.workers()
        )
        now = time.monotonic()
        used = {row.pid: row.cpu_s for row in census.rows() if row.pid and row.cpu_s is not None}
        took = now - self._looked
        percents = {
            pid: max(0.0, cpu - self._before[pid]) / took * 100
            for pid, cpu in used.items()
            if pid in self._before
        }
        self._before, self._looked = used, now
        return census, percents

    def _draw(self, census: Census, percents: dict[int, float]) -> Group:
        lines = self._sorted(fleet_table.lines_of(census, percents))
        manager = census.manager[0]
        head = Text.assemble(
            (f"{manager.fleet}", "bold"),
            f"  up {ago(manager.started_at)}  {count([worker for worker, _ in census.workers])}",
        )
        height = self._screen.height - 4
        hidden = 0
        if len(lines) > height > 4:
            tail = [line for line in lines if line.kind != "worker"]
            room = max(1, height - len(tail))
            workers = [line for line in lines if line.kind == "worker"]
            hidden = len(workers) - room
            lines = workers[:room] + tail
        note = fleet_table.note(census) + (f"; {hidden} more workers" if hidden > 0 else "")
        table = render.rich_table(fleet_table.TOP, lines, self._screen.width, note=note)
        parts: list[Text | object] = [head, Text(), table]
        if not manager.limits.startswith("enforced"):
            limits = Text(f"limits {manager.limits}", style="yellow", overflow="ellipsis")
            limits.no_wrap = True
            parts.insert(1, limits)
        return Group(*parts)  # type: ignore[arg-type]

    def _sorted(self, lines: list[Line]) -> list[Line]:
        workers = [line for line in lines if line.kind == "worker"]
        rest = [line for line in lines if line.kind != "worker"]
        if self._sort == "name":
            workers.sort(key=lambda line: line.name)
        elif self._sort == "cpu":
            workers.sort(key=lambda line: -(line.percent or 0.0))
        elif self._sort in _KEYS:
            workers.sort(key=lambda line: -(getattr(line.row, _KEYS[self._sort]) or 0))
        return workers + rest
