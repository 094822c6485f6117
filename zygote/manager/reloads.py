"""One reload at a time: who asked is told each step, and a manager that comes later is told, too.

RUNTIME/reload.json is there while one is under way. A manager that finds it knows that the one
before it died in the middle: workers of both generations run, each well, and it takes them all
over; what was to go (a predecessor whose successor is there) goes. Its own zygotes are new.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

from zygote.control.interface import RollStep
from zygote.errors import ZygoteError
from zygote.fleet.model import Fleet
from zygote.manager.events import EventLog
from zygote.manager.parts import Parts
from zygote.manager.rolling import Roll
from zygote.manager.targets import Asked, choose
from zygote.manager.verbs import Workers


class Reloads:
    """Starts reloads, one at a time.

    Args:
        folder: the runtime folder.
    """

    def __init__(self, folder: Path, workers: Workers, parts: Parts, events: EventLog) -> None:
        self._marker = folder / "reload.json"
        self._workers = workers
        self._parts = parts
        self._events = events
        self._roll: Roll | None = None
        self._task: asyncio.Task[None] | None = None
        self._steps: list[asyncio.Queue[RollStep | None]] = []

    @property
    def under_way(self) -> str:
        """What the reload under way is about and how far it is; "" if there is none."""
        return self._roll.summary if self._roll else ""

    def check_none(self) -> None:
        """Raises:
        ZygoteError: code reload-under-way.
        """
        if self._roll:
            self._events.emit("reload-refused", "manager", detail=f"amid {self._roll.summary}")
            raise ZygoteError(
                f"a reload is under way: {self._roll.summary}",
                code="reload-under-way",
                hint="wait for it (zygotectl events -f shows its steps), then ask again",
            )

    async def run(self, asked: Asked, fleet: Fleet) -> AsyncIterator[RollStep]:
        """Each step of a reload as it happens. It goes on though nobody listens any more.

        Raises:
            ZygoteError: one is under way; no such zygote or worker; or it failed, and the old
                generation serves on.
        """
        self.check_none()
        targets = choose(asked, self._workers, self._parts.zygotes, self._parts.freshness)
        roll = self._roll = Roll(targets, fleet, self._parts, self._tell)
        queue: asyncio.Queue[RollStep | None] = asyncio.Queue()
        self._steps.append(queue)
        began = self._parts.loop.time()
        task = self._task = self._parts.loop.create_task(self._run(roll), name="reload")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is told
        try:
            while step := await queue.get():
                yield step
        finally:
            self._steps.remove(queue)
        await asyncio.shield(task)
        yield RollStep(
            time.time(), "done", "manager", roll.summary,
            zygotes=len(targets.slots), workers=len(targets.workers),
            seconds=round(self._parts.loop.time() - began, 3),
        )  # fmt: skip

    async def close(self) -> None:
        """Break one off; the workers are about to be stopped anyhow."""
        if self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    def take_marker(self) -> str:
        """What an earlier manager had not finished, in a line, told once; "" if nothing."""
        try:
            left = json.loads(self._marker.read_bytes())
        except (OSError, ValueError):
            return ""
        self._unmark()
        return (
            f"a reload ({left.get('about', '?')}) was cut short by the manager's end: some workers "
            "may run an older generation; reload again"
        )

    async def _run(self, roll: Roll) -> None:
        began = self._parts.loop.time()
        self._mark(roll)
        try:
            await roll.run()
        except ZygoteError as error:
            self._events.emit("reload-failed", "manager", detail=error.message)
            raise
        except asyncio.CancelledError:
            self._events.emit("reload-failed", "manager", detail="broken off")
            raise
        else:
            seconds = self._parts.loop.time() - began
            self._events.emit("reloaded", "manager", detail=f"{roll.summary}, {seconds:.2f} s")
        finally:
            self._roll = None
            self._unmark()
            for queue in self._steps:
                queue.put_nowait(None)

    def _mark(self, roll: Roll) -> None:
        about = {"at": time.time(), "about": roll.summary}
        try:
            self._marker.write_text(json.dumps(about) + "\n")
        except OSError as error:
            self._events.emit("state-trouble", "manager", detail=f"{self._marker}: {error}")

    def _unmark(self) -> None:
        try:
            self._marker.unlink(missing_ok=True)
        except OSError as error:
            self._events.emit("state-trouble", "manager", detail=f"{self._marker}: {error}")

    def _tell(self, step: str, subject: str, detail: str) -> None:
        self._events.emit(f"reload-{step}", subject, detail=detail)
        for queue in self._steps:
            queue.put_nowait(RollStep(time.time(), step, subject, detail))
