"""A process that is measured: it imports what we say, and waits while we read /proc about it.

`Cold` is a fresh interpreter, `Clone` a copy of a running zygote, made by its manager. In both
runs `zygote.inspect.probe`, which says how the two talk.
"""

from __future__ import annotations

import ast
import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from zygote.client.wire import Wire
from zygote.errors import ZygoteError
from zygote.inspect import probe
from zygote.inspect.memory import explained
from zygote.sys import procfs

TIMEOUT = 300.0
"""Seconds that one import may take."""

SOURCE = Path(probe.__file__).read_text()


class Subject:
    """What both have; a context manager that leaves no process behind.

    Attributes:
        pid: of the process.
    """

    pid = 0
    _ask = _answer = -1
    _rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._ask, self._answer):
            if descriptor >= 0:
                os.close(descriptor)
        self._ask = self._answer = -1

    def ask(self, verb: str, *names: str, timeout: float = TIMEOUT) -> tuple[Any, ...]:
        """Have it do something; what it answered, without the verb.

        Raises:
            ZygoteError: "import-failed": an import raised; "subject-died"; "subject-hangs".
        """
        about = " ".join(names) or verb
        try:
            os.write(self._ask, " ".join((verb, *names)).encode() + b"\n")
            said = self._line(about, timeout)
        except BrokenPipeError:
            raise self._died(about) from None
        if said[0] == "error":
            _, kind, text, trace = said
            hint = trace.strip().splitlines()[-1] if not text else "import it by itself to see why"
            if kind == "ModuleNotFoundError":
                hint = "install it for that interpreter (--python), or say where it lies (--cwd)"
            error = ZygoteError(
                f"cannot import {about}: {kind}: {text}", code="import-failed", hint=hint
            )
            error.add_note(trace)
            raise error
        return said[1:]

    def memory(self) -> procfs.Memory:
        """Its memory at this moment.

        Raises:
            ZygoteError: it is gone, or another user's.
        """
        with explained(self.pid):
            memory = procfs.read_memory(self.pid)
        if memory is None:
            raise self._died("memory")
        return memory

    def threads(self) -> int:
        """How many threads it has."""
        stat = procfs.read_stat(self.pid)
        return stat.threads if stat else 0

    def fds(self) -> tuple[int, int]:
        """How many descriptors it has open, ours for the talk not counted, and how many sockets."""
        open_ones = [_target(entry) for entry in Path(f"/proc/{self.pid}/fd").iterdir()]
        return len(open_ones) - self._own_fds, sum(t.startswith("socket:") for t in open_ones)

    _own_fds = 0

    def _line(self, about: str, timeout: float) -> tuple[Any, ...]:
        deadline = time.monotonic() + timeout
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._answer], [], [], deadline - time.monotonic())
            if not ready:
                raise ZygoteError(
                    f"{about}: not done within {timeout:g} s",
                    code="subject-hangs",
                    hint=f"python -X importtime -c 'import {about}' shows where it hangs",
                )
            more = os.read(self._answer, 1 << 20)
            if not more:
                raise self._died(about)
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        said: tuple[Any, ...] = ast.literal_eval(line.decode())
        return said

    def _died(self, about: str) -> ZygoteError:
        return ZygoteError(
            f"the measured process ended at: {about}{self._last_words()}",
            code="subject-died",
            hint="does that module end the interpreter when it is imported?",
        )

    def _last_words(self) -> str:
        return ""


class Cold(Subject):
    """A fresh interpreter.

    Args:
        python: the interpreter.
        cwd: its folder, which is also the first of its sys.path.
        env: its environment; bytecode is always written.
    Attributes:
        ready_s: seconds from its start until it could import.
    Raises:
        ZygoteError: it cannot be started.
    """

    _own_fds = 2

    def __init__(
        self, python: str, cwd: str | None = None, env: Mapping[str, str] = os.environ
    ) -> None:
        their_ask, self._ask = os.pipe()
        self._answer, their_answer = os.pipe()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        passed = (their_ask, their_answer)
        self._process: subprocess.Popen[bytes] | None = None
        began = time.monotonic()
        try:
            self._process = subprocess.Popen(
                [python, "-c", SOURCE, *map(str, passed)],
                pass_fds=passed, cwd=cwd, env=without_bytecode_switch(env), process_group=0,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._errors,
            )  # fmt: skip
        except OSError as error:
            self.__exit__()
            raise ZygoteError(
                f"cannot start {python} in {cwd or os.curdir}: {error.strerror}",
                code="no-interpreter",
                hint="--python names an interpreter, --cwd a folder",
                errno=error.errno or 0,
            ) from None
        finally:
            os.close(their_ask)
            os.close(their_answer)
        self.pid = self._process.pid
        try:
            self._line("start", TIMEOUT)
        except BaseException:
            self.__exit__()
            raise
        self.ready_s = time.monotonic() - began

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        if self._process:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _last_words(self) -> str:
        if self._process is None:
            return ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        status = f" (exit status {self._process.returncode})"
        return status + (f": {lines[-1]}" if lines else "")


class Clone(Subject):
    """A copy of a running zygote: what it imports is paid for as a worker would pay.

    Args:
        control: the manager's control socket.
        zygote: its name.
        cwd: folder of the clone, the first of its sys.path.
    Raises:
        ZygoteError: the manager does not answer, does not allow it, or cannot make one.
    """

    def __init__(self, control: Path, zygote: str, cwd: str) -> None:
        their_ask, self._ask = os.pipe()
        self._answer, their_answer = os.pipe()
        errors = os.open(os.devnull, os.O_WRONLY)
        self._wire: Wire | None = None
        try:
            self._wire = Wire(control)
            self._wire.send(
                "Run",
                {
                    "zygote": zygote, "kind": "command", "target": SOURCE, "args": ["0", "1"],
                    "env": without_bytecode_switch(os.environ), "cwd": cwd, "umask": 0o077,
                    "stdin": 0, "stdout": 1, "stderr": 2,
                },
                [their_ask, their_answer, errors],
            )  # fmt: skip
            while not self.pid:
                for report in self._wire.receive():
                    self.pid = report.get("pid") or self.pid
            os.close(their_answer)
            their_answer = -1
            self._line("start", TIMEOUT)
        except BaseException:
            super().__exit__()
            if self._wire:
                self._wire.close()
            raise
        finally:
            for descriptor in (their_ask, their_answer, errors):
                if descriptor >= 0:
                    os.close(descriptor)

    def __exit__(self, *_: object) -> None:
        super().__exit__()  # it reads the end, and ends
        wire, self._wire = self._wire, None
        if wire:
            with contextlib.suppress(ZygoteError), contextlib.closing(wire):
                while not any(_is_end(report) for report in wire.receive()):
                    pass


def without_bytecode_switch(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which modules are compiled once, not at each import."""
    return {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _is_end(report: dict[str, Any]) -> bool:
    return report.get("code") is not None or bool(report.get("signal"))


def _target(entry: Path) -> str:
    try:
        return os.readlink(entry)  # noqa: PTH115 - "socket:[1]" is no path
    except OSError:
        return ""
