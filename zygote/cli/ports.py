"""Ports that workers will listen on: taken, promised twice, or lent to outgoing connections.

Facts:

- bind(2) fails with EADDRINUSE where another socket listens, with EACCES below the first port that
  anybody may have (net.ipv4.ip_unprivileged_port_start), with EADDRNOTAVAIL for a foreign address.
  SO_REUSEADDR lets it pass where only closed connections linger, as a server's own bind does.
- An outgoing connection gets a port of net.ipv4.ip_local_port_range, less those of
  net.ipv4.ip_local_reserved_ports. While it lasts nobody can listen there (ip(7), ip-sysctl).
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_RESERVED = Path("/proc/sys/net/ipv4/ip_local_reserved_ports")
_TOLD = 5


class Port(NamedTuple):
    """Where a worker will listen; 0: wherever the kernel likes.

    Attributes:
        setting: what changes it, for the remedy.
    """

    worker: str
    host: str
    number: int
    setting: str
    udp: bool = False


def try_bind(port: Port) -> int:
    """Have the port for a moment; the errno, or 0."""
    family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if port.udp else socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((port.host, port.number))
            if not port.udp:
                sock.listen(1)
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def faults(ports: Iterable[Port], running: Iterable[str] = ()) -> list[str]:
    """What will go wrong, a line each, with the way out; many of a sort are told as one.

    Args:
        running: workers that hold their ports already.
    """
    wanted = [port for port in ports if port.number]
    held = set(running)
    free = [port for port in wanted if port.worker not in held]
    return [*_twice(wanted), *_taken(free), *_lent(free)]


def _twice(ports: list[Port]) -> list[str]:
    by_place: dict[tuple[int, bool], list[Port]] = {}
    for port in ports:
        by_place.setdefault((port.number, port.udp), []).append(port)
    found = []
    for (number, _), group in by_place.items():
        for at, first in enumerate(group):
            others = [p for p in group[at + 1 :] if _same_host(first.host, p.host)]
            found += [
                f"'{first.worker}' and '{other.worker}' would both listen on port {number}; change "
                f"{' or '.join(dict.fromkeys((first.setting, other.setting)))}"
                for other in others
            ]
    return _few(found)


def _taken(ports: list[Port]) -> list[str]:
    found = []
    for port in ports:
        number = try_bind(port)
        about = f"'{port.worker}': port {port.number} on {port.host}"
        if number == errno.EADDRINUSE:
            found.append(
                f"{about} is taken; stop what listens there (ss -ltnup 'sport = :{port.number}'), "
                f"or change {port.setting}"
            )
        elif number == errno.EACCES:
            found.append(
                f"{about} is not allowed to this user; change {port.setting} to 1024 or more, or "
                "grant CAP_NET_BIND_SERVICE"
            )
        elif number:
            found.append(f"{about}: {os.strerror(number)}; change {port.setting}, or its host")
    return _few(found)


def _lent(ports: list[Port]) -> list[str]:
    low, high = outgoing()
    reserved = _reserved()
    found = sorted({p.number for p in ports if low <= p.number <= high} - reserved)
    if not found:
        return []
    some = ",".join(map(str, found[:_TOLD])) + (",…" if len(found) > _TOLD else "")
    ones = "port lies" if len(found) == 1 else "ports lie"
    return [
        f"{len(found)} {ones} among those that the kernel lends to outgoing connections ({low} to "
        f"{high}), any of which may be there first: {some}; move them below {low}, or: sysctl "
        f"net.ipv4.ip_local_reserved_ports={found[0]}-{found[-1]}"
    ]


def outgoing() -> tuple[int, int]:
    """The range that outgoing connections get their ports from; (0, -1) if nobody knows."""
    try:
        low, high = _RANGE.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 0, -1


def _reserved() -> set[int]:
    """Ports of that range that are left alone."""
    try:
        parts = _RESERVED.read_text().strip().split(",")
        pairs = [part.partition("-") for part in parts if part]
        return {n for low, _, high in pairs for n in range(int(low), int(high or low) + 1)}
    except (OSError, ValueError):
        return set()


def _same_host(one: str, other: str) -> bool:
    every = {"", "0.0.0.0", "::"}
    return one == other or one in every or other in every


def _few(lines: list[str]) -> list[str]:
    if len(lines) <= _TOLD:
        return lines
    return [*lines[:_TOLD], f"and {len(lines) - _TOLD:,} ports more, likewise"]
