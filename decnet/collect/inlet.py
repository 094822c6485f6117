"""A local syslog inlet: a datagram and a stream socket, for `logger -u` and other programs.

What arrives is appended to a spool file at once and goes the way of all spool files from there;
nothing is kept in memory, so a kill loses no line that was read. While the spool cannot be
written to (disk full), nothing is read: senders wait in the kernel, and the queue stays bounded.

A datagram is one message whatever is in it: a line feed inside becomes a visible escape. In the
stream a message is counted in octets ("46 <13>…") or ends with a line feed or NUL, so there a
sender has to keep line feeds out itself. See: RFC 6587, 3.4.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decnet.collect.text import clean_bytes, cut
from decnet.decoys.spool import Spool

log = logging.getLogger("decnet.collect")

NAME = "syslog"
"""Of the spool file."""
CONNECTIONS_MOST = 128
MESSAGE_MOST = 16 << 10
"""Bytes of a message; of a longer one the head is kept. Escapes may make it four times longer."""
DATAGRAMS_A_TURN = 200
RETRY_SECONDS = 0.5
MODE = 0o660

_COUNTED = re.compile(rb"(\d{1,10}) (?=<)", re.ASCII)
_BOM = b"\xef\xbb\xbf"


class InletRefused(OSError):
    """A socket cannot be made."""


class Inlet:
    """Both sockets, from `open` to `close`.

    Args:
        datagram, stream: their paths; stale ones are replaced.
        folder: the spool.
        hint: called when something was appended.
    """

    def __init__(
        self, datagram: Path, stream: Path, folder: Path, hint: Callable[[], object]
    ) -> None:
        self._paths = (datagram, stream)
        self._spool = Spool(folder, NAME, hint)
        self._sock: socket.socket | None = None
        self._server: asyncio.AbstractServer | None = None
        self._connections: set[_Connection] = set()
        self._made: list[tuple[Path, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.received = 0
        self.cut = 0
        self.refused = 0

    async def open(self) -> None:
        """Listen.

        Raises:
            InletRefused: a path is too long, taken, or not writable.
        """
        loop = asyncio.get_running_loop()
        try:
            self._sock = self._bind(self._paths[0], socket.SOCK_DGRAM)
            stream = self._bind(self._paths[1], socket.SOCK_STREAM)
            self._server = await loop.create_unix_server(lambda: _Connection(self), sock=stream)
        except OSError:
            self.close()
            raise
        loop.add_reader(self._sock, self._on_datagrams)

    def close(self) -> None:
        """Take what senders have already sent, then go."""
        loop = asyncio.get_running_loop()
        if self._server is not None:
            self._server.close()
        if self._sock is not None:
            loop.remove_reader(self._sock)
        for path, inode in self._made:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == inode:
                    path.unlink()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sock is not None:
            if not self.is_stuck():
                # Nobody can send any more: the path is gone, what is queued is all there is.
                self._on_datagrams()
            self._sock.close()
        for connection in list(self._connections):
            connection.finish()
        if self._timer is not None:
            self._timer.cancel()
        self._spool.close()

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told = {
            "received": self.received,
            "cut": self.cut,
            "refused": self.refused,
            "connections": len(self._connections),
        }
        return {"inlet": {**told, "queued": self._spool.health()["queued"]}}

    # -- for the connections

    def admit(self, connection: _Connection) -> bool:
        """A new connection; False where there are too many."""
        if len(self._connections) >= CONNECTIONS_MOST:
            self.refused += 1
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: _Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)

    def take(self, message: bytes, *, was_cut: bool = False) -> None:
        """Append one message to the spool."""
        message = message.rstrip(b"\r\n\x00").replace(_BOM, b"")
        if not message:
            return
        text, shortened = cut(clean_bytes(message[:MESSAGE_MOST]), 3 * MESSAGE_MOST)
        if was_cut or shortened or len(message) > MESSAGE_MOST:
            self.cut += 1
        self.received += 1
        self._spool.append(text.encode())
        if self.is_stuck():
            self._pause()

    def is_stuck(self) -> bool:
        """Whether the spool holds lines that it could not write."""
        return bool(self._spool.health()["queued"])

    # -- below

    def _on_datagrams(self) -> None:
        assert self._sock is not None
        for _ in range(DATAGRAMS_A_TURN):
            if self.is_stuck():
                return
            try:
                data = self._sock.recv(MESSAGE_MOST + 1)
            except (BlockingIOError, InterruptedError):
                return
            counted = _COUNTED.match(data)
            self.take(data[counted.end() :] if counted else data)

    def _pause(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is None:
            if self._sock is not None:
                loop.remove_reader(self._sock)
            for connection in self._connections:
                connection.pause()
            self._timer = loop.call_later(RETRY_SECONDS, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if not self._spool.flush():
            self._pause()
            return
        if self._sock is not None:
            asyncio.get_running_loop().add_reader(self._sock, self._on_datagrams)
        for connection in list(self._connections):
            connection.resume()

    def _bind(self, path: Path, kind: socket.SocketKind) -> socket.socket:
        _clear(path, kind)
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.bind(str(path))
            path.chmod(MODE)
            self._made.append((path, path.stat().st_ino))
            if kind == socket.SOCK_STREAM:
                sock.listen(CONNECTIONS_MOST)
        except OSError as error:
            sock.close()
            raise InletRefused(error.errno or 0, f"cannot listen at {path}: {error}") from error
        return sock


class _Connection(asyncio.Protocol):
    """One stream."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._skipping = 0
        """Bytes of a counted message to pass over; -1: up to the next line feed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._inlet.admit(self):
            transport.abort()
        elif self._inlet.is_stuck():
            self.pause()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer and self._next():
            pass

    def connection_lost(self, error: Exception | None) -> None:
        if self._buffer and not self._skipping:
            self._inlet.take(bytes(self._buffer))
        self._buffer.clear()
        self._inlet.leave(self)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def finish(self) -> None:
        """End it; what was read so far is stored."""
        if self._transport is not None:
            self._transport.abort()
        self.connection_lost(None)

    def _next(self) -> bool:
        """Take the next message out of the buffer; False where more is needed first."""
        buffer = self._buffer
        if self._skipping > 0:
            count = min(self._skipping, len(buffer))
            del buffer[:count]
            self._skipping -= count
            return self._skipping == 0
        counted = None if self._skipping else _COUNTED.match(buffer)
        if counted is not None:
            length, start = int(counted[1]), counted.end()
            most = min(length, MESSAGE_MOST)
            if len(buffer) < start + most:
                return False
            self._inlet.take(bytes(buffer[start : start + most]), was_cut=length > most)
            del buffer[: start + most]
            self._skipping = length - most
            return True
        end = min((at for at in (buffer.find(b"\n"), buffer.find(b"\0")) if at >= 0), default=-1)
        if end < 0:
            if len(buffer) <= MESSAGE_MOST:
                return False
            if self._skipping == 0:
                self._inlet.take(bytes(buffer[:MESSAGE_MOST]), was_cut=True)
            self._skipping = -1
            buffer.clear()
            return False
        if self._skipping == 0:
            self._inlet.take(bytes(buffer[:end]))
        self._skipping = 0
        del buffer[: end + 1]
        return True


def _clear(path: Path, kind: socket.SocketKind) -> None:
    """Remove a stale socket of ours; leave a live one, and what is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise InletRefused(error.errno or 0, f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise InletRefused(errno.EEXIST, f"{path} is there and is no socket")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.EPROTOTYPE):
                raise InletRefused(error.errno or 0, f"cannot listen at {path}: {error}") from error
        else:
            raise InletRefused(errno.EADDRINUSE, f"a live program answers at {path}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108
