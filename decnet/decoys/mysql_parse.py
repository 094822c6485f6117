"""The opening of MySQL's client protocol: greeting, log-in, refusal. Pure and bounded."""

from __future__ import annotations

from dataclasses import dataclass

PACKET_MOST = 4096
"""Bytes of a log-in; an honest one has a few hundred."""
SALT_BYTES = 20
NATIVE = "mysql_native_password"

_LONG_PASSWORD, _CONNECT_WITH_DB, _PROTOCOL_41 = 0x1, 0x8, 0x200
_SSL, _TRANSACTIONS, _SECURE = 0x800, 0x2000, 0x8000
_PLUGIN_AUTH, _CONNECT_ATTRS, _LENENC_AUTH = 0x80000, 0x100000, 0x200000
CAPABILITIES = (
    _LONG_PASSWORD | 0x2 | 0x4 | _CONNECT_WITH_DB | 0x80 | _PROTOCOL_41 | 0x400 | _TRANSACTIONS
) | (_SECURE | 0x10000 | 0x20000 | 0x40000 | _PLUGIN_AUTH | _CONNECT_ATTRS | _LENENC_AUTH)


class BadPacket(ValueError):
    """Not a packet of the log-in; the text says what is wrong."""


@dataclass(frozen=True)
class LoginRequest:
    """What a client sends. `response` is the proof, whose form is the plugin's."""

    user: bytes
    response: bytes
    database: bytes
    plugin: str
    capabilities: int
    attributes: dict[str, str]


def packet(sequence: int, payload: bytes) -> bytes:
    """A packet with its header; the payload has less than 16 MB."""
    return len(payload).to_bytes(3, "little") + bytes((sequence & 0xFF,)) + payload


def greeting(version: str, thread: int, salt: bytes) -> bytes:
    """The server's first packet (protocol 10).

    Args:
        salt: `SALT_BYTES` bytes, none of them 0.
    """
    return packet(
        0,
        b"\x0a"
        + version.encode()
        + b"\0"
        + (thread & 0xFFFFFFFF).to_bytes(4, "little")
        + salt[:8]
        + b"\0"
        + (CAPABILITIES & 0xFFFF).to_bytes(2, "little")
        + b"\x2d\x02\x00"  # utf8mb4_general_ci, autocommit
        + (CAPABILITIES >> 16).to_bytes(2, "little")
        + bytes((SALT_BYTES + 1,))
        + bytes(10)
        + salt[8:]
        + b"\0"
        + NATIVE.encode()
        + b"\0",
    )


def switch_to_native(sequence: int, salt: bytes) -> bytes:
    """Ask the client to prove itself by `NATIVE` instead."""
    return packet(sequence, b"\xfe" + NATIVE.encode() + b"\0" + salt + b"\0")


def error(sequence: int, code: int, state: str, text: str) -> bytes:
    """An error packet."""
    body = f"#{state}{text}".encode("utf-8", "replace")
    return packet(sequence, b"\xff" + code.to_bytes(2, "little") + body)


def parse_login(payload: bytes) -> LoginRequest:
    """The client's answer to the greeting.

    Raises:
        BadPacket: it is none, or asks for what was not offered (TLS).
    """
    if len(payload) < 32:
        raise BadPacket("log-in too short")
    capabilities = int.from_bytes(payload[:4], "little")
    if not capabilities & _PROTOCOL_41:
        raise BadPacket("log-in of before MySQL 4.1")
    if capabilities & _SSL and len(payload) == 32:
        raise BadPacket("TLS was not offered")
    user, at = _text(payload, 32)
    if capabilities & _LENENC_AUTH:
        response, at = _counted(payload, at)
    elif capabilities & _SECURE:
        count = payload[at] if at < len(payload) else 0
        response, at = payload[at + 1 : at + 1 + count], at + 1 + count
    else:
        response, at = _text(payload, at)
    database, plugin = b"", b""
    if capabilities & _CONNECT_WITH_DB and at < len(payload):
        database, at = _text(payload, at)
    if capabilities & _PLUGIN_AUTH and at < len(payload):
        plugin, at = _text(payload, at)
    attributes = {}
    if capabilities & _CONNECT_ATTRS and at < len(payload):
        attributes = _attributes(_counted(payload, at)[0])
    return LoginRequest(
        user, response, database, plugin.decode("latin-1")[:64], capabilities, attributes
    )


def crackable(salt: bytes, response: bytes) -> str:
    """Salt and proof in the form that password crackers read."""
    return f"$mysqlna${salt.hex()}*{response.hex()}"


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = data.find(b"\0", at)
    # The last text of a packet may lack its end.
    return (data[at:end], end + 1) if end >= 0 else (data[at:], len(data))


def _counted(data: bytes, at: int) -> tuple[bytes, int]:
    if at >= len(data):
        return b"", at
    first, at = data[at], at + 1
    if first >= 0xFB:
        width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
        if width is None:
            raise BadPacket("no length")
        first, at = int.from_bytes(data[at : at + width], "little"), at + width
    if first > len(data) - at:
        raise BadPacket("longer than its packet")
    return data[at : at + first], at + first


def _attributes(data: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and len(found) < 16:
        name, at = _counted(data, at)
        value, at = _counted(data, at)
        found[name.decode("utf-8", "replace")[:64]] = value.decode("utf-8", "replace")[:128]
    return found
