"""A writer of tiny MaxMind databases (format 2.0), for tests of what reads them."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

U16, U32, U64 = 5, 6, 9
MARKER = b"\xab\xcd\xefMaxMind.com"


def encode(value: Any) -> bytes:
    """A value in the format's data section."""
    if isinstance(value, str):
        return _head(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        items = b"".join(encode(k) + encode(v) for k, v in value.items())
        return _head(7, len(value)) + items
    if isinstance(value, list):
        return _head(11, len(value)) + b"".join(map(encode, value))
    kind, number = value if isinstance(value, tuple) else (U32, value)
    data = number.to_bytes(8, "big").lstrip(b"\0")
    return _head(kind, len(data)) + data


def _head(kind: int, size: int) -> bytes:
    assert size < 285
    length = bytes([size - 29]) if size >= 29 else b""
    control = min(size, 29)
    if kind > 7:
        return bytes([control, kind - 7]) + length
    return bytes([kind << 5 | control]) + length


def write(path: Path, records: dict[str, Any]) -> None:
    """A database of networks -> records; IPv4 lies below ::/96, as in real ones."""
    nodes: list[list[Any]] = [[None, None]]
    for text in records:
        network = ipaddress.ip_network(text)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        bits = f"{int(network.network_address):0128b}"[:length]
        at = 0
        for bit in bits[:-1]:
            if nodes[at][int(bit)] is None:
                nodes.append([None, None])
                nodes[at][int(bit)] = len(nodes) - 1
            at = nodes[at][int(bit)]
        nodes[at][int(bits[-1])] = ("record", text)
    data, places = b"", {}
    for text, record in records.items():
        places[text] = len(data)
        data += encode(record)
    tree = b""
    for node in nodes:
        for branch in node:
            if branch is None:
                branch = len(nodes)
            elif isinstance(branch, tuple):
                branch = len(nodes) + 16 + places[branch[1]]
            tree += branch.to_bytes(4, "big")
    meta = {
        "binary_format_major_version": (U16, 2),
        "binary_format_minor_version": (U16, 0),
        "build_epoch": (U64, 1_790_000_000),
        "database_type": "Test",
        "description": {"en": "test"},
        "ip_version": (U16, 6),
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": (U16, 32),
    }
    path.write_bytes(tree + bytes(16) + data + MARKER + encode(meta))
