"""The broker: takes events from any client and hands each to whoever subscribed to its topic.

It remembers nothing and confirms nothing. An event goes to every other connection with a
matching pattern, once, in the order of arrival. Whoever reads too slowly loses the oldest of
what waits for it, counted; nobody else notices. All that a client can make grow is bounded:
connections, patterns, waiting frames and bytes, the half frame in its parser.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

from decnet.bus import topics
from decnet.bus.frames import VERSION, Frame, FrameError, FrameParser, dump_object, encode
from decnet.bus.listener import SocketFile
from decnet.bus.peers import Peer, may_control, peer_of

log = logging.getLogger("decnet.bus")

QUEUE_FRAMES = 1024
"""Frames that wait for one subscriber, beside what the kernel and the transport hold."""
QUEUE_BYTES = 8 << 20
WRITE_HIGH = 64 << 10
"""Bytes in a transport beyond which frames wait in our queue, where the oldest can be dropped."""
MAX_CLIENTS = 4096
"""A fleet of a thousand decoys and its workers, and as many strangers."""
MAX_PATTERNS = 256
"""Per connection."""


class Broker:
    """A broker at a socket path.

    Args:
        path: the socket; see `SocketFile` for what becomes of one that is there.
        group: the group that may connect besides the user.
        control_uids: users that may publish on `system.*.control`, besides root and our own.
    """

    def __init__(
        self, path: Path, *, group: str = "", control_uids: frozenset[int] = frozenset()
    ) -> None:
        self.path = path
        self.control_uids = control_uids
        self.published = 0
        self.delivered = 0
        self.dropped = 0
        self.denied = 0
        self.refused = 0
        self._group = group
        self._file: SocketFile | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._exact: dict[str, set[Connection]] = {}
        self._wild: dict[str, tuple[list[str], set[Connection]]] = {}

    async def start(self) -> None:
        """Listen.

        Raises:
            SocketTaken: a live server is there, or the path is unusable; says what to do.
        """
        self._file = SocketFile(self.path, self._group)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=self._file.sock)

    async def stop(self) -> None:
        """Say BYE to everyone, close, remove the socket."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self._connections):
            connection.bye()
        if self._file is not None:
            self._file.close()
            self._file = None
        # One turn for the transports to notice; what they hold is not worth a wait.
        await asyncio.sleep(0)

    def health(self) -> dict[str, Any]:
        """Counters for the heartbeat."""
        return {
            "clients": len(self._connections),
            "patterns": len(self._exact) + len(self._wild),
            "published": self.published,
            "delivered": self.delivered,
            "dropped": self.dropped,
            "denied": self.denied,
            "refused": self.refused,
        }

    # -- for connections

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        if len(self._connections) >= MAX_CLIENTS:
            self.refused += 1
            return False
        self._connections.add(connection)
        return True

    def subscribe(self, connection: Connection, pattern: str) -> None:
        """Add a well-formed pattern of a connection."""
        if topics.is_wild(pattern):
            self._wild.setdefault(pattern, (pattern.split("."), set()))[1].add(connection)
        else:
            self._exact.setdefault(pattern, set()).add(connection)

    def unsubscribe(self, connection: Connection, pattern: str) -> None:
        """Take it away again."""
        if pattern in self._wild:
            subscribers = self._wild[pattern][1]
            subscribers.discard(connection)
            if not subscribers:
                del self._wild[pattern]
        elif pattern in self._exact:
            self._exact[pattern].discard(connection)
            if not self._exact[pattern]:
                del self._exact[pattern]

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        for pattern in connection.patterns:
            self.unsubscribe(connection, pattern)

    def publish(self, sender: Connection, topic: str, body: dict[str, Any]) -> None:
        """Stamp an event and hand it to all who want it, but its sender.

        Raises:
            FrameError: the envelope is not one.
        """
        payload, kind = body.get("payload", {}), body.get("type")
        if not isinstance(payload, dict) or not isinstance(kind, str | None):
            raise FrameError("a PUB needs an object as payload and a text as type")
        if topics.is_control(topic) and not may_control(sender.peer, self.control_uids):
            self.denied += 1
            sender.complain("may not publish on %s: uid %d is not allowed", topic, sender.peer.uid)
            return
        self.published += 1
        parts = topic.split(".")
        targets = set(self._exact.get(topic, ()))
        for tokens, subscribers in self._wild.values():
            if topics.match_tokens(tokens, parts):
                targets |= subscribers
        targets.discard(sender)
        if not targets:
            return
        envelope = {
            "v": VERSION,
            "id": uuid.uuid4().hex,
            "topic": topic,
            "type": kind or parts[-1],
            "ts": time.time(),
            "payload": payload,
        }
        frame = encode("EVT", topic, dump_object(envelope))
        for target in targets:
            target.send(frame)


class Connection(asyncio.Protocol):
    """One client: its parser, its patterns, and what waits for it."""

    def __init__(self, broker: Broker) -> None:
        self.name = "?"
        self.peer = Peer(0, -1, -1)
        self.patterns: set[str] = set()
        self.dropped = 0
        self._broker = broker
        self._parser = FrameParser()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._complained = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._broker.admit(self):
            log.warning("connection refused: %d are open", MAX_CLIENTS)
            transport.abort()
            return
        self.peer = peer_of(transport.get_extra_info("socket"))
        transport.set_write_buffer_limits(high=WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                self._handle(frame)
        except FrameError as error:
            self.complain("dropped: %s", error)
            self._abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._broker.forget(self)
        self._waiting.clear()
        self._transport = None

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        while self._waiting and not self._paused:
            frame = self._waiting.popleft()
            self._waiting_bytes -= len(frame)
            self._deliver(frame)

    def send(self, frame: bytes) -> None:
        """Deliver a frame now, or when the client has read what went before it."""
        if not self._paused:
            self._deliver(frame)
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        while len(self._waiting) > QUEUE_FRAMES or self._waiting_bytes > QUEUE_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft())
            self.dropped += 1
            self._broker.dropped += 1
            self.complain("reads too slowly: the oldest events are dropped")

    def bye(self) -> None:
        """Close from our side."""
        self._write(encode("BYE"))
        if self._transport is not None:
            self._transport.close()

    def complain(self, message: str, *details: object) -> None:
        """A warning with the client's name; at most one every ten seconds each."""
        now = time.monotonic()
        if now - self._complained >= 10.0:
            self._complained = now
            # The name is the client's own word: `token` has made it harmless.
            log.warning(f"bus client {self.name} (pid {self.peer.pid}) {message}", *details)

    def _handle(self, frame: Frame) -> None:
        verb, argument = frame.verb, frame.argument
        if verb == "PUB":
            if not topics.is_topic(argument):
                raise FrameError("PUB without a topic")
            self._broker.publish(self, argument, frame.parse())
        elif verb == "SUB":
            if not topics.is_pattern(argument):
                raise FrameError("SUB without a pattern")
            if len(self.patterns) >= MAX_PATTERNS and argument not in self.patterns:
                raise FrameError(f"more than {MAX_PATTERNS} patterns")
            self.patterns.add(argument)
            self._broker.subscribe(self, argument)
        elif verb == "UNSUB":
            if argument in self.patterns:
                self.patterns.discard(argument)
                self._broker.unsubscribe(self, argument)
        elif verb == "HELLO":
            self.name = topics.token(argument)
            hello = {"v": VERSION, "pid": os.getpid(), "name": self.name}
            self.send(encode("HELLO", "decnet-bus", dump_object(hello)))
        elif verb == "BYE":
            self._abort()
        else:
            raise FrameError(f"{verb} is not for the broker")

    def _deliver(self, frame: bytes) -> None:
        self._broker.delivered += 1
        self._write(frame)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
