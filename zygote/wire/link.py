"""The zygote's end of the link: blocking, and leaving nothing of a request on the heap.

A packet is received into one buffer that is mapped once. Its header is read there; its body stays
there until the clone copies it out: the zygote itself never makes an object of it.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
from typing import NamedTuple

from zygote.sys import fds as descriptors
from zygote.wire.messages import (
    FLAG_MEMFD,
    HEADER,
    MAX_FDS,
    MAX_INLINE,
    MAX_PACKET,
    Head,
    Packet,
    check_whole,
    decode_head,
    encode,
)


class BadPacketError(ValueError):
    """A packet that makes no sense; its fds are closed.

    Attributes:
        head: its header, where at least that could be read.
        errno: EMFILE where there was no room for its fds, which may pass; else EBADMSG.
    """

    def __init__(self, message: str, head: Head | None, number: int) -> None:
        super().__init__(message)
        self.head = head
        self.errno = number


class Request(NamedTuple):
    """A packet whose body is still in the link's buffer, or in the last of `fds`.

    Attributes:
        head: kind, flags, spawn id.
        fds: the receiver's to close; the memfd of a large body is among them.
    """

    head: Head
    fds: tuple[int, ...]


class Link:
    """One SEQPACKET socket, blocking.

    Args:
        sock: owned from here on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._map = mmap.mmap(-1, MAX_PACKET, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._buffer = memoryview(self._map)

    @classmethod
    def from_fd(cls, fd: int) -> Link:
        """A link over an inherited descriptor.

        Raises:
            OSError: EBADF, ENOTSOCK: it is not a socket.
        """
        sock = socket.socket(fileno=fd)
        sock.setblocking(True)
        sock.set_inheritable(False)
        return cls(sock)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def wait(self) -> Request | None:
        """The next packet, its body not read; None when the other end is gone.

        The body is there until the next `wait`.

        Raises:
            BadPacketError: cut off, of another protocol version, or not what its header says.
        """
        try:
            size, fds, whole, lost = descriptors.receive_into(self._sock, self._buffer, MAX_FDS)
        except ConnectionError:
            return None
        if not size and not fds:
            return None
        head = None
        try:
            head = decode_head(self._map[: min(size, HEADER.size)])
            if lost:
                raise ValueError("no descriptor is left for what comes with it: raise LimitNOFILE")
            if not whole:
                raise ValueError("the packet was cut off: too large")
            check_whole(head, size - HEADER.size, len(fds))
        except ValueError as error:
            descriptors.close(fds)
            number = errno.EMFILE if lost else errno.EBADMSG
            raise BadPacketError(str(error), head, number) from None
        return Request(head, fds)

    def read_body(self, request: Request) -> tuple[bytes, tuple[int, ...]]:
        """The body of the packet last received, and its fds without the one that held it.

        That one is closed.
        """
        head, fds = request
        if not head.flags & FLAG_MEMFD:
            return self._map[HEADER.size : HEADER.size + head.length], fds
        memfd = fds[-1]
        with open(memfd, "rb", buffering=0) as source:
            os.lseek(memfd, 0, os.SEEK_SET)
            return source.readall(), fds[:-1]

    def forget(self) -> None:
        """Give the buffer's pages back: nothing more is read of the packet last received.

        A clone that keeps them has them for itself, once its zygote receives the next packet.
        """
        self._map.madvise(mmap.MADV_DONTNEED)

    def send(self, packet: Packet) -> None:
        """Send a packet; its fds stay the caller's.

        Raises:
            OSError: BrokenPipeError when the other end is gone.
        """
        if len(packet.body) <= MAX_INLINE:
            descriptors.send(self._sock, encode(packet), packet.fds)
            return
        memfd = os.memfd_create("zygote-body")
        try:
            with open(memfd, "wb", closefd=False) as target:
                target.write(packet.body)
            fds = (*packet.fds, memfd)
            flags = packet.flags | FLAG_MEMFD
            outer = Packet(packet.kind, packet.spawn_id, packet.pid, flags, b"", fds)
            descriptors.send(self._sock, encode(outer), fds)
        finally:
            os.close(memfd)

    def close(self) -> None:
        """Close the socket and unmap the buffer."""
        self._sock.close()
        self._buffer.release()
        self._map.close()
