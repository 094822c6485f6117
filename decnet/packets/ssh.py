"""What SSH says in the clear: its banner and its key exchange offer, of which HASSH is made.

See: RFC 4253, sections 4.2, 6 and 7.1; https://github.com/salesforce/hassh
"""

from __future__ import annotations

from dataclasses import dataclass

from decnet.packets.ja import md5
from decnet.packets.tls import Malformed, Reader

BANNER_MOST = 255
PACKET_MOST = 35_000
KEXINIT = 20
LINES_MOST = 64
"""A server may say other lines before its banner."""


@dataclass(frozen=True)
class Offer:
    """The name lists of a KEXINIT, in the order of RFC 4253; the languages left out."""

    kex: str
    host_keys: str
    encryption: tuple[str, str]
    mac: tuple[str, str]
    compression: tuple[str, str]

    @property
    def client_text(self) -> str:
        """What a client's HASSH is the MD5 of."""
        return ";".join((self.kex, self.encryption[0], self.mac[0], self.compression[0]))

    @property
    def server_text(self) -> str:
        """What a server's HASSH is the MD5 of."""
        return ";".join((self.kex, self.encryption[1], self.mac[1], self.compression[1]))

    @property
    def hassh(self) -> str:
        """The client's fingerprint."""
        return md5(self.client_text)

    @property
    def hassh_server(self) -> str:
        """The server's fingerprint."""
        return md5(self.server_text)


def is_ssh(data: bytes) -> bool:
    """Whether the bytes may begin a client's stream."""
    return data[:4] == b"SSH-"[: len(data)]


def split_banner(data: bytes) -> tuple[str, bytes] | None:
    """The banner and what follows; None where it is not complete yet.

    Raises:
        Malformed: there will be none.
    """
    rest = data
    for _ in range(LINES_MOST):
        line, feed, rest = rest.partition(b"\n")
        if not feed:
            if len(line) > BANNER_MOST:
                raise Malformed("no end of the banner")
            return None
        if line.startswith(b"SSH-"):
            return line.rstrip(b"\r")[:BANNER_MOST].decode("latin-1"), rest
    raise Malformed("no banner")


def first_offer(data: bytes) -> Offer | None:
    """The KEXINIT that follows a banner; None where it is not complete yet.

    Raises:
        Malformed: it is something else.
    """
    if len(data) < 6:
        return None
    size, padding, kind = int.from_bytes(data[:4], "big"), data[4], data[5]
    if kind != KEXINIT or not padding + 2 < size <= PACKET_MOST:
        raise Malformed("no key exchange offer")
    if len(data) < 4 + size:
        return None
    read = Reader(data[6 : 4 + size - padding])
    read.take(16)
    names = [read.block(4).decode("ascii", "backslashreplace") for _ in range(8)]
    return Offer(
        names[0], names[1], (names[2], names[3]), (names[4], names[5]), (names[6], names[7])
    )
