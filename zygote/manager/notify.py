"""The server half of sd_notify(3): workers say READY=1, STATUS=… and WATCHDOG=1 here.

Who speaks is what the kernel says (SCM_CREDENTIALS), not what the message says: the process must
be a worker's main process, or belong to it by session or cgroup.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path

from zygote.manager import handed
from zygote.manager.children import Child, Children, try_stat

_DATAGRAM = 4096
_DATAGRAMS_A_TURN = 64
_CREDENTIALS = struct.Struct("3i")
_STATUS_LENGTH = 200
_HELD = 256
_HELD_FDS = 64


class NotifyServer:
    """Listens on a datagram socket, on the event loop.

    Args:
        heard: told of each message that came from a worker, as assignments, and of the descriptors
            that came along: it takes those that it wants off the list, the rest is closed.
        sock: the last manager's, bound to `path`; what was said meanwhile is in it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: Path,
        children: Children,
        heard: Callable[[Child, dict[str, str], list[int]], None],
        sock: socket.socket | None = None,
    ) -> None:
        self.path = path
        self._loop = loop
        self._children = children
        self._heard = heard
        self._held: deque[tuple[int, bytes, list[int]]] = deque()
        self._sock = sock or _bind(path)
        handed.keep(handed.NOTIFY, self._sock)
        loop.add_reader(self._sock, self._readable)

    def close(self) -> None:
        """Listen no more, and remove the socket file."""
        self._loop.remove_reader(self._sock)
        handed.drop(handed.NOTIFY)
        for _, _, fds in self._held:
            _close(fds)
        self._sock.close()
        self.path.unlink(missing_ok=True)

    def fileno(self) -> int:
        """Of the socket."""
        return self._sock.fileno()

    def hand_over(self) -> list[tuple[int, bytes, list[int]]]:
        """What was said by processes that are not known yet."""
        return list(self._held)

    def take_over(self, held: list[tuple[int, bytes, list[int]]]) -> None:
        """The same, of an earlier manager in this process."""
        self._held.extend(held)

    def retry(self) -> None:
        """A worker came up: what was said before we knew of it may have been its word."""
        held, self._held = self._held, deque()
        for pid, data, fds in held:
            self._take(pid, data, fds)

    def drain(self) -> None:
        """Read what has arrived: a worker's last words, before its end is handled."""
        self._readable()

    def _readable(self) -> None:
        room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * 253)
        # Bounded, so that a flood of messages leaves time for everything else.
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                data, ancillary, flags, _ = self._sock.recvmsg(
                    _DATAGRAM, room, socket.MSG_CMSG_CLOEXEC
                )
            except OSError:
                return
            pid, fds = _sender(ancillary)
            if pid and not flags & socket.MSG_TRUNC:
                self._take(pid, data, fds)
            else:
                _close(fds)

    def _take(self, pid: int, data: bytes, fds: list[int]) -> None:
        child = self._children.owner(pid)
        if child is None:
            self._hold(pid, data, fds)
            return
        try:
            if child.kind == "worker":
                self._heard(child, parse(data), fds)
        finally:
            _close(fds)

    def _hold(self, pid: int, data: bytes, fds: list[int]) -> None:
        """It may be a worker's that was quicker than the news of it."""
        if fds:
            held = sum(len(each) for _, _, each in self._held)
            stat = try_stat(pid) if held + len(fds) <= _HELD_FDS else None
            if stat is None or stat.parent != os.getpid():  # anybody may send us descriptors
                _close(fds)
        self._held.append((pid, data, fds))
        while len(self._held) > _HELD:
            _close(self._held.popleft()[2])


def _bind(path: Path) -> socket.socket:
    flags = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_UNIX, flags)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    sock.bind(str(path))
    # A worker may run as any user: credentials guard it, not the mode.
    path.chmod(0o666)
    return sock


def parse(data: bytes) -> dict[str, str]:
    """Assignments, one a line; a line that is none is left out. STATUS is made one tidy line."""
    found = {}
    for line in data.decode(errors="replace").split("\n"):
        key, equals, value = line.partition("=")
        if equals and key.isascii() and key:
            found[key] = value
    if "STATUS" in found:
        text = "".join(c if c.isprintable() else "?" for c in found["STATUS"])
        found["STATUS"] = text[:_STATUS_LENGTH]
    return found


def microseconds(value: str) -> float | None:
    """Seconds in "5000000"; None if it is no number that makes sense."""
    if not (value.isascii() and value.isdecimal()) or len(value) > 15:
        return None
    return int(value) / 1e6


def _close(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def _sender(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
    """The sender's pid, and the descriptors that came along, which are ours now."""
    pid = 0
    received: list[int] = []
    for level, kind, payload in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_CREDENTIALS:
            pid, _, _ = _CREDENTIALS.unpack_from(payload)
        elif kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
            received += fds
    return pid, received
