"""The data connections of FTP: one port a visit, for that visitor alone, and never a call outwards.

A visitor who names an address to be called (PORT, EPRT) is refused: a decoy that connects to where
it is told would be a weapon.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import AsyncIterator

ACCEPT_SECONDS = 20.0
PIECE_SECONDS = 30.0
CHUNK = 16 << 10
STRANGERS_MOST = 4
"""Connections from other addresses, after which nobody is waited for any more."""
LISTENERS_MOST = 64
"""Of all visitors together."""

_PORT = re.compile(rb"(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3}),(\d{1,3})")
_EPRT = re.compile(rb"(.)([12])\1([0-9A-Fa-f:.]{2,45})\1(\d{1,5})\1")


class Ports:
    """How many data ports are open, of all visitors."""

    def __init__(self) -> None:
        self.open = 0


class Passive:
    """A data port that waits for its visitor. `close` it.

    Args:
        own: the address that the visitor sees us at.
        peer: the visitor's address.
    Raises:
        OSError: no port, or too many are open.
    """

    def __init__(self, own: str, peer: str, ports: Ports) -> None:
        if ports.open >= LISTENERS_MOST:
            raise OSError(0, "too many data ports")
        self._peer = plain_address(peer)
        self._ports = ports
        family = socket.AF_INET6 if ":" in own else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._sock.setblocking(False)
            self._sock.bind((own, 0))
            self._sock.listen(2)
        except OSError:
            self._sock.close()
            raise
        ports.open += 1
        self.port: int = self._sock.getsockname()[1]

    def close(self) -> None:
        """Safe to call twice."""
        if self._sock.fileno() >= 0:
            self._sock.close()
            self._ports.open -= 1

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Data]:
        """The visitor's connection; port and connection are closed behind.

        Raises:
            TimeoutError: nobody came.
            OSError: only strangers came.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ACCEPT_SECONDS):
                for _ in range(STRANGERS_MOST):
                    sock, address = await loop.sock_accept(self._sock)
                    if plain_address(str(address[0])) == self._peer:
                        break
                    sock.close()
                else:
                    raise OSError(0, "only strangers")
        finally:
            self.close()
        try:
            sock.setblocking(False)
            yield Data(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        finally:
            sock.close()


class Data:
    """An open data connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            TimeoutError: the visitor does not read.
            OSError: it is gone.
        """
        loop = asyncio.get_running_loop()
        for at in range(0, len(data), CHUNK):
            async with asyncio.timeout(PIECE_SECONDS):
                await loop.sock_sendall(self._sock, data[at : at + CHUNK])

    async def receive(self) -> bytes:
        """The next piece; b"" at the end.

        Raises:
            TimeoutError: nothing came for long.
            OSError: the connection broke.
        """
        async with asyncio.timeout(PIECE_SECONDS):
            return await asyncio.get_running_loop().sock_recv(self._sock, CHUNK)


def plain_address(address: str) -> str:
    """The address without zone, an IPv4 one that is dressed as IPv6 undressed."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(ip, "ipv4_mapped", None)
    return str(mapped or ip)


def wanted_address(verb: str, rest: bytes) -> tuple[str, int] | None:
    """Where PORT or EPRT wants to be called; None where that is no address."""
    if verb == "PORT":
        match = _PORT.fullmatch(rest)
        if match is None or any(int(n) > 255 for n in match.groups()):
            return None
        numbers = [int(n) for n in match.groups()]
        return ".".join(map(str, numbers[:4])), numbers[4] * 256 + numbers[5]
    match = _EPRT.fullmatch(rest)
    return (match[3].decode(), int(match[4])) if match else None
