"""What the keys of `top` do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from rich.console import Console

from zygote.cli.context import current
from zygote.cli.results import as_error
from zygote.cli.top_keys import Keyboard
from zygote.cli.top_view import View
from zygote.client.api import Client
from zygote.errors import ZygoteError

_SHOWN = {"l": "logs", "c": "cow"}
_DONE = {"R": ("restart", "restarting", "restarted"), "S": ("stop", "stopping", "stopped")}


class Actions:
    """Turns keys into deeds.

    Args:
        changed: called when something is to be drawn that no key has changed.
    Attributes:
        wanted: a command that is to be shown in place of the table, with its worker.
    """

    def __init__(self, view: View, changed: Callable[[], None]) -> None:
        self._view = view
        self._changed = changed
        self.wanted: tuple[str, str] | None = None
        self._asked: tuple[str, str] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._child: asyncio.subprocess.Process | None = None
        self._key: asyncio.Future[None] | None = None

    def press(self, key: str) -> bool:
        """One key; True if it ends `top`."""
        if self._key and not self._key.done():
            self._key.set_result(None)  # any key goes back to the table
            return False
        if self._asked:
            (verb, name), self._asked = self._asked, None
            self._view.message = ""
            if key == "y":
                self._begin(verb, name)
            return False
        self._view.message = ""
        match key:
            case "q":
                return True
            case "up" | "down":
                self._view.move(1 if key == "down" else -1)
            case "<" | ">":
                self._view.resort(1 if key == ">" else -1)
            case "r":
                self._view.reverse = not self._view.reverse
            case _ if key in _SHOWN or key in _DONE:
                self._about_worker(key)
        return False

    def _about_worker(self, key: str) -> None:
        name = self._view.chosen
        if not name:
            self._view.message = "choose a worker first: arrow keys, or j and k"
        elif key in _SHOWN:
            self.wanted = (_SHOWN[key], name)
        else:
            self._asked = (key, name)
            self._view.message = f"{_DONE[key][0]} {name}? y: yes, any other key: no"

    def _begin(self, key: str, name: str) -> None:
        task = asyncio.ensure_future(self._do(key, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, key: str, name: str) -> None:
        verb, going_on, done = _DONE[key]
        self._view.message = f"{going_on} {name} …"
        try:
            async with await Client.connect(current.socket()) as manager:
                [result] = await getattr(manager, verb)([name])
            self._view.message = f"{name} {done}" if result.ok else as_error(result).message
        except ZygoteError as error:
            self._view.message = error.message
        self._changed()

    async def show(self, screen: Console, keyboard: Keyboard) -> None:
        """Run the wanted command on the whole terminal, until a key is pressed after it."""
        assert self.wanted
        (command, name), self.wanted = self.wanted, None
        more = ["-n", str(max(5, screen.height - 3))] if command == "logs" else []
        screen.clear()
        words = [*_ourselves(), command, *more, name]
        self._child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.DEVNULL)
        try:
            await self._child.wait()
        finally:
            self._child = None
        back = "any key: back to the table" if keyboard.fd >= 0 else ""
        screen.print(f"[{command} {name}] {back}", style="dim")
        self._key = asyncio.get_running_loop().create_future()
        if keyboard.fd >= 0:
            await self._key
        self._key = None

    def interrupt(self) -> bool:
        """Ctrl-C: whether there was something of ours that it ended."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGINT)
            return True
        if self._key and not self._key.done():
            self._key.set_result(None)
            return True
        return False

    async def close(self) -> None:
        """What was asked of the manager goes on without us."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _ourselves() -> list[str]:
    """The command line for another command on the same fleet."""
    words = [sys.executable, "-P", "-m", "zygote.cli", "--runtime-dir", str(current.runtime_dir())]
    with contextlib.suppress(ZygoteError):
        words += ["--fleet", str(current.fleet_file())]
    return words
