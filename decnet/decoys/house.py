"""What every decoy is given, and how it gets its port."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from decnet.decoys.captures import Captures
from decnet.decoys.doorman import Doorman
from decnet.decoys.journal import Journal
from decnet.decoys.looks import Look
from zygote import sockets

BACKLOG = 1024
LENT_SECONDS = 75.0
"""A closed connection keeps its port for another 60 seconds (TIME_WAIT, tcp(7))."""
LENT_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class House:
    """A decoy's surroundings."""

    decky: str
    state_dir: Path
    artifacts_dir: Path
    journal: Journal
    doorman: Doorman
    look: Look
    captures: Captures
    keys_dir: Path | None = None
    """Where its keys are; `state_dir` by default."""
    keys_prefix: str = ""
    """Before the names of this decky's key files; the first decky has none."""


Serve = Callable[[socket.socket, House], AbstractAsyncContextManager[None]]
"""A protocol: serves on the socket inside the block, and owns it."""


class PortRefused(OSError):
    """The port cannot be listened on. `str` says why, `hint` which variable changes it."""

    def __init__(self, number: int, text: str, hint: str) -> None:
        super().__init__(number, text)
        self.text = text
        self.hint = hint


def listen(host: str, port: int, variable: str) -> socket.socket:
    """A listening TCP socket, non-blocking: of the process before this one, or a new one.

    Args:
        variable: the environment variable that says which port, for the error.
    Raises:
        PortRefused: taken, not allowed, or no such address.
    """
    name = f"tcp-{host}-{port}".replace(":", ".")
    sock = sockets.listener(name, lambda: _bind(host, port, variable))
    sock.setblocking(False)
    return sock


def _bind(host: str, port: int, variable: str) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
        )
    except OSError as error:
        raise PortRefused(
            errno.EADDRNOTAVAIL,
            f"{host!r} is no IP address to listen on",
            "set DECNET_DECOY_HOST to an address of this machine, 0.0.0.0 or ::",
        ) from error
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refusal(error, host, port, variable) from error
    return sock


async def listen_soon(
    host: str,
    port: int,
    variable: str,
    tell: Callable[[str], None],
    extend: Callable[[float], object] = lambda _: None,
) -> socket.socket:
    """`listen`, but wait a while for a port that an outgoing connection has.

    The kernel lends ports to connections (net.ipv4.ip_local_port_range); decoys of the 300th decky
    and beyond have theirs in that range.

    Args:
        tell: is told what is waited for, and "" when that is over.
        extend: is asked for so many seconds more for the start.
    Raises:
        PortRefused: as `listen`; a port that somebody listens on is not waited for.
    """
    deadline, waited = time.monotonic() + LENT_SECONDS, False
    while True:
        try:
            sock = listen(host, port, variable)
        except PortRefused as error:
            lent = error.errno == errno.EADDRINUSE and time.monotonic() < deadline
            if not lent or await _is_listened_on(host, port):
                raise
            if not waited:
                extend(LENT_SECONDS + 15)
                tell(f"waiting: port {port} is lent to an outgoing connection")
            waited = True
            await asyncio.sleep(LENT_POLL_SECONDS)
        else:
            if waited:
                tell("")
            return sock


async def _is_listened_on(host: str, port: int) -> bool:
    """Whether a connection is taken there. Who has the port and does not listen refuses it."""
    try:
        async with asyncio.timeout(1):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return True  # its queue is full
    except OSError:
        return False
    writer.close()
    return True


def _refusal(error: OSError, host: str, port: int, variable: str) -> PortRefused:
    number = error.errno or 0
    if number == errno.EADDRINUSE:
        return PortRefused(
            number,
            f"port {port} on {host} is taken",
            f"stop what listens there (ss -ltnp), or set {variable} to another port",
        )
    if number == errno.EACCES:
        return PortRefused(
            number,
            f"port {port} on {host} is not allowed to this user",
            f"set {variable} to 1024 or more, or grant CAP_NET_BIND_SERVICE",
        )
    return PortRefused(
        number,
        f"cannot listen on port {port} of {host}: {error.strerror}",
        f"set DECNET_DECOY_HOST or {variable}",
    )


class BadOption(ValueError):
    """A variable of this decoy's own is wrong; `hint` says what would be right."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint
