"""The listener: takes lines over mutual TLS from many machines, and answers for them.

Whatever comes is put into one queue of bounded size; one commit at a time takes all of it to the
disk (`ledger`), then those who count are told. While the queue is full, nobody is read: their
TCP windows close and the senders wait.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from decnet.ship import ALPN
from decnet.ship.frames import FrameFault, FrameReader
from decnet.ship.ledger import Arrived, Ledger, Pending
from decnet.ship.peer import Peer
from decnet.ship.tls import days_left, peer_name

log = logging.getLogger("decnet.listener")

CONNECTIONS_MOST = 256
CONNECTIONS_A_SOURCE = 8
HANDSHAKES_MOST = 64
"""Handshakes at once. One more, and the oldest is broken off: strangers who say nothing cost each
other their places, and no machine with a certificate waits for them."""
HANDSHAKE_SECONDS = 5.0
QUEUE_BYTES = 4 << 20
READ_BYTES = 64 << 10
BATCH_LINES = 500
"""Lines a commit."""
RETRY_SECONDS = 1.0

_HELLO = re.compile(rb"HELLO ([0-9a-f]{32}) (\d{1,18})", re.ASCII)


class Refused(Exception):
    """The peer breaks a rule; its connection ends."""


class Listener:
    """Serves on a socket until cancelled.

    Args:
        ledger: opened.
        tls: of the server.
        stored: called with the number of lines after each commit.
        trouble: told why nothing can be written, and (None) that it can be again.
    """

    def __init__(
        self,
        ledger: Ledger,
        tls: ssl.SSLContext,
        stored: Callable[[int], object],
        trouble: Callable[[OSError | None], object],
    ) -> None:
        self._ledger = ledger
        self._tls = tls
        self._stored = stored
        self._trouble = trouble
        self._queue: list[Arrived] = []
        self._queued = 0
        self._accepted = 0
        self._durable = 0
        self._is_closing = False
        self._moved = asyncio.Condition()
        self._expected: dict[tuple[str, str], int] = {}
        """Numbers of the next lines, counting those that are queued; only of live senders."""
        self._peers: set[Peer] = set()
        self._talks: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._counts = Counter[str]()
        self._days: dict[str, int] = {}

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {
            "connections": len(self._peers),
            "sources": len({peer.source for peer in self._peers}),
            "queued": len(self._queue),
            "stored": self._ledger.stored,
            **self._counts,
        }
        if self._peers:
            days = [self._days[peer.source] for peer in self._peers if peer.source in self._days]
            told["certificate_days"] = min(days, default=0)
        return told

    async def serve(self, sock: socket.socket) -> None:
        """Accept and store until cancelled; what was accepted by then is stored."""
        with ThreadPoolExecutor(1, thread_name_prefix="ledger") as pool:
            commit = asyncio.create_task(self._commit_all(pool))
            try:
                await self._accept(sock)
            finally:
                for task in self._talks:
                    task.cancel()
                await asyncio.gather(*self._talks, return_exceptions=True)
                # Not cancelled: a commit that has begun in the thread ends in any case.
                self._is_closing = True
                async with self._moved:
                    self._moved.notify_all()
                await commit

    # -- connections

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(sock)
            except OSError as error:  # no descriptors left, or the visitor is gone already
                self._counts["accept_errors"] += 1
                log.warning("cannot accept: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            while len(self._handshakes) >= HANDSHAKES_MOST:
                oldest = next(iter(self._handshakes))
                del self._handshakes[oldest]
                oldest.cancel()
                self._counts["handshakes_evicted"] += 1
            task = asyncio.create_task(self._greet(connection))
            self._talks.add(task)
            self._handshakes[task] = None
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._talks.discard(task)
        self._handshakes.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed", exc_info=error)

    async def _greet(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, ssl.SSLError):  # no certificate, a foreign CA, a port scan
            self._counts["handshakes_failed"] += 1
            connection.close()
            return
        except BaseException:
            connection.close()
            raise
        finally:
            if (task := asyncio.current_task()) is not None:
                self._handshakes.pop(task, None)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        peer: Peer | None = None
        try:
            peer = self._admit(writer)
            await self._listen(peer, reader)
        except (Refused, FrameFault) as error:
            self._counts["refused"] += 1
            log.warning("%s: %s; closed", peer.source if peer else "a peer", error)
        except (OSError, ssl.SSLError):
            pass
        finally:
            if peer is not None:
                self._leave(peer)
            transport.abort()

    def _admit(self, writer: asyncio.StreamWriter) -> Peer:
        certificate = writer.get_extra_info("peercert")
        source = peer_name(certificate)
        if not source:
            raise Refused("its certificate has no name that can be used")
        if len(self._peers) >= CONNECTIONS_MOST:
            raise Refused(f"{source}: {CONNECTIONS_MOST} connections are open")
        if sum(peer.source == source for peer in self._peers) >= CONNECTIONS_A_SOURCE:
            raise Refused(f"{source} has {CONNECTIONS_A_SOURCE} connections already")
        peer = Peer(source, writer)
        self._peers.add(peer)
        if (days := days_left(certificate, time.time())) is not None:
            self._days[source] = days
        return peer

    def _leave(self, peer: Peer) -> None:
        self._peers.discard(peer)
        if not any(other.source == peer.source for other in self._peers):
            self._days.pop(peer.source, None)

    async def _listen(self, peer: Peer, reader: asyncio.StreamReader) -> None:
        tls = peer.writer.get_extra_info("ssl_object")
        counts = tls.selected_alpn_protocol() == ALPN
        frames = FrameReader()
        while data := await reader.read(READ_BYTES):
            for message in frames.feed(data):
                if counts and not peer.stream:
                    await self._hello(peer, message)
                else:
                    await self._take(peer, message)
            if frames.fault is not None:
                raise frames.fault
        if not frames.is_empty:
            self._counts["half_frames"] += 1

    async def _hello(self, peer: Peer, message: bytes) -> None:
        match = _HELLO.fullmatch(message)
        if match is None:
            raise Refused("its first frame is no HELLO")
        peer.stream = match[1].decode()
        for other in list(self._peers):
            if other is not peer and (other.source, other.stream) == (peer.source, peer.stream):
                # What its dead connection still holds comes again on this one.
                other.writer.transport.abort()
                self._peers.discard(other)
        await self._until_durable()
        if peer not in self._peers:
            raise Refused("another connection of the same sender took over")
        key = (peer.source, peer.stream)
        number = max(int(match[2]), self._ledger.next(*key))
        peer.number = self._expected[key] = number
        peer.ack(number)

    async def _take(self, peer: Peer, message: bytes) -> None:
        """Queue a line, waiting while the queue is full."""
        while self._queued >= QUEUE_BYTES:
            async with self._moved:
                await self._moved.wait()
        if peer.stream:
            key = (peer.source, peer.stream)
            number, peer.number = peer.number, peer.number + 1
            if peer not in self._peers or number != self._expected.get(key):
                raise Refused("another connection of the same sender took over")
            self._expected[key] = number + 1
            self._queue.append(Arrived(peer.source, message, peer.stream, number))
        else:
            self._queue.append(Arrived(peer.source, message))
        self._queued += len(message)
        self._accepted += 1
        if len(self._queue) == 1:
            async with self._moved:
                self._moved.notify_all()

    # -- storing

    async def _until_durable(self) -> None:
        """Until all that is queued now is on disk."""
        goal = self._accepted
        async with self._moved:
            await self._moved.wait_for(lambda: self._durable >= goal)

    async def _commit_all(self, pool: ThreadPoolExecutor) -> None:
        """Until closing, and then what is left once more."""
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self._queue or self._is_closing)
            if not self._queue:
                return
            batch = self._queue[:BATCH_LINES]
            pending = self._ledger.prepare(batch)
            if not await self._commit(pool, pending):
                return
            del self._queue[: len(batch)]
            self._queued -= sum(len(arrived.line) for arrived in batch)
            self._durable += len(batch)
            self._tell(pending)
            self._stored(len(batch))
            async with self._moved:
                self._moved.notify_all()

    async def _commit(self, pool: ThreadPoolExecutor, pending: Pending) -> bool:
        """Try until it works; False where it does not and there is no more time."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.run_in_executor(pool, self._ledger.commit, pending)
                self._trouble(None)
                return True
            except OSError as error:
                self._trouble(error)
            if self._is_closing:
                return False
            await asyncio.sleep(RETRY_SECONDS)

    def _tell(self, pending: Pending) -> None:
        """Acknowledge to those who are still there."""
        for peer in self._peers:
            number = pending.next.get((peer.source, peer.stream))
            if number is not None:
                peer.ack(number)
        live = {(peer.source, peer.stream) for peer in self._peers}
        for key in [key for key in self._expected if key not in live]:
            del self._expected[key]
