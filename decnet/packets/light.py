"""The layers of scapy that we use, without the table that it loads beside any of them.

`scapy.data` reads the makers of network cards into a dict when it is imported: 15 MB in every floor
that has scapy (`zygotectl floor --deep decnet.packets.floor`), for names of MAC addresses, which
nobody asks for here. So an empty table stands in its place meanwhile. scapy keeps what it has read
in the user's cache folder; that is switched off meanwhile, too, lest other programs find our empty
table there. (Where an old Wireshark has installed its own table, scapy reads that all the same.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import scapy.main

_TABLE, _READER = "scapy.libs.manuf", "scapy.data"


@contextmanager
def _no_makers() -> Iterator[None]:
    if _READER in sys.modules:  # somebody wanted all of scapy
        yield
        return
    empty = ModuleType(_TABLE)
    empty.DATA = ""  # type: ignore[attr-defined]
    folder, scapy.main.SCAPY_CACHE_FOLDER = scapy.main.SCAPY_CACHE_FOLDER, None
    sys.modules[_TABLE] = empty
    try:
        yield
    finally:
        del sys.modules[_TABLE]
        scapy.main.SCAPY_CACHE_FOLDER = folder


with _no_makers():
    from scapy.layers.inet import IP, TCP
    from scapy.layers.inet6 import IPv6

__all__ = ["IP", "TCP", "IPv6"]
