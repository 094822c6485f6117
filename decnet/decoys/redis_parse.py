"""Requests in RESP2, Redis's protocol, and its replies. Pure; bounds far below Redis's own."""

from __future__ import annotations

import re

ARGUMENTS_MOST = 128
BULK_MOST = 1 << 20
"""Bytes of an argument; a longer one ends the visit, as in Redis it would at 512 MB."""
KEPT_MOST = 8 << 10
"""Bytes of an argument that are kept; the rest is skipped."""
INLINE_MOST = 4096

_NUMBER = re.compile(rb"-?\d{1,10}")
_INLINE = re.compile(rb'"((?:[^"\\]|\\.){0,4096})"|\'([^\']{0,4096})\'|(\S{1,4096})')

Reply = str | int | bytes | None | list["Reply"]


class ProtocolError(ValueError):
    """Not a request; the text is what Redis says then."""


def count_of(line: bytes) -> int:
    """The number of arguments in "*3" (its line end is gone).

    Raises:
        ProtocolError: no number, or too many.
    """
    number = _integer(line[1:])
    if number is None or number > ARGUMENTS_MOST:
        raise ProtocolError("invalid multibulk length")
    return max(number, 0)


def length_of(line: bytes) -> int:
    """The bytes of an argument in "$3".

    Raises:
        ProtocolError: no such line, or too long.
    """
    if line[:1] != b"$":
        got = line[:1].decode("latin-1") or " "
        raise ProtocolError(f"expected '$', got '{got if got.isprintable() else '?'}'")
    number = _integer(line[1:])
    if number is None or not 0 <= number <= BULK_MOST:
        raise ProtocolError("invalid bulk length")
    return number


def inline(line: bytes) -> list[bytes]:
    """The words of an inline command, quotes undone."""
    return [
        (double or single or bare)[:KEPT_MOST] for double, single, bare in _INLINE.findall(line)
    ][:ARGUMENTS_MOST]


def encode(reply: Reply) -> bytes:
    """A reply: "+OK" and "-ERR …" as text, numbers, bytes as bulk, None, or a list of those."""
    match reply:
        case None:
            return b"$-1\r\n"
        case int():
            return b":%d\r\n" % reply
        case str():
            return reply.encode("utf-8", "replace").translate(None, b"\r\n") + b"\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case list():
            return b"*%d\r\n" % len(reply) + b"".join(encode(item) for item in reply)


def _integer(text: bytes) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None
