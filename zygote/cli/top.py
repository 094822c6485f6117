"""`zygotectl top`: the table of `ps`, live, with keys."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.live import Live

from zygote.cli import fleet_table, render
from zygote.cli.context import current
from zygote.cli.top_actions import Actions
from zygote.cli.top_keys import Keyboard
from zygote.cli.top_view import Sort, View
from zygote.client.api import Client
from zygote.client.memory import take_census
from zygote.units import parse_seconds


def top(
    *,
    once: Annotated[bool, Parameter(show_default=False, help="Show it once and end.")] = False,
    interval: Annotated[str, Parameter(help="Time between two looks: 500ms, 2s.")] = "2s",
    sort: Annotated[Sort, Parameter(help="Order of the workers; fleet: as they start.")] = "fleet",
    reverse: Annotated[
        bool, Parameter(name=["--reverse", "-r"], show_default=False, help="The other way round.")
    ] = False,
) -> int:
    """Show processes with their memory and CPU, live.

    Keys: arrows (or j, k) choose a worker, < and > another column to sort by,
    r reverses, R restarts the worker, S stops it, l shows its log, c tells why
    its memory is not shared (cow), q or Ctrl-C ends. HISTORY is each worker's
    private memory over the last looks.

    On a terminal that cannot be drawn on (TERM=dumb) tables follow each other.
    """
    seconds = max(0.1, parse_seconds(interval))
    view = View(sort, reverse)
    try:
        asyncio.run(_Top(render.console(), seconds, view).run(once or not sys.stdout.isatty()))
    except KeyboardInterrupt:
        if once:
            raise
    return 0


class _Top:
    """The screen, and what it has to remember from look to look."""

    def __init__(self, screen: Console, interval: float, view: View) -> None:
        self._screen = screen
        self._interval = interval
        self._view = view
        self._before: dict[int, float] = {}
        self._looked = 0.0
        self._wake = asyncio.Event()
        self._quit = False
        self._actions = Actions(view, self._wake.set)

    async def run(self, once: bool) -> None:
        async with await Client.connect(current.socket()) as manager:
            await self._look(manager)
            if once:
                # CPU is a difference: two looks, a moment apart.
                await asyncio.sleep(min(self._interval, 0.3))
                await self._look(manager)
                self._print()
            elif os.environ.get("TERM", "dumb") in ("", "dumb"):
                await self._repeat(manager)
            else:
                await self._live(manager)

    def _print(self) -> None:
        if self._screen.is_terminal and not self._screen.is_dumb_terminal:
            self._screen.print(self._view.draw(self._screen, keys=False))
        else:
            sys.stdout.write(render.plain(fleet_table.TOP, self._view.lines()))
        sys.stdout.flush()

    async def _repeat(self, manager: Client) -> None:
        """Table after table, for terminals that know no sequences."""
        while True:
            await asyncio.sleep(self._interval)
            await self._look(manager)
            sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {self._view.sums()}\n")
            self._print()
            sys.stdout.write("\n")

    async def _live(self, manager: Client) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        with Keyboard() as keyboard:
            if keyboard.fd >= 0:
                loop.add_reader(keyboard.fd, self._pressed, keyboard)
            loop.add_signal_handler(signal.SIGCONT, self._continued, keyboard)
            with Live(console=self._screen, screen=True, auto_refresh=False) as live:
                next_look = 0.0
                while not self._quit:
                    if time.monotonic() >= next_look:
                        await self._look(manager)
                        next_look = time.monotonic() + self._interval
                    live.update(self._view.draw(self._screen, keys=keyboard.fd >= 0), refresh=True)
                    await self._pause(next_look - time.monotonic())
                    if self._actions.wanted:
                        live.stop()
                        await self._actions.show(self._screen, keyboard)
                        live.start(refresh=True)
            await self._actions.close()

    async def _pause(self, seconds: float) -> None:
        """Until the next look, or a key."""
        try:
            await asyncio.wait_for(self._wake.wait(), max(0.01, seconds))
        except TimeoutError:
            pass
        self._wake.clear()

    def _pressed(self, keyboard: Keyboard) -> None:
        for key in keyboard.read():
            if key == "end of input":
                asyncio.get_running_loop().remove_reader(keyboard.fd)
            self._quit |= self._actions.press(key)
        self._wake.set()

    def _interrupt(self) -> None:
        """Ctrl-C ends what is shown instead of the table, else all."""
        if not self._actions.interrupt():
            self._quit = True
            self._wake.set()

    def _continued(self, keyboard: Keyboard) -> None:
        """After Ctrl-Z and fg the terminal is as the shell left it."""
        keyboard.take()
        self._wake.set()

    async def _look(self, manager: Client) -> None:
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
        self._view.take(census, percents)
