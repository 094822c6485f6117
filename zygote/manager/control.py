"""The control socket: accepts, knows each caller, and bounds what all of them together may hold.

Everybody may connect (the socket's mode is 0666); the kernel says who it is, and `peers` what they
may call, so that one who may not gets a sentence in place of "connection refused".
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asyncvarlink import VarlinkInterfaceRegistry
from asyncvarlink.serviceinterface import VarlinkServiceInterface

from zygote import __version__
from zygote.manager import insiders
from zygote.manager.caller import App, Caller
from zygote.manager.connection import MESSAGE_MAX, STRANGER_MESSAGE_MAX, Connection
from zygote.manager.hangups import Hangups
from zygote.manager.peers import Peer, Peers, read_peer
from zygote.manager.transport import FDS_MAX, BoundTransport

CONNECTIONS_MAX = 256
SEND_TIMEOUT = 60.0
"""Seconds in which a reply must be taken; one who stops `events` for longer starts it again."""

_BACKLOG = 128
_ACCEPT_AT_ONCE = 16
_ACCEPT_PAUSE = 1.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Control:
    """The manager's Varlink server.

    Args:
        app: answers the calls.
        socket_path: bound by `start`, removed by `close`; no stale one may be there.
        peers: who may what.
        limit: what a caller's process may ask for at most; see `insiders`.
        connections_max: beyond it the idle connection that was longest quiet is dropped; where
            none is idle the new one is. A quarter of it for those who may not even read.
        send_timeout: seconds in which a reply must be taken by the caller.
        listener: bound to `socket_path` and listening, where it was there before us.
        ours: the listener was made by a manager; else it is a socket unit's, and stays when we go.
    """

    def __init__(
        self,
        app: App,
        socket_path: Path,
        peers: Peers | None = None,
        *,
        limit: Callable[[Peer], tuple[str, str]] = lambda _: ("all", ""),
        connections_max: int = CONNECTIONS_MAX,
        send_timeout: float = SEND_TIMEOUT,
        listener: socket.socket | None = None,
        ours: bool = False,
    ) -> None:
        self._app = app
        self._path = socket_path
        self._peers = peers or Peers()
        self._limit = limit
        self._max = connections_max
        self._send_timeout = send_timeout
        self._listener = listener
        self._is_ours = ours or listener is None
        self._open: dict[Connection, Peer] = {}
        self._limits: dict[Connection, tuple[str, str]] = {}
        self._full_told = False
        self._retry: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: EADDRINUSE and what else bind(2) says.
        """
        self._loop = asyncio.get_running_loop()
        self._hangups = Hangups(self._loop)
        if self._listener is None:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.setblocking(False)
            self._listener.bind(str(self._path))
            self._path.chmod(0o666)
            self._listener.listen(_BACKLOG)
        self._loop.add_reader(self._listener, self._accept)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def hold(self) -> None:
        """Accept and read nothing until `release`: who calls waits."""
        if self._retry:
            self._retry.cancel()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
        for connection in self._open:
            connection.hold()

    def release(self) -> None:
        """Accept and read again."""
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)
        for connection in list(self._open):
            connection.release()

    def under_way(self, but: str = "") -> list[str]:
        """The methods of the calls that cannot be left as they are, those of one method aside."""
        found = (connection.under_way for connection in self._open)
        return [method for method in found if method and method != but]

    def drop_slow(self) -> None:
        """Drop those that follow events and take none: they would hold up all others."""
        for connection in list(self._open):
            if connection.stuck:
                connection.abort()

    def hand_over(self) -> dict[str, Any]:
        """The listener and all connections, by their descriptors."""
        assert self._listener is not None
        handed = [
            {**entry, "limit": self._limits[connection]}
            for connection in self._open
            if (entry := connection.hand_over())
        ]
        return {"listener": self._listener.fileno(), "connections": handed}

    def take_over(self, connections: list[dict[str, Any]], carry: Callable[[Any], Any]) -> None:
        """Serve connections of a manager before us in this process.

        Args:
            carry: given a call in progress, what goes on answering it.
        """
        for each in connections:
            sock = socket.socket(fileno=each["fd"])
            sock.set_inheritable(False)
            connection = self._serve(sock, (each["limit"][0], each["limit"][1]))
            if connection is None:
                continue
            call, part = each["call"], bytes.fromhex(each["part"])
            method = call["method"] if call else ""
            answer = carry(call) if call else None
            # Once the transport has told it that it is connected.
            self._loop.call_soon(connection.carry_on, method, part, answer)

    def close(self) -> None:
        """Accept no more, end the streams, and let answers on their way go out. Idempotent."""
        if self._listener is None:
            return
        if self._retry:
            self._retry.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = None
        if self._is_ours:
            self._path.unlink(missing_ok=True)
        for connection in list(self._open):
            connection.end()
        self._hangups.close()

    async def wait_closed(self, timeout: float = 1.0) -> None:
        """After `close`: until the last answer is out, or the time is up."""
        deadline = self._loop.time() + timeout
        while self._open and self._loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)

    def _accept(self) -> None:
        """Take some of the waiting connections; the loop calls again while there are more."""
        assert self._listener is not None
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._pause(error)
                return
            self._serve(connection)

    def _pause(self, error: OSError) -> None:
        """Out of descriptors: the listener stays readable, so look away for a second."""
        assert self._listener is not None
        self._app.events.emit("control-exhausted", "manager", detail=str(error.strerror))
        self._loop.remove_reader(self._listener)
        self._retry = self._loop.call_later(_ACCEPT_PAUSE, self._resume)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    def _serve(
        self, connection: socket.socket, known_limit: tuple[str, str] | None = None
    ) -> Connection | None:
        connection.setblocking(False)
        peer = read_peer(connection)
        if not self._make_room(peer):
            connection.close()
            return None
        registry = VarlinkInterfaceRegistry()
        registry.register_interface(Caller(self._app))
        registry.register_interface(
            VarlinkServiceInterface("zygote", "zygote manager", __version__, "", registry)
        )
        # At once: later the number of a process that is gone might be another's.
        limit = known_limit or self._limit(peer)
        known = self._peers.is_reader(peer)

        def authorise(method: str) -> None:
            self._peers.check(peer, method)
            # Whose process it is may be known a moment later.
            insiders.check(self._limit(peer) if limit == insiders.NOBODYS else limit, method)

        protocol = Connection(
            registry,
            authorise=authorise,
            hangups=self._hangups,
            message_max=MESSAGE_MAX if known else STRANGER_MESSAGE_MAX,
            send_timeout=self._send_timeout,
            on_fault=self._fault,
            on_lost=self._lost,
        )
        extra = {"peercred": peer, "fd": connection.fileno()}
        transport = BoundTransport(self._loop, connection, connection, protocol, extra)
        transport.MAX_RECV_FDS = FDS_MAX if self._peers.is_operator(peer) else 0
        self._open[protocol] = peer
        self._limits[protocol] = limit
        return protocol

    def _make_room(self, peer: Peer) -> bool:
        """Whether one more may come in, another being dropped for it where there are too many."""
        if not self._peers.is_reader(peer):
            strangers = [c for c, p in self._open.items() if not self._peers.is_reader(p)]
            if len(strangers) >= max(1, self._max // 4):
                return self._drop_idle(strangers)
        if len(self._open) < self._max:
            return True
        if not self._full_told:
            self._full_told = True
            detail = f"{self._max} connections; the longest idle one makes room"
            self._app.events.emit("control-full", "manager", detail=detail)
        return self._drop_idle(list(self._open))

    def _drop_idle(self, among: list[Connection]) -> bool:
        """Drop one that has no call in progress: a stranger's first, then the longest quiet."""
        idle = [c for c in among if not c.busy]
        if not idle:
            return False
        victim = min(idle, key=lambda c: (self._peers.is_reader(self._open[c]), c.last_used))
        victim.abort()
        self._lost(victim)
        return True

    def _lost(self, connection: Connection) -> None:
        self._open.pop(connection, None)
        self._limits.pop(connection, None)
        if len(self._open) < self._max // 2:
            self._full_told = False

    def _fault(self, method: str, error: BaseException) -> None:
        at = error.__traceback__
        while at and at.tb_next:
            at = at.tb_next
        where = f" at {at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
        detail = f"{method}: {type(error).__name__}: {error}{where}; answered with an error"
        self._app.events.emit("fault", "manager", detail=detail)
