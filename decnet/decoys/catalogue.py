"""What decoys there are: kinds, the names of their instances, their ports, and archetypes.

Pure and cheap to import (the standard library only), for every worker that plans, counts or
shows decoys. `decoy@ssh` is the SSH decoy of the first decky, `decoy@ssh-02` that of the second:

    >>> parse_instance("ssh-02")
    Instance(kind='ssh', number=2, decky='decky-02')
    >>> port_of("ssh", 2)
    2322

How a decky looks (its host name, its versions) is in `decnet.decoys.looks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

FIRST_DECKY = "decky-01"
"""The first decky's name where DECNET_DECKY_NAME does not say another."""
DECKIES_MOST = 500
PORT_STEP = 100
"""From one decky's port to the next one's: the bases differ in their last two digits."""
WORKER_PREFIX = "decoy@"

_INSTANCE = re.compile(r"([a-z]{1,16})(?:-([0-9]{2,3}))?")
_DECKY = re.compile(r"decky-([0-9]{2,3})")


class UnknownDecoy(ValueError):
    """No such kind, instance or port; the text says what there is."""


@dataclass(frozen=True)
class Kind:
    """One protocol that can be pretended.

    Args:
        module: has `SERVICE` and `serve(sock, house)`.
        base_port: the first decky's default; unprivileged.
        real_port: where the real thing listens.
    """

    name: str
    module: str
    base_port: int
    real_port: int

    @property
    def variable(self) -> str:
        """The environment variable that sets the base port; 0 lets the kernel choose."""
        return f"DECNET_DECOY_{self.name.upper()}_PORT"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("ssh", "decnet.decoys.ssh", 2222, 22),
        Kind("http", "decnet.decoys.http", 8081, 80),
        Kind("telnet", "decnet.decoys.telnet", 2323, 23),
        Kind("ftp", "decnet.decoys.ftp", 2121, 21),
        Kind("smtp", "decnet.decoys.smtp", 2525, 25),
        Kind("redis", "decnet.decoys.redis", 6379, 6379),
        Kind("mysql", "decnet.decoys.mysql", 3306, 3306),
        Kind("tcp", "decnet.decoys.tcp", 9999, 9999),
    )
}


class Instance(NamedTuple):
    """One decoy: what it pretends, and the decky that it belongs to."""

    kind: str
    number: int
    decky: str


@dataclass(frozen=True)
class Archetype:
    """A kind of machine: the services of which a decky of this sort shows a few."""

    name: str
    services: tuple[str, ...]
    what: str


ARCHETYPES: dict[str, Archetype] = {
    archetype.name: archetype
    for archetype in (
        Archetype("linux-server", ("ssh", "http", "ftp"), "a plain server"),
        Archetype("database-server", ("mysql", "redis", "ssh"), "databases, and a way in"),
        Archetype("mail-server", ("smtp", "http", "ssh"), "mail, and its web front"),
        Archetype("devops-host", ("ssh", "http", "redis", "tcp"), "builds and caches"),
        Archetype("iot-device", ("telnet", "http", "ftp"), "an appliance that nobody patches"),
        Archetype("printer", ("http", "ftp", "telnet", "tcp"), "an office printer"),
        Archetype("industrial-control", ("telnet", "http", "tcp"), "a gateway to machines"),
    )
}


def kinds() -> tuple[str, ...]:
    """The names of all kinds."""
    return tuple(KINDS)


def parse_instance(text: str, first: str = FIRST_DECKY) -> Instance:
    """What an instance's name says: "ssh", "ssh-02", or a worker's name, "decoy@ssh-02".

    Args:
        first: the name of decky 1 (DECNET_DECKY_NAME).
    Raises:
        UnknownDecoy: it names no kind, or no number from 01 to `DECKIES_MOST`.
    """
    match = _INSTANCE.fullmatch(text.removeprefix(WORKER_PREFIX))
    if match is None or match[1] not in KINDS:
        raise UnknownDecoy(f"no decoy {text[:64]!r}; there are: {', '.join(KINDS)}")
    number = int(match[2] or 1)
    return Instance(match[1], number, decky_name(number, first))


def instance_name(kind: str, number: int = 1) -> str:
    """The instance of a kind on a decky: "ssh" on the first, "ssh-02" on the second."""
    _check(number)
    return kind if number == 1 else f"{kind}-{number:02}"


def worker_name(kind: str, number: int = 1) -> str:
    """The instance's worker: "decoy@ssh-02"."""
    return WORKER_PREFIX + instance_name(kind, number)


def decky_name(number: int, first: str = FIRST_DECKY) -> str:
    """A decky's name; `first` is that of decky 1.

    Raises:
        UnknownDecoy: the number is out of range.
    """
    _check(number)
    return first if number == 1 else f"decky-{number:02}"


def decky_number(decky: str, first: str = FIRST_DECKY) -> int:
    """The number of a decky, `decky_name` backwards.

    Raises:
        UnknownDecoy: it is no decky's name.
    """
    if decky == first:
        return 1
    match = _DECKY.fullmatch(decky)
    if match is None or not 1 <= int(match[1]) <= DECKIES_MOST:
        raise UnknownDecoy(f"no decky {decky[:64]!r}; they are decky-01, decky-02, …")
    return int(match[1])


def port_of(kind: str, number: int = 1, base: int | None = None) -> int:
    """The TCP port of a kind on a decky; 0, the kernel's choice, where the base is 0.

    Args:
        base: the first decky's port, if it is not the default.
    Raises:
        UnknownDecoy: no such kind or number, or the port would be above 65535.
    """
    if kind not in KINDS:
        raise UnknownDecoy(f"no decoy {kind[:64]!r}; there are: {', '.join(KINDS)}")
    _check(number)
    base = KINDS[kind].base_port if base is None else base
    port = base + PORT_STEP * (number - 1) if base else 0
    if port > 65_535:
        raise UnknownDecoy(f"decky {number} has no {kind} port: {base} + {PORT_STEP} a decky")
    return port


def ports(numbers: range, bases: Mapping[str, int] | None = None) -> dict[str, int]:
    """Worker's name -> port, of every kind on these deckies."""
    return {
        worker_name(kind, number): port_of(kind, number, (bases or {}).get(kind))
        for number in numbers
        for kind in KINDS
    }


def _check(number: int) -> None:
    if not 1 <= number <= DECKIES_MOST:
        raise UnknownDecoy(f"no decky {number}: they are numbered from 1 to {DECKIES_MOST}")
