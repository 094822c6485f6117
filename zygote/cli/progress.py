"""What is going on while a fleet starts: on stderr, one moving line a zygote on a terminal, else
a line for each step."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from zygote.cli import render
from zygote.cli.text import clean
from zygote.client.api import Client
from zygote.control.interface import WorkerState, ZygoteState
from zygote.errors import ZygoteError
from zygote.fleet.where import SOCKET_NAME

if TYPE_CHECKING:
    from rich.live import Live

_PERIOD = 0.15
SETTLED = ("ready", "failed", "backoff", "inactive", "unknown")
"""States of a worker that is as ready as it gets."""
_FIRM = 0.5
"""Seconds. A worker of type "simple" is ready as soon as it runs, though it may end at once."""


class Progress:
    """Lines that say what is being waited for.

    Args:
        title: the first line.
        quiet: show nothing.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._began = time.monotonic()
        self._said: set[str] = set()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._quiet:
            return self
        if sys.stderr.isatty():
            from rich.live import Live

            self._live = Live(
                console=render.console(stderr=True), refresh_per_second=8, transient=True
            )
            self._live.start()
        self.show([])
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, lines: list[str]) -> None:
        """These are the steps in progress."""
        if self._quiet:
            return
        if self._live is None:
            for line in lines:
                if line not in self._said:
                    self._said.add(line)
                    took = time.monotonic() - self._began
                    sys.stderr.write(f"[{took:6.1f} s] {clean(line)}\n")
                    sys.stderr.flush()
            return
        from rich.console import Group
        from rich.spinner import Spinner
        from rich.text import Text

        took = time.monotonic() - self._began
        first = Spinner("dots", Text(f"{self._title} ({took:.0f} s)"))
        body = [Text(f"  {clean(line)}", style="dim", overflow="ellipsis") for line in lines]
        # At once: a step that is over before the next frame has been shown, too.
        self._live.update(Group(first, *body), refresh=True)

    async def follow_bake(self, runtime: Path | None) -> None:
        """Show where each zygote's bake is, until cancelled."""
        while runtime is not None:
            try:
                async with await Client.connect(runtime / SOCKET_NAME) as manager:
                    while True:
                        self.show([describe(zygote) for zygote in await manager.zygotes()])
                        await asyncio.sleep(_PERIOD)
            except ZygoteError:
                await asyncio.sleep(_PERIOD)  # its socket comes after the check of the file


def describe(zygote: ZygoteState) -> str:
    """`floor: baking: import: scapy.all`."""
    if zygote.state == "ready" and zygote.bake_seconds is not None:
        return f"{zygote.name}: baked in {zygote.bake_seconds:.1f} s, {zygote.modules} modules"
    stage = zygote.stages[-1] if zygote.stages and zygote.state == "baking" else ""
    if zygote.state == "baking" and zygote.parent and not stage:
        stage = f"waits for {zygote.parent}"
    return f"{zygote.name}: {zygote.state}" + (f": {stage}" if stage else "")


async def settle(manager: Client, progress: Progress, stop: asyncio.Event) -> list[WorkerState]:
    """The workers, once each that starts by itself is ready or is known not to become so."""
    looked_twice = False
    while True:
        workers = [worker for worker in await manager.workers() if worker.autostart]
        waiting = [w for w in workers if w.state not in SETTLED and not w.error]
        if stop.is_set():
            return workers
        if not waiting:
            if looked_twice or not any(map(_has_just_begun, workers)):
                return workers
            looked_twice = True
            await asyncio.sleep(_FIRM)
            continue
        progress.show([
            f"{worker.name}: {worker.state}" + (f", {worker.status}" if worker.status else "")
            for worker in waiting
        ])  # fmt: skip
        await asyncio.sleep(_PERIOD)


def _has_just_begun(worker: WorkerState) -> bool:
    return worker.ready and time.time() - (worker.started_at or 0) < _FIRM
