"""At which line a thread, descriptor or process was made: for the tool, not for a bake.

An audit hook (PEP 578) hears of them, and can never be taken out of a process again: a zygote and
its workers would pay for it for ever, the interpreter of `zygotectl audit` ends. Native code that
makes them without asking Python is not heard.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

_KINDS = {
    "_thread.start_new_thread": "thread",  # in 3.12
    "_thread.start_joinable_thread": "thread",
    "socket.__new__": "socket",
    "subprocess.Popen": "child",
    "os.fork": "child",
    "os.posix_spawn": "child",
    "open": "file",
    "sqlite3.connect": "file",
}


class Sites:
    """Lines of the module whose import made something, since the last `take`.

    Args:
        running: gives that module; "" while none is imported.
        folder: paths below it are told as seen from there.
    """

    def __init__(self, running: Callable[[], str], folder: str) -> None:
        self._running, self._folder = running, os.path.join(folder, "")  # noqa: PTH118
        self._heard: list[tuple[str, str, str]] = []
        self._on = True
        sys.addaudithook(self._hear)
        if sys.version_info < (3, 12):  # it tells nobody of threads
            self._hear_threads()

    def take(self) -> list[tuple[str, str, str]]:
        """(kind, path of a file or "", line) of what was made meanwhile."""
        heard, self._heard = self._heard, []
        return heard

    def stop(self) -> None:
        """Hear no more."""
        self._on = False

    def _hear_threads(self) -> None:
        threads: Any = threading
        start = threads._start_new_thread

        def heard(*args: Any) -> Any:
            self._hear("_thread.start_new_thread", args)
            return start(*args)

        threads._start_new_thread = heard

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        kind = _KINDS.get(event)
        if kind is None or not self._on:
            return
        module = self._running().partition(":")[0]
        path = args[0] if kind == "file" and isinstance(args[0], str) else ""
        if not module or (kind == "file" and not path):
            return
        if sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
            return  # it reads the code of a module
        if line := self._line(module):
            self._heard.append((kind, path, line))

    def _line(self, module: str) -> str:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_globals.get("__name__") != module:
            frame = frame.f_back
        if frame is None:
            return ""
        return f"{frame.f_code.co_filename.removeprefix(self._folder)}:{frame.f_lineno}"


def pair(heard: Sequence[tuple[str, str, str]], kind: str, made: Sequence[int]) -> dict[int, str]:
    """thing -> line, where as many were heard of as there are; in the order of their numbers."""
    lines = [line for each, _, line in heard if each == kind]
    return dict(zip(sorted(made), lines, strict=True)) if len(lines) == len(made) else {}


def of_files(
    heard: Sequence[tuple[str, str, str]], made: Sequence[tuple[int, str]]
) -> dict[int, str]:
    """descriptor -> line, by the path that was opened last."""
    lines = {os.path.realpath(path): line for each, path, line in heard if each == "file"}
    return {number: lines[target] for number, target in made if target in lines}
