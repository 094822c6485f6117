"""`zygotectl` as a user has it: a process with pipes, or with a terminal of its own."""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE = 100.0
"""Seconds that anything may take on a slow, crowded machine before the test fails."""

COMMAND = (sys.executable, "-m", "zygote.cli")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Commands in one folder, with the fleet.toml in it."""

    folder: Path

    def env(self, **more: str) -> dict[str, str]:
        dull = {"NO_COLOR", "COLUMNS", "LINES", "PYTHONUNBUFFERED"}
        kept = {name: value for name, value in os.environ.items() if name not in dull}
        return {**kept, "TERM": "xterm-256color", **more}

    def run(self, *argv: str, stdin: str = "", **env: str) -> Done:
        """Any command, to its end."""
        done = subprocess.run(
            argv, cwd=self.folder, env=self.env(**env), input=stdin,
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def __call__(self, *words: str, code: int | None = 0, stdin: str = "", **env: str) -> Done:
        """Run one to its end; `code` is what it must end with, None: whatever."""
        found = self.run(*COMMAND, *words, stdin=stdin, **env)
        if code is not None:
            assert found.code == code, f"{' '.join(words)}: {found}"
        return found

    def start(self, *words: str, **keys: Any) -> subprocess.Popen[str]:
        """Start one with pipes; the caller ends it."""
        keys.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(
            [*COMMAND, *words], cwd=self.folder, env=self.env(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **keys,
        )  # fmt: skip

    def terminal(self, *words: str, **keys: Any) -> Terminal:
        """Start one on a terminal of its own; use it as a context. `env`: variables to add."""
        env = self.env(**keys.pop("env", {}))
        return Terminal([*COMMAND, *words], self.folder, env, **keys)


class Terminal:
    """A process that leads the foreground group of a terminal whose other side is ours.

    Attributes:
        seen: all that it has shown so far.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, env: dict[str, str],
        *, rows: int = 24, columns: int = 80,
    ) -> None:  # fmt: skip
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.status: int | None = None
        ours, theirs = pty.openpty()
        self._fd = ours
        self.resize(rows, columns)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ours)
                os.login_tty(theirs)
                os.chdir(folder)
                os.execve(command[0], list(command), env)
            finally:
                os._exit(127)
        os.close(theirs)
        os.set_blocking(ours, False)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.status is None or os.WIFSTOPPED(self.status):
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE
            while self._reap(0) is None and time.monotonic() < deadline:
                if not self._read(0.02):
                    time.sleep(0.01)
            if self.status is None:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self._fd)

    def resize(self, rows: int, columns: int) -> None:
        """As a user who drags the window's corner."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        """Press keys: "\\x03" is Ctrl-C."""
        os.write(self._fd, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait until something is shown after what was expected before."""

        def look() -> re.Match[str] | None:
            return re.search(pattern, self.seen[self._at :])

        found = self.until(look, f"{pattern!r} was never shown")
        self._at += found.end()
        return found

    _at = 0
    _over = False

    def until(self, look: Callable[[], Any], otherwise: str) -> Any:
        """Wait until `look` gives something true, reading on meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, f"{otherwise}; seen:\n{self.seen}"
            if not self._read(0.02):
                time.sleep(0.01)
        return found

    def wait(self) -> int:
        """Until it has ended, and all that it wrote is in `seen`; its `wait` status."""
        self.until(lambda: self._reap(0) is not None, "it did not end")
        # The kernel hands on what was written a moment later. The end comes when nobody has the
        # other side open any more; one whom it left behind may: so, no longer than it is quiet.
        while not self._over and self._read(3.0):
            pass
        assert self.status is not None
        return self.status

    def wait_stopped(self) -> int:
        """Until it is stopped; by which signal."""
        self.until(lambda: self._reap(os.WUNTRACED) is not None, "it was not stopped")
        status, self.status = self.status, None
        assert status is not None and os.WIFSTOPPED(status), status
        return os.WSTOPSIG(status)

    def _reap(self, options: int) -> int | None:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG | options)
            self.status = status if pid else None
        return self.status

    def _read(self, timeout: float) -> bool:
        """Take what is there, or comes within so many seconds; False where nothing came."""
        ready, _, _ = select.select([self._fd], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            self._over = True
            return False
        self.seen += self._decoder.decode(data)
        return True


def plain(text: str) -> str:
    """What is left of a screen without its terminal sequences."""
    return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-_])", "", text)


def beside_memory(text: str) -> list[str]:
    """Warnings but for those of too little free memory: how much is free is not ours to say."""
    return [line for line in text.splitlines() if "MB of memory" not in line]


def eventually(look: Callable[[], Any], otherwise: str = "it never came to pass") -> Any:
    """What `look` gives, as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)
    return found
