"""The descriptor that libffi keeps, and trusts: out of the way, and never closed.

Facts about libffi (ctypes calls C, and is called by it, with its help), as newer builds have it
(3.8 in Debian sid; static trampolines, a choice of its build):

- When `_ctypes` is loaded it opens its own library, and keeps the number. About a hundred
  callbacks later it maps one more page of code from that number, whatever is behind it by then.
  Closed, a callback ends in MemoryError; taken by another file, in that file's bytes as code.
- The number is the lowest that is free, and cannot be changed. A worker's sockets begin at 3.

So a zygote imports this module before any that imports ctypes. Where libffi opens nothing, there
is nothing to keep.
"""

from __future__ import annotations

import contextlib
import os
import sys

from zygote.sys import fds

_PLACE = 200
"""The number that libffi is to get, about; beyond those of a worker's sockets."""


_ROOM = 8
"""Descriptors that loading it may take, where no more may be open than is low."""


def is_its_own(target: str) -> bool:
    """Whether an open file is the library."""
    return target.rpartition("/")[2].startswith("libffi")


def _take_low_numbers() -> list[int]:
    taken: list[int] = []
    with contextlib.suppress(OSError):  # no more files may be open
        taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        while taken[-1] < _PLACE - 1:
            taken.append(os.dup(taken[0]))
    if taken and taken[-1] < _PLACE - 1:  # room for what loads the library, and what that opens
        fds.close(taken[-_ROOM:])
        del taken[-_ROOM:]
    return taken


def _keep_its_own() -> None:
    """A low number is left to the worker's sockets: somebody else has loaded it."""
    for number, target in fds.open_fds().items():
        if number >= _place and is_its_own(target):
            fds.spare((number,))


_taken = _take_low_numbers() if "_ctypes" not in sys.modules else []
_place = min(_PLACE, _taken[-1] + 1 if _taken else _PLACE)
try:
    import _ctypes  # noqa: F401
finally:
    fds.close(_taken)
_keep_its_own()
