"""JARM: a TLS server by its answers to ten odd ClientHellos. Pure: bytes in, text out.

Each hello asks differently (version, order of ciphers, protocols); what the server chooses makes
a fingerprint of 62 characters: three for each answer, then a hash of all extensions.

See: https://github.com/salesforce/jarm
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from decnet.packets import tls

T = TypeVar("T")
EMPTY = "0" * 62
"""No answer to any hello: no TLS there."""
NO_ANSWER = "|||"
ANSWER_MOST = 1484
"""Bytes read of an answer, as by the original."""
_LISTED = (
    "0016 0033 0067 c09e c0a2 009e 0039 006b c09f c0a3 009f 0045 00be 0088 00c4 009a c008 c009 "
    "c023 c0ac c0ae c02b c00a c024 c0ad c0af c02c c072 c073 cca9 1302 1301 cc14 c007 c012 c013 "
    "c027 c02f c014 c028 c030 c060 c061 c076 c077 cca8 1305 1304 1303 cc13 c011 000a 002f 003c "
    "c09c c0a0 009c 0035 003d c09d c0a1 009d 0041 00ba 0084 00c0 0007 0004 0005"
)
CIPHERS = tuple(int(word, 16) for word in _LISTED.split())
"""What is offered, in the order "forward"."""
_NUMBERED = (*sorted(c for c in CIPHERS if c >> 8 != 0x13), *range(0x1301, 0x1306))
"""A cipher's place here, from 1, stands for it in the fingerprint."""
PROTOCOLS = (
    *(b"http/0.9", b"http/1.0", b"http/1.1", b"spdy/1", b"spdy/2", b"spdy/3"),
    *(b"h2", b"h2c", b"hq"),
)
_RARE = tuple(name for name in PROTOCOLS if name not in (b"http/1.1", b"h2"))
_GREASE = tuple(n << 12 | 0x0A00 | n << 4 | 0x0A for n in range(16))
_SIGNATURES = (0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201)
_GROUPS = (0x001D, 0x0017, 0x0018, 0x0019)


class Hello(NamedTuple):
    """How one of the ten asks.

    Args:
        version: 0x0302, 0x0303 or 0x0304.
        order: of the ciphers.
        tls13: whether the ciphers of TLS 1.3 are offered.
        grease: mix in values that mean nothing.
        rare: leave out the protocols that all servers know.
        support: highest version in supported_versions; 0: no such extension.
        listing: order of protocols and versions.
    """

    version: int
    order: str
    tls13: bool = True
    grease: bool = False
    rare: bool = False
    support: int = 0
    listing: str = "forward"


HELLOS = (
    Hello(0x0303, "forward", support=0x0303, listing="reverse"),
    Hello(0x0303, "reverse", support=0x0303),
    Hello(0x0303, "top half"),
    Hello(0x0303, "bottom half", rare=True),
    Hello(0x0303, "middle out", grease=True, rare=True, listing="reverse"),
    Hello(0x0302, "forward"),
    Hello(0x0304, "forward", support=0x0304, listing="reverse"),
    Hello(0x0304, "reverse", support=0x0304),
    Hello(0x0304, "forward", tls13=False, support=0x0304),
    Hello(0x0304, "middle out", grease=True, support=0x0304, listing="reverse"),
)


def build(hello: Hello, host: str) -> bytes:
    """The record to be sent; random where TLS wants chance."""
    offered = [c for c in CIPHERS if hello.tls13 or c >> 8 != 0x13]
    ciphers = arrange(offered, hello.order)
    if hello.grease:
        ciphers.insert(0, random.choice(_GREASE))
    legacy = min(hello.version, 0x0303)
    body = legacy.to_bytes(2, "big") + os.urandom(32) + _block(1, os.urandom(32))
    body += _block(2, _numbers(ciphers)) + b"\x01\x00" + _block(2, _extensions(hello, host))
    record = 0x0301 if hello.version == 0x0304 else hello.version
    message = b"\x01" + _block(3, body)
    return b"\x16" + record.to_bytes(2, "big") + _block(2, message)


def answer(data: bytes) -> str:
    """What counts of a server's first bytes: "cipher|version|protocol|extensions"."""
    try:
        kind, body = next(tls.messages(data), (0, b""))
        if kind != tls.SERVER_HELLO:
            return NO_ANSWER
        hello = tls.server_hello(body)
    except tls.Malformed:
        return NO_ANSWER
    protocol = hello.alpn.decode("latin-1")
    extensions = "-".join(f"{kind:04x}" for kind in hello.extensions)
    return f"{hello.cipher:04x}|{hello.version:04x}|{protocol}|{extensions}"


def fingerprint(answers: Sequence[str]) -> str:
    """The fingerprint of ten answers, in the order of `HELLOS`."""
    if all(one == NO_ANSWER for one in answers):
        return EMPTY
    front, tail = [], []
    for one in answers:
        cipher, version, protocol, extensions = one.split("|", 3)
        front.append(_cipher_mark(cipher) + _version_mark(version))
        tail.append(protocol + extensions)
    return "".join(front) + hashlib.sha256("".join(tail).encode()).hexdigest()[:32]


def arrange(items: Sequence[T], order: str) -> list[T]:
    """The items in one of JARM's orders."""
    middle, odd = len(items) // 2, len(items) % 2
    if order == "reverse":
        return list(items[::-1])
    if order == "bottom half":
        return list(items[middle + odd :])
    if order == "top half":
        return list(items[: middle + odd][::-1])
    if order == "middle out":
        upper = items[middle + odd :]
        lower = items[:middle][::-1]
        pairs = [item for pair in zip(upper, lower, strict=True) for item in pair]
        return [*items[middle : middle + odd], *pairs]
    return list(items)


def _cipher_mark(cipher: str) -> str:
    if not cipher:
        return "00"
    number = int(cipher, 16)
    place = _NUMBERED.index(number) if number in _NUMBERED else len(_NUMBERED)
    return f"{place + 1:02x}"


def _version_mark(version: str) -> str:
    if not version:
        return "0"
    # The last digit as a letter: TLS 1.2, 0x0303, is "d".
    place = int(version[3], 16)
    return "abcdef"[place] if place < 6 else "0"


def _extensions(hello: Hello, host: str) -> bytes:
    name = host.encode()
    share = _number(0x001D) + _block(2, os.urandom(32))
    protocols = arrange(_RARE if hello.rare else PROTOCOLS, hello.listing)
    if hello.grease:
        share = _number(random.choice(_GREASE)) + b"\x00\x01\x00" + share
    parts = [
        (0x0000, _block(2, b"\x00" + _block(2, name))),
        (0x0017, b""),
        (0x0001, b"\x01"),
        (0xFF01, b"\x00"),
        (0x000A, _block(2, _numbers(_GROUPS))),
        (0x000B, b"\x01\x00"),
        (0x0023, b""),
        (0x0010, _block(2, b"".join(_block(1, one) for one in protocols))),
        (0x000D, _block(2, _numbers(_SIGNATURES))),
        (0x0033, _block(2, share)),
        (0x002D, b"\x01\x01"),
    ]
    if hello.grease:
        parts.insert(0, (random.choice(_GREASE), b""))
    if hello.support:
        versions = arrange(range(0x0301, hello.support + 1), hello.listing)
        if hello.grease:
            versions.insert(0, random.choice(_GREASE))
        parts.append((0x002B, _block(1, _numbers(versions))))
    return b"".join(_number(kind) + _block(2, value) for kind, value in parts)


def _numbers(values: Sequence[int]) -> bytes:
    return b"".join(map(_number, values))


def _number(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _block(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data
