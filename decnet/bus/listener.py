"""The broker's socket file: taken over when stale, never from a live server.

Two locks say whose it is. A lock file beside the socket (flock, gone with its process) keeps two
brokers of ours apart even in the instant between bind(2) and listen(2). A connect(2) that is
answered shows any other live server. Only a socket that nobody answers is removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from pathlib import Path

from decnet.bus.peers import peer_of
from zygote.errors import ZygoteError

EXIT_TAKEN = 73
BACKLOG = 256
MAX_PATH = 107
"""Bytes of a socket's path: sun_path holds 108 with the end mark. See: unix(7)."""


class SocketTaken(ZygoteError):
    """The socket cannot be ours."""

    def __init__(self, message: str, hint: str, number: int = 0) -> None:
        super().__init__(message, code="bus-socket", hint=hint, errno=number, exit_code=EXIT_TAKEN)


class SocketFile:
    """The bound, listening socket at a path, and its lock; `close` removes only our own.

    Args:
        path: where; the folder is made (0700) if it is missing.
        group: gets read and write if there is such a group; the mode is 0660.
    Raises:
        SocketTaken: someone live has it, the path is too long, is no socket, or not writable.
    """

    def __init__(self, path: Path, group: str = "") -> None:
        self.path = path
        if len(os.fsencode(path)) > MAX_PATH:
            raise SocketTaken(
                f"socket path too long: {len(os.fsencode(path))} bytes, at most {MAX_PATH}: {path}",
                "set DECNET_BUS_SOCKET to a shorter path",
            )
        self._lock = -1
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._take_lock()
            self._clear()
            self.sock = self._bind(group)
        except OSError as error:
            self._unlock()
            raise SocketTaken(
                f"cannot listen at {path}: {error.strerror}",
                "set DECNET_BUS_SOCKET to a place that this user may write to",
                error.errno or 0,
            ) from error
        except SocketTaken:
            self._unlock()
            raise
        made = path.stat()
        self._identity = (made.st_dev, made.st_ino)

    def close(self) -> None:
        """Stop listening and remove the file, unless another has replaced it."""
        with contextlib.suppress(OSError):
            now = self.path.lstat()
            if (now.st_dev, now.st_ino) == self._identity:
                self.path.unlink()
        self.sock.close()
        self._unlock()

    def _take_lock(self) -> int:
        # The lock file stays: removing it would let two hold "the" lock on two files.
        handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "?"
            os.close(handle)
            raise self._taken_by(holder) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        return handle

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _clear(self) -> None:
        """Remove a stale socket; refuse a live one, and anything that is no socket."""
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SocketTaken(
                f"{self.path} is there and is no socket", "move it away, or set DECNET_BUS_SOCKET"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            try:
                probe.connect(str(self.path))
            except OSError as error:
                # EAGAIN: its queue is full, so it lives. ECONNREFUSED: nobody listens.
                if error.errno == errno.EAGAIN:
                    raise self._taken_by("?") from None
                if error.errno != errno.ECONNREFUSED:
                    raise
            else:
                raise self._taken_by(str(peer_of(probe).pid))
        self.path.unlink()

    def _taken_by(self, pid: str) -> SocketTaken:
        return SocketTaken(
            f"a live server already answers at {self.path} (pid {pid})",
            "stop it, or set DECNET_BUS_SOCKET to another path",
            errno.EADDRINUSE,
        )

    def _bind(self, group: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.bind(str(self.path))
            # Before listen(2), so that nobody connects under another mode.
            self.path.chmod(0o660)
            with contextlib.suppress(KeyError, PermissionError):
                os.chown(self.path, -1, grp.getgrnam(group).gr_gid if group else -1)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock
