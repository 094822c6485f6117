"""A real pseudo-terminal with a person at it, who types on seeing something."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from collections.abc import Callable

from tests.support.forkserver import DEADLINE


def converse(
    start: Callable[[int], None], turns: list[tuple[bytes, bytes]], size: tuple[int, int]
) -> bytes:
    """What a program shows on a terminal until nobody has it open any more.

    Args:
        start: starts the program, given the terminal's descriptor, which stays ours.
        turns: what is waited for, and what is then typed.
        size: rows and columns.
    """
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    left = list(turns)
    shown, since = b"", 0
    try:
        start(theirs)
        os.close(theirs)
        theirs = -1
        while True:
            while left and left[0][0] in shown[since:]:
                since = len(shown)
                os.write(ours, left.pop(0)[1])
            ready, _, _ = select.select([ours], [], [], DEADLINE)
            assert ready, f"nothing more comes; it showed {shown!r}, left is {left}"
            try:
                shown += os.read(ours, 65536)
            except OSError:  # EIO: it is closed
                return shown
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
