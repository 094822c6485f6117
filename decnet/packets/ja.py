"""JA3, JA3S and JA4: a TLS client or server by what its hello offers, in which order.

See: https://github.com/salesforce/ja3, https://github.com/FoxIO-LLC/ja4 (JA4: BSD 3-clause)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from decnet.packets.tls import ALPN, SERVER_NAME, ClientHello, ServerHello

EMPTY = "000000000000"
"""Stands for the hash of an empty list."""
_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}


def is_grease(value: int) -> bool:
    """Whether it is one of the meaningless values that clients mix in (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def ja3_text(hello: ClientHello) -> str:
    """What JA3 is the MD5 of."""
    parts = (hello.ciphers, hello.extensions, hello.groups, hello.point_formats)
    return ",".join([str(hello.version), *("-".join(map(str, _plain(part))) for part in parts)])


def ja3s_text(hello: ServerHello) -> str:
    """What JA3S is the MD5 of."""
    return f"{hello.version},{hello.cipher},{'-'.join(map(str, hello.extensions))}"


def md5(text: str) -> str:
    """Hex; no secret hangs on it."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello) -> str:
    """JA4 of a hello over TCP."""
    head, ciphers, extensions = _ja4_parts(hello)
    return f"{head}_{short_hash(ciphers)}_{short_hash(extensions)}"


def ja4_raw(hello: ClientHello) -> str:
    """JA4_r: the same, with the lists in place of their hashes."""
    return "_".join(_ja4_parts(hello))


def version_name(version: int) -> str:
    """Two characters for a TLS version."""
    return _VERSIONS.get(version, "00")


def alpn_ends(name: bytes) -> str:
    """First and last character of a protocol's name, of its hex where they are not alphanumeric."""
    if not name:
        return "00"
    ends = chr(name[0]), chr(name[-1])
    if all(c.isascii() and c.isalnum() for c in ends):
        return "".join(ends)
    return name.hex()[0] + name.hex()[-1]


def short_hash(text: str) -> str:
    """Twelve characters of a SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else EMPTY


def hex_list(values: Iterable[int]) -> str:
    """Four hex digits each, with commas."""
    return ",".join(f"{value:04x}" for value in values)


def _ja4_parts(hello: ClientHello) -> tuple[str, str, str]:
    ciphers, extensions = _plain(hello.ciphers), _plain(hello.extensions)
    version = max(_plain(hello.versions), default=hello.version)
    head = "".join(
        (
            "t",
            version_name(version),
            "d" if SERVER_NAME in extensions else "i",
            f"{min(len(ciphers), 99):02}",
            f"{min(len(extensions), 99):02}",
            alpn_ends(hello.alpn[0] if hello.alpn else b""),
        )
    )
    kept = hex_list(sorted(e for e in extensions if e not in (SERVER_NAME, ALPN)))
    signatures = hex_list(_plain(hello.signatures))
    return head, hex_list(sorted(ciphers)), f"{kept}_{signatures}" if signatures else kept


def _plain(values: Iterable[int]) -> list[int]:
    return [value for value in values if not is_grease(value)]
