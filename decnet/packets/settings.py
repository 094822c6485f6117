"""What the sniffer watches: an interface, and the ports of our decoys with their deckies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import NamedTuple

from decnet.decoys import catalogue
from decnet.settings import Reader, SettingsError

PORTS_MOST = 1000
"""Ports in the kernel's filter: four instructions each, of 4096."""


class Place(NamedTuple):
    """Who is behind a port."""

    decky: str
    service: str


@dataclass(frozen=True)
class SnifferSettings:
    """How to sniff.

    Args:
        interface: a network interface's name.
        places: port -> decky and service.
        host: where the decoys listen; connections to other addresses are not followed. "": any.
        packets_per_second: what is dissected at most; the rest is counted as dropped.
        flow_idle: seconds after which a silent connection is told of, and forgotten.
        dedup: seconds for which the same finding of the same address is told once.
        retry: seconds between two tries to open the interface.
    """

    interface: str = "lo"
    places: Mapping[int, Place] = field(default_factory=dict)
    host: str = ""
    packets_per_second: int = 5000
    flow_idle: int = 120
    dedup: int = 300
    retry: int = 30

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> SnifferSettings:
        """Read DECNET_SNIFFER_…, and the ports of the decoys.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        decky = read.text("DECKY_NAME", catalogue.FIRST_DECKY)
        count = read.number("SNIFFER_DECKIES", 16, 1, PORTS_MOST // len(catalogue.KINDS))
        interface, listed = _interface(read), _listed(read, decky)
        return cls(
            interface=interface,
            places=listed or decoy_places(read, decky, count),
            host="" if listed or interface != "lo" else _host(read),
            packets_per_second=read.number("SNIFFER_RATE", 5000, 10, 1_000_000),
            flow_idle=read.number("SNIFFER_FLOW_IDLE", 120, 1, 86_400),
            dedup=read.number("SNIFFER_DEDUP", 300, 0, 86_400),
            retry=read.number("SNIFFER_RETRY", 30, 1, 3600),
        )


def decoy_places(read: Reader, first: str, count: int) -> dict[int, Place]:
    """The ports of the first `count` deckies; a base port of 0 (the kernel's choice) has none."""
    places: dict[int, Place] = {}
    for kind in catalogue.KINDS.values():
        base = read.port(kind.variable.removeprefix("DECNET_"), kind.base_port)
        for number in range(1, count + 1):
            try:
                port = catalogue.port_of(kind.name, number, base)
            except catalogue.UnknownDecoy:
                break
            if port:
                places.setdefault(port, Place(catalogue.decky_name(number, first), kind.name))
    return places


def _listed(read: Reader, decky: str) -> dict[int, Place]:
    """DECNET_SNIFFER_PORTS: "2222 443=web-01/https": in place of the catalogue's."""
    places = {}
    for word in read.words("SNIFFER_PORTS"):
        number, _, who = word.partition("=")
        name, _, service = who.partition("/")
        port = read.number_in("SNIFFER_PORTS", number, 1, 65_535)
        places[port] = Place(name or decky, service or "tcp")
    if len(places) > PORTS_MOST:
        raise SettingsError(
            f"DECNET_SNIFFER_PORTS has {len(places)} ports", f"list at most {PORTS_MOST}"
        )
    return places


def _host(read: Reader) -> str:
    """On the loopback others use the same ports at other addresses; "" where decoys use all."""
    host = read.text("DECOY_HOST", "127.0.0.1")
    try:
        address = ip_address(host)
    except ValueError:  # a name
        return ""
    return "" if address.is_unspecified else str(address)


def _interface(read: Reader) -> str:
    name = read.text("SNIFFER_IFACE", "lo")
    # IFNAMSIZ of if.h, less the zero at the end.
    if len(name.encode()) > 15 or "/" in name or not name.isprintable():
        raise SettingsError(
            f"DECNET_SNIFFER_IFACE={name[:40]!r} is no interface's name", "see: ip -brief link"
        )
    return name
