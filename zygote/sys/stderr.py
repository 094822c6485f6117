"""A line to stderr, from where nothing may fail or wait because of it.

stderr may be a file on a full disk (ENOSPC), a pipe whose reader left (EPIPE) or is slow, a journal
that hangs. `print` then raises or waits, and keeps the text in its buffer, for whatever clone is
made next to write into a log of its own.

Facts (pipe(7), unix(7)): a pipe that polls as writable takes PIPE_BUF bytes at once, and so does a
stream socket, whose buffer is three quarters empty then. A file on a disk always polls as writable.
"""

from __future__ import annotations

import os
import select

_PIPE_BUF = select.PIPE_BUF


def say(text: str, stream: int = 2) -> bool:
    """Write a line, or as much of it as is taken at once; whether it was all of it.

    Args:
        text: the line, or several; without the last line's end.
        stream: descriptor.
    """
    data = text.encode(errors="backslashreplace") + b"\n"
    try:
        poll = select.poll()
        poll.register(stream, select.POLLOUT)
        while data:
            ready = poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            data = data[os.write(stream, data[:_PIPE_BUF]) :]
    except OSError:
        return False
    return True
