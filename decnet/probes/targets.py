"""Who may be visited at all, and on which ports: the rules that keep the prober from harm.

The trap: on one machine the attackers are local, and so are our decoys. A prober that knocked at
one of those would be a new visit, by an attacker who is ourselves, to be probed in turn.
"""

from __future__ import annotations

import ipaddress
import socket

from decnet.probes.settings import ProbeSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def target_of(text: str, settings: ProbeSettings) -> str | None:
    """The address in its usual spelling; None where it is none, or may not be visited."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_multicast or address.is_unspecified:
        return None
    if not any(address in network for network in settings.targets):
        return None
    if any(address in network for network in settings.exclude):
        return None
    return str(address)


def is_own(ip: str) -> bool:
    """Whether the address is one of this host's: only those can be bound."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((ip, 0))
        except OSError:
            return False
    return True


def plan(settings: ProbeSettings, *, own: bool) -> dict[int, list[str]]:
    """Port -> probes, in the order of their weight; without our own ports on an own address.

    Args:
        own: the target is this host, or a decky of ours.
    """
    found: dict[int, list[str]] = {}
    for probe, ports in settings.ports.items():
        for port in ports:
            if own and port in settings.own_ports:
                continue
            found.setdefault(port, []).append(probe)
    return found
