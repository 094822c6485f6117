"""What an interpreter does with an exception that nobody caught: show it, and say how to end."""

# ruff: noqa: PTH120
# Names are strings here, as `python` has them; path objects would be paid by each worker.

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

BY_SIGINT = -2
"""Not a status: the process ends by SIGINT, so that its caller sees an interrupt."""

_FAILED = 1
_OURS = os.path.dirname(__file__) + os.sep


def handle(error: BaseException) -> int:
    """Show an exception, or obey it if it is SystemExit.

    Returns:
        An exit status from 0 to 255, or BY_SIGINT.
    """
    if isinstance(error, SystemExit):
        return _exit_status(error)
    error.__traceback__ = trace = without_ours(error.__traceback__)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    status = _show(error)
    if status is not None:
        return status
    return BY_SIGINT if type(error) is KeyboardInterrupt else _FAILED


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback that begins where the program does, and has no frame of ours in it."""
    first = last = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OURS):
            if last is None:
                first = trace
            elif last.tb_next is not trace:
                last.tb_next = trace
            last = trace
        trace = trace.tb_next
    return first


def _exit_status(error: SystemExit) -> int:
    code: Any = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(2**63) <= code < 2**63 else 0xFF
    _say(f"{code}\n")
    return _FAILED


def _show(error: BaseException) -> int | None:
    """By sys.excepthook; a status if that one exits."""
    hook: Any = getattr(sys, "excepthook", None)
    if not hasattr(sys, "excepthook"):
        _say("sys.excepthook is missing\n")
        _display(error)
        return None
    try:
        hook(type(error), error, error.__traceback__)
    except SystemExit as exit:
        return _exit_status(exit)
    except BaseException as second:
        _say("Error in sys.excepthook:\n")
        second.__context__ = None
        second.__traceback__ = without_ours(second.__traceback__)
        _display(second)
        _say("\nOriginal exception was:\n")
        _display(error)
    return None


def _display(error: BaseException) -> None:
    sys.__excepthook__(type(error), error, error.__traceback__)


def _say(text: str) -> None:
    if sys.stderr is not None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            pass
