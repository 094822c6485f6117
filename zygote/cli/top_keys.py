"""Keys of a terminal, one by one: without Enter, and not shown."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from typing import Any

_NAMED = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": ">", "\x1b[D": "<", "\x1bOA": "up",
          "\x1bOB": "down", "\x1bOC": ">", "\x1bOD": "<", "k": "up", "j": "down",
          "\x1b": "escape", "\x03": "q"}  # fmt: skip
_KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)?|.", re.DOTALL)


class Keyboard:
    """stdin, if it is a terminal; a context that gives it back as it was.

    Attributes:
        fd: to wait on; -1 if there is no keyboard.
    """

    def __init__(self) -> None:
        self.fd = -1
        self._before: list[Any] = []

    def __enter__(self) -> Keyboard:
        if sys.stdin and sys.stdin.isatty():
            self.fd = sys.stdin.fileno()
            self._before = termios.tcgetattr(self.fd)
            self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def take(self) -> None:
        """Keys come to us."""
        if self.fd >= 0:
            tty.setcbreak(self.fd)

    def release(self) -> None:
        """The terminal is as it was, for another program."""
        if self.fd >= 0:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)

    def read(self) -> list[str]:
        """Keys that wait, by name: "up", "down", "escape", "end of input", else the letter."""
        try:
            data = os.read(self.fd, 1024)
        except OSError:
            data = b""
        if not data:
            return ["end of input"]
        return [_NAMED.get(key, key) for key in _KEY.findall(data.decode(errors="replace"))]
