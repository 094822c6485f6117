"""One error shape for the whole product, and the exit codes that the command line gives.

An error says its subject and fault (`message`), what follows from it (`consequence`), and the
way out (`hint`). Where it came from a step of a spawn it also carries `step` and `errno`; where
it came from a file, `place` ("fleet.toml:31").
"""

from __future__ import annotations

import errno as errno_names
import os
from typing import Any


class Exit:
    """Exit codes of `zygotectl` and `decnetctl`; `zygotectl help exit-codes` prints them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    NO_SUCH_WORKER = 4
    NOT_ALLOWED = 5
    NO_MANAGER = 6
    FLEET_FILE = 7
    INTERRUPTED = 130


class ZygoteError(Exception):
    """An error with the parts that a person and a script both need.

    Args:
        message: subject and fault, one line, no full stop: "cannot start 'web': port taken".
        code: stable machine name, lower-case with dashes: "port-taken".
        hint: the way out, one line, or "".
        place: "FILE:LINE" where a file is at fault, or "".
        step: the step of a spawn or a bake that failed, or "".
        errno: the errno of the system call that failed, or 0.
        exit_code: what a command ends with, one of `Exit`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "failed",
        hint: str = "",
        place: str = "",
        step: str = "",
        errno: int = 0,
        exit_code: int = Exit.FAILED,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
        self.place = place
        self.step = step
        self.errno = errno
        self.exit_code = exit_code

    def as_dict(self) -> dict[str, Any]:
        """The same parts as a JSON object (keys are stable)."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "place": self.place,
            "step": self.step,
            "errno": self.errno,
            "errno_name": errno_name(self.errno),
            "exit_code": self.exit_code,
        }

    @classmethod
    def from_dict(cls, parts: dict[str, Any]) -> ZygoteError:
        """The inverse of `as_dict`; unknown keys are ignored, missing ones take their default."""
        return cls(
            str(parts.get("message", "unknown error")),
            code=str(parts.get("code", "failed")),
            hint=str(parts.get("hint", "")),
            place=str(parts.get("place", "")),
            step=str(parts.get("step", "")),
            errno=int(parts.get("errno", 0)),
            exit_code=int(parts.get("exit_code", Exit.FAILED)),
        )


def errno_name(number: int) -> str:
    """`EPERM` for 1; "" for 0; the number itself where it has no name."""
    if not number:
        return ""
    return errno_names.errorcode.get(number, str(number))


def describe_errno(number: int) -> str:
    """`Operation not permitted (EPERM)` for 1, "" for 0."""
    return f"{os.strerror(number)} ({errno_name(number)})" if number else ""
