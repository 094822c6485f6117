"""A fleet whose code changes under it: modules, workers and what they answer, for `reload`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.managers import Manager, managers
from zygote.client.api import Client
from zygote.errors import ZygoteError

CODE = """
import os, signal, sys, time
from zygote import notify
VERSION = {version}
KEPT = []
def note(text):
    with open(os.environ["ZYGOTE_WORKER"] + ".ran", "a") as out:
        out.write(f"{{VERSION}} {{os.getpid()}} {{text}}\\n")
def run():
    {habit}
    note("up")
    notify.ready()
    while True:
        signal.pause()
"""


class Rolls:
    """A manager, and the code that its zygote `floor` preloads as module `code`."""

    def __init__(self, manager: Manager, code: str) -> None:
        self.manager = manager
        self.code = code
        self.version = 0
        self.write()

    def write(self, habit: str = "pass", top: str = "") -> int:
        """The next version of the code on disk.

        Args:
            habit: a statement at the start of each worker.
            top: a line at the top of the module.
        """
        self.version += 1
        # Of another size each: Python takes a .pyc for that of a file of the same second and size.
        text = self.code.format(version=self.version, habit=habit) + "#" * self.version
        draft = self.manager.folder / "code.new"
        draft.write_text(top + text)
        draft.replace(self.manager.folder / "app_code.py")
        return self.version

    async def roll(
        self, *, zygotes: Sequence[str] = (), workers: Sequence[str] = (), force: bool = False
    ) -> list[Any]:
        """A reload; its steps."""
        return [step async for step in self.steps(zygotes=zygotes, workers=workers, force=force)]

    async def steps(self, **asked: Any) -> AsyncIterator[Any]:
        """The steps of a reload as they come, on a connection of its own."""
        async with await Client.connect(self.manager.run / "control.sock") as client:
            async for step in client.roll(**asked):
                yield step

    async def fails(self, **asked: Any) -> ZygoteError:
        """The error of a reload that must fail."""
        try:
            await self.roll(**asked)
        except ZygoteError as error:
            return error
        raise AssertionError("the reload did not fail")

    async def pids(self) -> dict[str, int]:
        return {each.name: each.pid for each in await self.manager.workers()}

    def ran(self, name: str) -> list[tuple[int, int]]:
        """(version, pid) of each process of a worker so far."""
        path = self.manager.folder / f"{name}.ran"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(row[0]), int(row[1])) for row in rows]

    async def versions(self) -> dict[str, int]:
        """The version that each ready worker's process runs."""
        found = {}
        for worker in await self.manager.workers():
            runs = {pid: version for version, pid in self.ran(worker.name)}
            if worker.ready:
                found[worker.name] = runs[worker.pid]
        return found


def roller(name: str, *keys: str, zygote: str = "floor") -> str:
    """A [worker.NAME] table of the code that changes."""
    lines = (
        f'[worker."{name}"]',
        f'zygote = "{zygote}"',
        'run = "app_code:run"',
        'type = "notify"',
    )
    return "\n".join((*lines, *keys)) + "\n"


@contextlib.asynccontextmanager
async def rolling(
    folder: Path,
    fleet: str,
    *,
    head: Sequence[str] = (),
    zygote: Sequence[str] = (),
    code: str = CODE,
) -> AsyncIterator[Rolls]:
    """A manager on a fleet whose code may be rewritten; not started yet.

    Args:
        head: lines for [fleet].
        zygote: lines for [zygote.floor].
        code: a module with {version} and {habit} in it.
    """
    async with managers(folder) as make:
        manager = make(fleet)
        text = manager.file.read_text()
        text = text.replace('name = "tiny"', "\n".join(('name = "tiny"', *head)))
        quick = 'bake = ["freeze"]'
        lines = "\n".join(('preload = ["app_code"]', quick, *zygote))
        text = text.replace('preload = ["tiny"]', lines)
        manager.file.write_text(text)
        yield Rolls(manager, code)
