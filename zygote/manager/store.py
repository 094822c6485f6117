"""Sockets that a worker gave us for its next process: FDSTORE=1 of sd_notify(3).

They are handed to whatever is started for the worker next, beside it or after it, as LISTEN_FDS. So
a listening socket is open from the worker's first start to its stop: through restarts, crashes and
reloads, nobody is refused. When the worker is stopped, or has failed for good, they are closed.

A manager that was killed takes its copies with it. The next one gets them back from the workers
that live, by pidfd_getfd(2): the state file says which sockets they are (by inode). That takes the
right to trace the worker; where it is refused, the worker's next process binds for itself.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Any

from zygote.sys import pidfd as pidfds

OF_SOCKETS = frozenset(("FDSTORE", "FDSTOREREMOVE", "FDNAME", "FDPOLL"))
"""What a message about sockets has, besides all else that it may say."""
MOST = 16
"""Sockets of one worker."""
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


class Store:
    """The sockets of one worker, by name.

    Args:
        tell: called with an event and its detail.
    """

    def __init__(self, tell: Callable[[str, str], object]) -> None:
        self._tell = tell
        self._held: dict[str, int] = {}
        self.record: dict[str, int] = {}
        """Name -> inode, for the state file."""

    def keep(self, name: str, descriptor: int) -> None:
        """Keep a descriptor, which is ours from here on, or close it."""
        why = self._refusal(name, descriptor)
        if why:
            os.close(descriptor)
            self._tell("socket-refused", f"{name[:64]!r}: {why}")
            return
        self.drop(name)
        self._held[name] = descriptor
        self.record = {**self.record, name: os.fstat(descriptor).st_ino}
        self._tell("socket-kept", name)

    def drop(self, name: str) -> None:
        """Close one. Quiet if there is none."""
        descriptor = self._held.pop(name, -1)
        if descriptor >= 0:
            os.close(descriptor)
            self.record = {key: inode for key, inode in self.record.items() if key != name}

    def clear(self) -> None:
        """Close all."""
        for name in list(self._held):
            self.drop(name)

    def open_all(self) -> list[tuple[str, int]]:
        """Roles and descriptors for a spawn: copies, the caller's to close."""
        return [(f"listen:{name}", os.dup(held)) for name, held in self._held.items()]

    def hand_over(self) -> dict[str, int]:
        """The descriptors by name; they stay ours."""
        return dict(self._held)

    def take_over(self, held: Mapping[str, int]) -> None:
        """The same, of an earlier manager in this process."""
        for name, descriptor in held.items():
            os.set_inheritable(descriptor, False)
            self._held[name] = descriptor
            self.record = {**self.record, name: os.fstat(descriptor).st_ino}

    def recover(self, record: Mapping[str, Any], pid: int, pidfd: int) -> None:
        """Get back what an earlier manager had, from the process that has it, too."""
        wanted = {int(inode): name for name, inode in record.items()}
        if not wanted:
            return
        try:
            for number in map(int, os.listdir(f"/proc/{pid}/fd")):  # noqa: PTH208
                inode = _socket_of(pid, number)
                if inode not in wanted:
                    continue
                copy = pidfds.getfd(pidfd, number)
                if os.fstat(copy).st_ino == inode:
                    self.keep(wanted.pop(inode), copy)
                else:
                    os.close(copy)  # it closed that one, and opened another, just now
            why = "its process has it no more"
        except (OSError, ValueError) as error:
            why = str(error)
        if wanted:
            self._tell("socket-lost", f"{', '.join(wanted.values())}: {why}")

    def _refusal(self, name: str, descriptor: int) -> str:
        if not _NAME.fullmatch(name):
            return "FDNAME must be letters, digits and -_.@, at most 64"
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return "it is no socket"
        if name not in self._held and len(self._held) >= MOST:
            return f"there are {MOST} already"
        return ""


def _socket_of(pid: int, number: int) -> int:
    """The inode of a process's descriptor, if that is a socket; else 0."""
    try:
        link = os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115
    except FileNotFoundError:
        return 0  # the process goes on: it has closed it meanwhile
    return int(link[8:-1]) if link.startswith("socket:[") else 0
