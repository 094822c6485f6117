"""The bytes of one control connection: read in fair steps, sent from a bounded queue.

- One step of reading per turn of the event loop (the library reads on while there is something).
- What waits to be sent has a size limit; a peer beyond it is dropped.
- Reading can be put on hold, so that nothing that was said is lost in an exec of the manager.
"""

from __future__ import annotations

import asyncio
import logging
import socket

from asyncvarlink import VarlinkTransport
from asyncvarlink.protocol import varlink_boundaries

QUEUE_MAX = 4 << 20
"""Bytes."""
FDS_MAX = 3

# The library warns of each write to a peer that has left, which is no fault here.
logging.getLogger("asyncvarlink").setLevel(logging.CRITICAL)


class BoundTransport(VarlinkTransport):
    """The library's transport with fair reading and a bounded send queue."""

    MAX_RECV_FDS = FDS_MAX
    RECV_BUFFER_SIZE = 64 * 1024

    def _handle_read_socket_peek(self) -> None:
        """Read one message, or the part of one that is there; epoll calls again for the rest."""
        if self._recvfd is None:
            return
        assert isinstance(self._recvfd, socket.socket)
        if not self._peeked_boundaries:
            try:
                data = self._recvfd.recv(self.RECV_BUFFER_SIZE, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._close_receiver(error)
                return
            self._peeked_boundaries = varlink_boundaries(data) or [max(1, len(data))]
        received = self._sock_receive_fds(self._peeked_boundaries[0])
        if received:
            self._peeked_boundaries[0] -= received
            if self._peeked_boundaries[0] <= 0:
                del self._peeked_boundaries[0]

    def send_message(self, data: bytes, fds: list[int] | None = None) -> asyncio.Future[None]:
        queued = sum(len(part) for parts, _, _ in self._sendqueue for part in parts)
        if queued and queued + len(data) > QUEUE_MAX:
            self.abort()
        return super().send_message(data, fds)

    held = False
    """Nothing is read."""

    @property
    def sends(self) -> bool:
        """Something waits to be taken by the peer."""
        return bool(self._sendqueue)

    def hold(self) -> None:
        """Read nothing until `release`: what is said stays in the socket."""
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        """Read again, now or when the call in progress has been answered."""
        self.held = False

    def _resume_reading(self) -> None:
        if not self.held:
            super()._resume_reading()

    def abort(self) -> None:
        """Close now, whatever waits to be sent; also where a close already waits for that."""
        super().abort()
        self._loop.call_soon(self._close_sender)
