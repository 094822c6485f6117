"""Rules `socket` and `fd`: a worker has copies of all descriptors, for the same open files.

A connection would be talked on by two processes at once; a file's offset and locks would be
shared; an epoll or inotify would report to whoever reads first. (A worker closes what it does not
need, but the floor's objects would go on believing in their numbers, which by then may name
something else.)
"""

from __future__ import annotations

from zygote.audit.blame import Ledger
from zygote.audit.report import Finding
from zygote.sys.fds import open_fds

_WHY_SOCKET = "a connection or listener made here would be one for all workers"
_WHY_FD = "workers lose it, while the objects that hold its number do not know"


def look(link_fd: int, ledger: Ledger) -> list[Finding]:
    """One finding for each descriptor besides stdio and the link."""
    found = []
    for number, target in sorted(open_fds().items()):
        if number <= 2 or number == link_fd:
            continue
        socket = target.startswith("socket:")
        found.append(
            Finding(
                "socket" if socket else "fd",
                f"{'socket' if socket else target} (fd {number})",
                _WHY_SOCKET if socket else _WHY_FD,
                "open it in the worker, not while importing or warming up, or close it again",
                ledger.fds.get((number, target), ""),
            )
        )
    return found
