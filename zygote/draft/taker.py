"""What all readers of other managers' files do alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zygote.draft.command import Command, Refused, place_below, read_line
from zygote.draft.model import Draft, Worker
from zygote.errors import ZygoteError, describe_errno
from zygote.fleet.explain import validate
from zygote.fleet.problems import Problems
from zygote.fleet.schema import WorkerTable, ZygoteTable

NOT_PYTHON = "it shares nothing with Python programs; leave it to its present manager"
LOGS = "each worker has a log of its own: `logs NAME`, log_dir in [fleet]"
OURS = "this manager has its own: `help fleet-file`"


class Taker:
    """One file on its way into a draft.

    Args:
        path: the file.
        home: the folder in which the fleet file will stand.
    """

    def __init__(self, path: Path, home: Path, name: str) -> None:
        self.path, self.home = path, home
        self.draft = Draft(name, path.name)
        self.draft.said.append(
            f"Made of {path.name}; what could not be carried over is at the end."
        )
        self._python = ""

    def place(self, line: int) -> str:
        """`supervisord.conf:12`."""
        return f"{self.path.name}:{line}"

    def lose(self, line: int, what: str, why: str) -> None:
        """Note what is not carried over."""
        self.draft.lose(self.place(line), what, why)

    def put(self, worker: Worker, key: str, value: Any, line: int, what: str) -> None:
        """Set a key, if the fleet file takes that value."""
        if why := refusal(key, value):
            self.lose(line, what, why)
        else:
            worker.keys[key] = value

    def command(
        self, worker: Worker, line: str, number: int, *, folder: Path | None = None,
        shell: bool = False, words: Command | None = None,
    ) -> None:  # fmt: skip
        """Make a command line the worker's program; one that cannot be is written as a comment."""
        folder = folder or self.home
        try:
            found = words or read_line(line, folder, shell=shell)
        except Refused as refused:
            self.off(worker, line, number, str(refused))
            return
        for what, why in found.dropped:
            self.lose(number, what, why)
        if "/" in found.run:
            found.run = place_below(found.run, folder, self.home)
        self._interpreter(found.python, number, folder)
        found.into(worker)
        worker.folder = folder

    def off(self, worker: Worker, line: str, number: int, why: str) -> None:
        """The worker cannot be carried over."""
        worker.off = why
        worker.keys = {"run": line, **worker.keys}
        self.lose(number, f"{worker.name}: {line}", why)

    def _interpreter(self, python: str, line: int, folder: Path) -> None:
        """The interpreter that a command names: the zygote's, where there is one like that."""
        if not python or self._python == python:
            return
        full = folder / python
        if not full.exists():
            self.lose(line, python, "there is no such interpreter here: the manager's own is used")
        elif self._python:
            self.lose(line, python, f"all share one floor, of {self._python}")
        else:
            self._python = python
            self.draft.zygote["python"] = python if full == Path(python) else str(full)
            self.draft.zygote_said.append(
                "python: the interpreter that the commands name. It needs the package zygote-fleet."
            )


def refusal(key: str, value: Any, *, zygote: bool = False) -> str:
    """Why a value cannot stand in a fleet file; "": it can."""
    problems = Problems("", "", {})
    validate(ZygoteTable if zygote else WorkerTable, {key: value}, ("worker", "x"), problems)
    errors = problems.errors()
    if not errors:
        return ""
    fault = errors[0].message.rpartition(": ")[2]
    return f"{fault}; {errors[0].hint}" if errors[0].hint else fault


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        ZygoteError: code cannot-read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ZygoteError(
            f"cannot read {path}: {describe_errno(error.errno or 0)}",
            code="cannot-read",
            hint="name a supervisord.conf, Procfile, circus.ini, gunicorn.conf.py or *.service",
            errno=error.errno or 0,
        ) from None
    return data.decode("utf-8", errors="replace")
