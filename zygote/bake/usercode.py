"""Errors of the fleet owner's own code, with the traceback as its author wants to see it."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from zygote.errors import ZygoteError


class UserCodeError(ZygoteError):
    """Code of the fleet's owner raised, or could not be found.

    Args:
        traceback: as Python prints it, without the frames of the fork server; "" if none.
        parts: see `ZygoteError`.
    """

    def __init__(self, message: str, traceback: str, **parts: Any) -> None:
        super().__init__(message, **parts)
        self.traceback = traceback


def text_of(error: BaseException, *ours: str) -> str:
    """The whole traceback of an error and its causes, without frames of our files.

    Args:
        ours: files (`__file__`) whose frames say nothing to the reader.
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        at.__traceback__ = _without(at.__traceback__, ours)
        at = at.__cause__ or at.__context__
    return "".join(traceback.format_exception(error))


def _without(trace: TracebackType | None, files: tuple[str, ...]) -> TracebackType | None:
    kept = []
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in files and not name.startswith("<frozen importlib"):
            kept.append(trace)
        trace = trace.tb_next
    for frame in reversed(kept):
        trace = TracebackType(trace, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return trace
