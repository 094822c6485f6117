"""Where an address is from: country, autonomous system, announced prefix, or that it is reserved.

One file, one buffer: three sets of ranges (systems, countries, reserved) for IPv4 and IPv6, and
the systems' numbers and names. It is read in place, from an mmap or from bytes in a zygote.
"""

from __future__ import annotations

import array
import ipaddress
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from decnet.geo.ranges import Range, Ranges, flatten, network_around, pack, unpack

MAGIC = b"DECNETG1"
NAME_MOST = 120
"""Characters of a system's name."""
# magic, byte order, checksum of all that follows it, when made, systems, bytes of names
_HEAD = struct.Struct("=8sIIdQQ")
_ORDER = 0x01020304


class BadTable(ValueError):
    """The data is no table of ours, or damaged."""


@dataclass(frozen=True)
class Place:
    """What is known of an address; all None for one that no range holds."""

    country: str | None = None
    asn: int | None = None
    as_name: str | None = None
    prefix: str | None = None
    reserved: str | None = None
    """What the address is set aside for: "private", "documentation", …"""


NOWHERE = Place()


@dataclass
class Sources:
    """What a table is compiled from: (first, last address as numbers, value) by IP version."""

    systems: dict[int, list[tuple[int, int, int, str]]] = field(
        default_factory=lambda: {4: [], 6: []}
    )
    """first, last, AS number, AS name."""
    countries: dict[int, list[tuple[int, int, str]]] = field(default_factory=lambda: {4: [], 6: []})
    """first, last, two letters."""
    reserved: dict[int, list[tuple[int, int, str]]] = field(default_factory=lambda: {4: [], 6: []})


class Table:
    """Look-ups on a compiled table. Safe to share between threads and forks: nothing is written.

    Args:
        data: what `compile_table` gave, in memory or mapped.
    Raises:
        BadTable: it is not that.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        if len(view) < _HEAD.size or bytes(view[:8]) != MAGIC:
            raise BadTable("not a geo table")
        _, order, checksum, self.made, systems, names = _HEAD.unpack_from(view, 0)
        if order != _ORDER:
            raise BadTable("made on a machine of the other byte order")
        if zlib.crc32(view[16:]) != checksum:
            raise BadTable("damaged: its checksum is wrong")
        try:
            at = _HEAD.size
            sets: list[Ranges] = []
            for _ in range(3):
                for version in (4, 6):
                    ranges, at = unpack(view, at, version)
                    sets.append(ranges)
        except (ValueError, struct.error) as error:
            raise BadTable(f"damaged: {error}") from error
        self._systems, self._countries, self._reserved = (
            {4: sets[n], 6: sets[n + 1]} for n in (0, 2, 4)
        )
        numbers, places = systems * 4, (systems + 1) * 4
        self._numbers = view[at : at + numbers].cast("I")
        self._places = view[at + numbers : at + numbers + places].cast("I")
        self._names = view[at + numbers + places : at + numbers + places + names]
        self.bytes = len(view)

    def find(self, address: str) -> Place:
        """What is known of an address. Text that is none gives `NOWHERE`."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return NOWHERE
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        number, version = int(parsed), parsed.version
        country = self._countries[version].find(number)
        system = self._systems[version].find(number)
        reserved = self._reserved[version].find(number)
        asn, name = self._system(system.value) if system else (None, None)
        return Place(
            country=letters(country.value) if country else None,
            asn=asn,
            as_name=name,
            prefix=network_around(number, system, version) if system else None,
            reserved=self._system(reserved.value)[1] if reserved else None,
        )

    def counts(self) -> dict[str, int]:
        """How many segments each set has, for people."""
        sets = {
            "systems": self._systems,
            "countries": self._countries,
            "reserved": self._reserved,
        }
        return {
            f"{name}_v{version}": len(ranges[version])
            for name, ranges in sets.items()
            for version in (4, 6)
        }

    def _system(self, value: int) -> tuple[int, str]:
        at = value - 1
        name = bytes(self._names[self._places[at] : self._places[at + 1]])
        return self._numbers[at], name.decode("utf-8", "replace")


def compile_table(sources: Sources, made: float) -> bytes:
    """The table of these sources.

    Args:
        made: seconds since 1970, told by `decnetctl geo show`.
    """
    names = _Names()
    sections = []
    for version in (4, 6):
        ranges = (Range(a, b, names.value(n, name)) for a, b, n, name in sources.systems[version])
        sections.append(pack(flatten(ranges), version))
    for version in (4, 6):
        countries = (Range(a, b, code(two)) for a, b, two in sources.countries[version])
        sections.append(pack(flatten(countries, merge=True), version))
    for version in (4, 6):
        reserved = (Range(a, b, names.value(0, kind)) for a, b, kind in sources.reserved[version])
        sections.append(pack(flatten(reserved), version))
    tail = names.pack()
    body = struct.pack("=dQQ", made, len(names), names.size) + b"".join(sections) + tail
    return MAGIC + struct.pack("=II", _ORDER, zlib.crc32(body)) + body


class _Names:
    """Systems by number and name, each once; values begin at 1."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, str], int] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._values)

    def value(self, number: int, name: str) -> int:
        key = (number, name[:NAME_MOST])
        return self._values.setdefault(key, len(self._values) + 1)

    def pack(self) -> bytes:
        texts = [name.encode("utf-8", "replace") for _, name in self._values]
        self.size = sum(map(len, texts))
        places = array.array("I", [0])
        for text in texts:
            places.append(places[-1] + len(text))
        numbers = array.array("I", [number for number, _ in self._values])
        return numbers.tobytes() + places.tobytes() + b"".join(texts)


def code(two: str) -> int:
    """Two letters as a number above 0."""
    return ord(two[0]) << 8 | ord(two[1])


def letters(value: int) -> str:
    """The inverse of `code`."""
    return chr(value >> 8) + chr(value & 0xFF)


def addresses(networks: Iterable[str]) -> Iterable[tuple[int, int, int]]:
    """(version, first, last) of networks as text.

    Raises:
        ValueError: one is no network.
    """
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        yield network.version, int(network.network_address), int(network.broadcast_address)
