"""A stream to systemd-journald for each worker, under an identifier of its own.

The protocol is that of sd_journal_stream_fd(3): connect to /run/systemd/journal/stdout, send a
header of seven lines, and whatever is written from then on is a log line. The descriptor becomes
the worker's stdout and stderr, so nothing passes through the manager, and its end breaks nothing.
journald takes pid, unit and cgroup of each line from the sender itself (SCM_CREDENTIALS), so
`journalctl _PID=` and `-u` are the worker's too. `<3>` in front of a line is its priority.
"""

from __future__ import annotations

import os
import socket
import stat

_PATH = "/run/systemd/journal/stdout"
_INFO = 6
_ROOM = 8 << 20


def open_stream(identifier: str) -> int:
    """A descriptor to write lines to; the caller's, close-on-exec.

    Args:
        identifier: what `journalctl -t` finds.
    Raises:
        OSError: ENOENT or ECONNREFUSED, no journald here.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect(_PATH)
        sock.shutdown(socket.SHUT_RD)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _ROOM)
        # identifier, unit (journald knows it), priority, prefixes are read, and three times
        # "do not forward": to syslog, to the kernel's log, to the console.
        sock.sendall(f"{identifier}\n\n{_INFO}\n1\n0\n0\n0\n".encode())
        return sock.detach()


def stream_name(descriptor: int) -> str:
    """JOURNAL_STREAM, by which a program knows that its stderr is the journal; "" for a file."""
    info = os.fstat(descriptor)
    return f"{info.st_dev}:{info.st_ino}" if stat.S_ISSOCK(info.st_mode) else ""
