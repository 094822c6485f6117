"""Start an interpreter that audits a program, and hear what it finds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from zygote.errors import Exit, ZygoteError

_PROBE = Path(__file__).resolve().parents[1] / "audit" / "__main__.py"
_LOOK = 60.0
"""Seconds for the look itself, which is ours: it takes less than one."""
_DEAD_AFTER = 5.0
"""Seconds for a process that has answered, or hung up, to be gone."""


@dataclass
class Target:
    """What is audited in one interpreter.

    Attributes:
        name: of the zygote of a fleet, or "".
        path: folders put into sys.path, right after cwd.
        allow: rule -> reason.
    """

    modules: list[str]
    warm: list[str] = field(default_factory=list)
    python: str = ""
    cwd: str = ""
    name: str = ""
    path: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    allow: dict[str, str] = field(default_factory=dict)


class Limits(NamedTuple):
    """How long, in seconds, imports and warm-ups may take, and a fork."""

    work: float
    fork: float


def probe(target: Target, limits: Limits, tell: Callable[[str], None]) -> dict[str, Any]:
    """Audit; returns what `zygote.audit.probe.run` gives.

    Args:
        limits: that are not the program's to exceed.
        tell: called with what is going on.
    Raises:
        ZygoteError: exit code USAGE; codes "no-interpreter", "audit-import" (its `traceback` is
            that of the program), "audit-died", "audit-timeout".
    """
    ours, theirs = socket.socketpair()
    python = target.python or sys.executable
    cwd = target.cwd or os.getcwd()  # noqa: PTH109
    with ours, theirs:
        try:
            process = subprocess.Popen(
                [python, str(_PROBE), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=2, stderr=2, cwd=cwd, start_new_session=True,
                pass_fds=[theirs.fileno()], env={**os.environ, **target.env},
            )  # fmt: skip
        except OSError as error:
            raise _error(
                f"cannot start {python} in {cwd}: {error.strerror}", "no-interpreter",
                "--python names an interpreter, --cwd a folder",
            ) from None  # fmt: skip
        theirs.close()
        try:
            order = {
                "modules": target.modules, "warm": target.warm, "cwd": cwd, "path": target.path,
                "fork_patience": limits.fork,
            }  # fmt: skip
            with contextlib.suppress(BrokenPipeError):  # it ended at once: told below
                ours.sendall(json.dumps(order).encode() + b"\n")
            return _converse(ours, process, limits, tell)
        finally:
            _end(process)


def _converse(
    channel: socket.socket, process: subprocess.Popen[bytes], limits: Limits,
    tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    deadline, stage, held = time.monotonic() + limits.work, "start", b""
    while True:
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            more = channel.recv(1 << 16)
        except TimeoutError:
            raise _error(
                f"{stage}: not done within {limits.work:g} s", "audit-timeout",
                "see what waits there (a server that is started at import?), or give --timeout",
            ) from None  # fmt: skip
        except ConnectionResetError:
            more = b""
        if not more:
            raise _died(process, stage)
        *lines, held = (held + more).split(b"\n")
        for line in lines:
            parts = json.loads(line)
            if "result" in parts:
                return dict(parts["result"])
            if "error" in parts:
                said = parts["error"]
                error = _error(said["message"], "audit-import", said["hint"])
                error.traceback = said["traceback"]  # type: ignore[attr-defined]
                raise error
            stage = f"{parts['stage']} {parts['detail']}"
            if parts["stage"] == "look":
                deadline = time.monotonic() + _LOOK + 2 * limits.fork
            tell(f"{parts['stage']}: {parts['detail']}")


def _died(process: subprocess.Popen[bytes], stage: str) -> ZygoteError:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_DEAD_AFTER)
    code = process.returncode
    how = "closed the channel" if code is None else f"ended with exit code {code}"
    if code is not None and code < 0:
        how = f"died of {signal.Signals(-code).name}"
    return _error(
        f"{stage}: the interpreter {how}", "audit-died",
        "what is imported must not end the process: guard it by if __name__ == '__main__'; "
        "the interpreter must be CPython 3.11 or later",
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    """It ends by itself when it has answered; what it has started does not."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if process.poll() is None:
            process.wait(0.2)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_DEAD_AFTER)


def _error(message: str, code: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code=code, hint=hint, step="audit", exit_code=Exit.USAGE)
