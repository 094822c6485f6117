"""What TLS says in the clear: ClientHello, ServerHello, and (before 1.3) the certificate.

Every length is checked against what is there; bytes that do not fit raise `Malformed`, bytes that
are still to come give nothing yet.

See: RFC 5246 and RFC 8446, sections 4 and 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

HANDSHAKE = 22
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
RECORD_MOST = (1 << 14) + 256
SERVER_NAME, GROUPS, POINT_FORMATS, SIGNATURES = 0, 10, 11, 13
ALPN, VERSIONS = 16, 43
LIST_MOST = 256
"""Ciphers, extensions and other lists beyond this are cut: nobody sends so many."""


class Malformed(Exception):
    """These bytes are not TLS, or not well made."""


@dataclass(frozen=True)
class ClientHello:
    """Lists in the order in which they were sent, GREASE included."""

    version: int
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...] = ()
    point_formats: tuple[int, ...] = ()
    signatures: tuple[int, ...] = ()
    alpn: tuple[bytes, ...] = ()
    versions: tuple[int, ...] = ()
    server_name: str = ""
    session_id: bytes = b""


@dataclass(frozen=True)
class ServerHello:
    """The server's choice."""

    version: int
    cipher: int
    extensions: tuple[int, ...]
    alpn: bytes = b""
    chosen_version: int = 0
    """From supported_versions; 0 where it was not sent."""
    session_id: bytes = b""


class Reader:
    """Takes bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def __bool__(self) -> bool:
        return self.at < len(self.data)

    def take(self, count: int) -> bytes:
        """So many bytes.

        Raises:
            Malformed: there are fewer.
        """
        if self.at + count > len(self.data):
            raise Malformed(f"{count} bytes expected, {len(self.data) - self.at} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, size: int) -> int:
        """A big-endian number of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """Bytes behind a length of `size` bytes."""
        return self.take(self.number(size))


def is_tls(data: bytes) -> bool:
    """Whether the bytes begin as a handshake record does."""
    return data[:1] == b"\x16" and (len(data) < 2 or data[1] == 3)


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole handshake messages at the beginning of a stream; ends at what is not there yet.

    Raises:
        Malformed: a record or message cannot be.
    """
    handshake = _handshake_bytes(data)
    at = 0
    while len(handshake) - at >= 4:
        size = int.from_bytes(handshake[at + 1 : at + 4], "big")
        if size > 1 << 17:
            raise Malformed(f"a message of {size} bytes")
        if len(handshake) - at < 4 + size:
            return
        yield handshake[at], handshake[at + 4 : at + 4 + size]
        at += 4 + size


def _handshake_bytes(data: bytes) -> bytes:
    """The contents of the handshake records, up to the first of another kind."""
    found = bytearray()
    at = 0
    while len(data) - at >= 5 and data[at] == HANDSHAKE:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at + 1] != 3 or not 0 < size <= RECORD_MOST:
            raise Malformed("no TLS record")
        found += data[at + 5 : at + 5 + size]
        at += 5 + size
    return bytes(found)


def client_hello(body: bytes) -> ClientHello:
    """Read a ClientHello's body.

    Raises:
        Malformed: it is none.
    """
    read = Reader(body)
    version = read.number(2)
    read.take(32)
    session_id = read.block(1)
    ciphers = _numbers(read.block(2))
    read.block(1)
    extensions = list(_extensions(read))
    # Of a repeated extension the first counts; the list still shows it twice.
    by_type = dict(reversed(extensions))
    return ClientHello(
        version=version,
        ciphers=ciphers,
        extensions=tuple(kind for kind, _ in extensions),
        groups=_numbers(_inner(by_type, GROUPS, 2)),
        point_formats=tuple(_inner(by_type, POINT_FORMATS, 1)[:LIST_MOST]),
        signatures=_numbers(_inner(by_type, SIGNATURES, 2)),
        alpn=tuple(_names(_inner(by_type, ALPN, 2))),
        versions=_numbers(_inner(by_type, VERSIONS, 1)),
        server_name=_server_name(by_type.get(SERVER_NAME, b"")),
        session_id=session_id,
    )


def server_hello(body: bytes) -> ServerHello:
    """Read a ServerHello's body.

    Raises:
        Malformed: it is none.
    """
    read = Reader(body)
    version = read.number(2)
    read.take(32)
    session_id = read.block(1)
    cipher = read.number(2)
    read.take(1)
    extensions = list(_extensions(read))
    by_type = dict(reversed(extensions))
    chosen = by_type.get(VERSIONS, b"")
    names = list(_names(_inner(by_type, ALPN, 2)))
    return ServerHello(
        version=version,
        cipher=cipher,
        extensions=tuple(kind for kind, _ in extensions),
        alpn=names[0] if names else b"",
        chosen_version=int.from_bytes(chosen, "big") if len(chosen) == 2 else 0,
        session_id=session_id,
    )


def leaf_certificate(body: bytes) -> bytes:
    """The first certificate, DER, of a Certificate message of TLS 1.2 or before.

    Raises:
        Malformed: it is none, or there is no certificate in it.
    """
    leaf = Reader(Reader(body).block(3)).block(3)
    if not leaf:
        raise Malformed("an empty certificate")
    return leaf


def _extensions(read: Reader) -> Iterator[tuple[int, bytes]]:
    if not read:
        return
    inner = Reader(read.block(2))
    for _ in range(LIST_MOST):
        if not inner:
            return
        yield inner.number(2), inner.block(2)


def _inner(by_type: dict[int, bytes], kind: int, size: int) -> bytes:
    value = by_type.get(kind)
    return b"" if value is None else Reader(value).block(size)


def _numbers(data: bytes) -> tuple[int, ...]:
    if len(data) % 2:
        raise Malformed("half a number")
    pairs = itertools.islice(zip(data[::2], data[1::2], strict=True), LIST_MOST)
    return tuple(high << 8 | low for high, low in pairs)


def _names(data: bytes) -> Iterator[bytes]:
    read = Reader(data)
    for _ in range(LIST_MOST):
        if not read:
            return
        yield read.block(1)


def _server_name(value: bytes) -> str:
    if not value:
        return ""
    read = Reader(Reader(value).block(2))
    if not read or read.number(1) != 0:
        return ""
    return read.block(2)[:255].decode("ascii", "backslashreplace")
