"""Whom the prober may visit, and how. Nobody outside DECNET_PROBE_TARGETS, ever."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network

from decnet.decoys import catalogue
from decnet.packets.settings import decoy_places
from decnet.settings import Reader, SettingsError

Network = IPv4Network | IPv6Network
LOOPBACK = "127.0.0.0/8"
DEFAULT_PORTS = {
    "jarm": (443, 8443, 8080, 4443, 50050, 2222, 993, 995, 8888, 9001),
    "hassh": (22, 2222, 22222, 2022),
    "tcpfp": (22, 80, 443, 8080, 8443, 445, 3389),
    "tls": (443, 8443, 8080, 4443, 50050, 993, 995),
    "banner": (21, 22, 23, 25, 110, 143, 3306),
}
"""Probe -> ports. `tls` is the leaf certificate."""
OWN_SERVICES = {"API_PORT": 8000, "WEB_PORT": 8080, "CANARY_PORT": 8088, "SWARM_SYSLOG_PORT": 6514}
"""Our own servers beside the decoys: variable -> default port."""


@dataclass(frozen=True)
class ProbeSettings:
    """How to probe. Times in seconds.

    Args:
        targets: the only networks that may be visited; none: nobody is.
        exclude: networks that may not, although they are in `targets`.
        ports: probe -> ports.
        own_ports: where decoys and servers of ours listen; never visited on an address of ours,
            or our own visit would make a new attacker.
        ttl: an attacker who comes back after so long is visited again.
        timeout: for one connection or answer.
        gap: between two connections to the same address.
        concurrency: addresses visited at the same time; one address is visited serially.
        lease: after so long a claim of a prober that died is taken over.
    """

    targets: tuple[Network, ...] = ()
    exclude: tuple[Network, ...] = ()
    ports: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: DEFAULT_PORTS)
    own_ports: frozenset[int] = frozenset()
    ttl: int = 86_400
    timeout: float = 5.0
    gap: float = 0.1
    concurrency: int = 4
    lease: int = 30

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ProbeSettings:
        """Read DECNET_PROBE_…

        Raises:
            SettingsError: a value is no network, port or number.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            targets=_networks(read, "PROBE_TARGETS", LOOPBACK),
            exclude=_networks(read, "PROBE_EXCLUDE", "none"),
            ports={name: _ports(read, name, ports) for name, ports in DEFAULT_PORTS.items()},
            own_ports=own_ports(read),
            ttl=read.number("PROBE_TTL", 86_400, 1, 366 * 86_400),
            timeout=read.number("PROBE_TIMEOUT", 5, 1, 60),
            gap=read.number("PROBE_GAP_MS", 100, 0, 60_000) / 1000,
            concurrency=read.number("PROBE_CONCURRENCY", 4, 1, 64),
            lease=read.number("PROBE_LEASE", 30, 2, 3600),
        )


def own_ports(read: Reader) -> frozenset[int]:
    """Ports on which this fleet listens: every decky's decoys, and our servers."""
    first = read.text("DECKY_NAME", catalogue.FIRST_DECKY)
    ports = set(decoy_places(read, first, catalogue.DECKIES_MOST))
    ports |= {read.port(name, default) for name, default in OWN_SERVICES.items()}
    return frozenset(ports - {0})


def _ports(read: Reader, probe: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """DECNET_PROBE_PORTS_<NAME>: numbers, or "none" to switch the probe off."""
    name = f"PROBE_PORTS_{probe.upper()}"
    words = read.words(name)
    if words == ["none"]:
        return ()
    return tuple(read.number_in(name, word, 1, 65_535) for word in words[:64]) or default


def _networks(read: Reader, name: str, default: str) -> tuple[Network, ...]:
    words = read.words(name) or [default]
    if words == ["none"]:
        return ()
    found = []
    for word in words:
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            raise SettingsError(
                f"DECNET_{name}: {word!r} is no network",
                "write networks as 192.0.2.0/24, single addresses, or none",
            ) from None
    return tuple(found)
