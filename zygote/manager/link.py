"""The manager's end of a zygote's link: packets out and in, never waiting."""

from __future__ import annotations

import array
import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable

from zygote.wire.messages import (
    FLAG_MEMFD,
    HEADER,
    MAX_FDS,
    MAX_INLINE,
    MAX_PACKET,
    Packet,
    decode,
    encode,
)

_PACKETS_A_TURN = 32


class LinkLostError(Exception):
    """The zygote went away with a request open; whether it cloned is for the report to tell."""


class Link:
    """One SEQPACKET socket to a zygote, on the event loop.

    A zygote serves one spawn after the other, so in a burst its socket fills up: what does not
    fit waits here, in order.

    Args:
        sock: owned from here on; made non-blocking.
        received: told of each packet; owns its fds.
        lost: told once, when the zygote is gone or speaks nonsense; with the reason.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        received: Callable[[Packet], None],
        lost: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._received = received
        self._lost = lost
        self._queue: deque[tuple[Packet, Callable[[float], None] | None]] = deque()
        self._open = True
        sock.setblocking(False)
        loop.add_reader(sock, self._readable)

    def fileno(self) -> int:
        """Of the socket; -1 once it is closed."""
        return self._sock.fileno()

    def send(self, packet: Packet, sent: Callable[[float], None] | None = None) -> None:
        """Send a packet, at once or when there is room. Its fds must stay open until `sent`.

        Args:
            sent: told when it was handed over, in monotonic seconds.
        Raises:
            BrokenPipeError: the link is closed.
        """
        if not self._open:
            raise BrokenPipeError("the link to the zygote is closed")
        self._queue.append((packet, sent))
        if len(self._queue) == 1:
            self._flush()

    def withdraw(self, packet: Packet) -> bool:
        """Take back a packet that has not been sent; False if it is on its way."""
        for entry in self._queue:
            if entry[0] is packet:
                self._queue.remove(entry)
                return True
        return False

    def close(self) -> None:
        """Close the socket: the zygote ends, quietly. Idempotent."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()
            self._queue.clear()

    def _flush(self) -> None:
        while self._queue and self._open:
            packet, sent = self._queue[0]
            # Before: under load the other end may have done it all by the time that we come to run.
            at = time.monotonic()
            try:
                send_packet(self._sock, packet)
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._sock, self._flush)
                return
            except OSError as error:
                self._fail(f"sending failed: {error.strerror}")
                return
            self._queue.popleft()
            if sent:
                sent(at)
        if self._open:
            self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        for _ in range(_PACKETS_A_TURN):
            if not self._open:
                return
            try:
                packet = _receive(self._sock)
            except (BlockingIOError, InterruptedError):
                return
            except (OSError, ValueError) as error:
                self._fail(str(error))
                return
            if packet is None:
                self._fail("it closed the link")
                return
            self._received(packet)

    def _fail(self, reason: str) -> None:
        if self._open:
            self.close()
            self._lost(reason)


def send_packet(sock: socket.socket, packet: Packet) -> None:
    """Send one packet; its fds stay the caller's.

    Raises:
        OSError: BlockingIOError, there is no room; BrokenPipeError, nobody is there.
    """
    if len(packet.body) > MAX_INLINE:
        body = os.memfd_create("zygote-request", os.MFD_CLOEXEC)
        try:
            view = memoryview(packet.body)
            while view:
                view = view[os.write(body, view) :]
            os.lseek(body, 0, os.SEEK_SET)
            fds = (*packet.fds, body)
            flags = packet.flags | FLAG_MEMFD
            send_packet(sock, Packet(packet.kind, packet.spawn_id, packet.pid, flags, b"", fds))
        finally:
            os.close(body)
        return
    passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", packet.fds))]
    sock.sendmsg([encode(packet)], passed if packet.fds else [])


def _without_fds(data: bytes, fds: array.array[int]) -> Packet:
    while fds:
        os.close(fds.pop())
    magic, version, kind, flags, _, *rest = HEADER.unpack_from(data)
    if flags & FLAG_MEMFD:
        raise ValueError("no descriptor was left for a packet's body")
    return decode(HEADER.pack(magic, version, kind, flags, 0, *rest) + data[HEADER.size :])


def _receive(sock: socket.socket) -> Packet | None:
    """One packet, or None at the end; the caller owns its fds."""
    room = socket.CMSG_SPACE(MAX_FDS * array.array("i").itemsize)
    data, ancillary, flags, _ = sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    try:
        if not data:
            if fds:
                raise ValueError("descriptors without a packet")
            return None
        if flags & socket.MSG_TRUNC:
            raise ValueError("a packet that is too large")
        if flags & socket.MSG_CTRUNC:
            # We are out of descriptors. What the packet says holds without them all the same.
            return _without_fds(data, fds)
        packet = decode(data, tuple(fds))
    except ValueError:
        for descriptor in fds:
            os.close(descriptor)
        raise
    if packet.flags & FLAG_MEMFD:
        with open(packet.fds[-1], "rb") as source:
            source.seek(0)
            body = source.read()
        packet = Packet(
            packet.kind, packet.spawn_id, packet.pid, packet.flags, body, packet.fds[:-1]
        )
    return packet
