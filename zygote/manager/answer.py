"""How the start-up ended, told to whoever started us: as JSON on --ready-fd, as text on stderr."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from typing import Any

from zygote.control.interface import Result
from zygote.errors import ZygoteError


class Answer:
    """One line to a descriptor, at most once.

    Args:
        ready_fd: owned; -1 if nobody asked.
    """

    def __init__(self, ready_fd: int) -> None:
        self._fd = ready_fd

    def accept(self, pid: int, runtime_dir: str, control: str, results: list[Result]) -> None:
        """The fleet runs; of the first workers those are named that could not be started."""
        failed = [asdict(result) for result in results if not result.ok]
        self._write({"ok": True, "pid": pid, "runtime_dir": runtime_dir, "control": control,
                     "failed": failed})  # fmt: skip

    def refuse(self, error: ZygoteError) -> int:
        """The fleet does not start: all that is wrong, in full. Returns the exit code."""
        errors: list[ZygoteError] = getattr(error, "errors", [error])
        for each in errors:
            place = f"{each.place}: " if each.place and each.place not in each.message else ""
            lines = [_traceback(each).rstrip(), f"zygote-manager: {place}{each.message}"]
            lines.append(f"  hint: {each.hint}" if each.hint else "")
            _print("\n".join(line for line in lines if line) + "\n")
        self._write({"errors": [each.as_dict() | {"traceback": _traceback(each)}
                                for each in errors]})  # fmt: skip
        return error.exit_code

    def _write(self, line: dict[str, Any]) -> None:
        if self._fd < 0:
            return
        descriptor, self._fd = self._fd, -1
        try:
            with open(descriptor, "w") as out:
                out.write(json.dumps(line) + "\n")
        except OSError:
            pass  # who asked is gone


def _print(text: str) -> None:
    """To stderr, past Python's buffer: a full disk there must not cost the answer."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))


def _traceback(error: ZygoteError) -> str:
    """Of the user's code, where a bake failed on it."""
    return str(error.args[1]) if len(error.args) > 1 else ""
