"""Reading the files that a table is compiled from. Every line is checked; bad ones are counted.

- `delegated-*`: the regional registries' delegation files (registry|country|type|start|value|…)
- `*.tsv`: ranges of announced networks (first, last, AS number, country, AS name by tabs)
- `*.mmdb`: a MaxMind database with `country.iso_code` or `autonomous_system_number`

Each text file may be compressed (`.gz`).
"""

from __future__ import annotations

import gzip
import ipaddress
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import maxminddb

from decnet.collect.text import clean
from decnet.geo.ranges import V4_MOST
from decnet.geo.table import NAME_MOST, Sources, addresses

LINE_MOST = 4096
EXAMPLES_MOST = 5


@dataclass
class Read:
    """What came out of a file."""

    file: str
    ranges: int = 0
    skipped: int = 0
    examples: list[str] = field(default_factory=list)
    """Some of the lines that could not be read."""

    def skip(self, line: str) -> None:
        """Count a line that makes no sense."""
        self.skipped += 1
        if len(self.examples) < EXAMPLES_MOST:
            self.examples.append(clean(line[:80]))


def files_in(folder: Path) -> list[Path]:
    """The files that `read_file` can read, in a fixed order."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_file() and _kind(p) is not None)


def read_file(path: Path, sources: Sources) -> Read:
    """Add what the file says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or of no kind that we know.
    """
    kind = _kind(path)
    read = Read(path.name)
    if kind == "delegated":
        read_delegated(_lines(path), sources, read)
    elif kind == "tsv":
        read_systems(_lines(path), sources, read)
    elif kind == "mmdb":
        try:
            with maxminddb.open_database(path) as database:
                read_mmdb(database, sources, read)
        except maxminddb.InvalidDatabaseError as error:
            raise ValueError(f"{path}: {error}") from error
    else:
        raise ValueError(f"{path}: neither delegated-*, *.tsv nor *.mmdb")
    return read


def read_delegated(lines: Iterable[str], sources: Sources, read: Read) -> None:
    """A registry's delegation file: countries."""
    for line in lines:
        parts = line.split("|")
        if len(parts) < 7 or parts[2] not in ("ipv4", "ipv6") or parts[1] in ("", "*", "ZZ"):
            # Headers, sums, AS numbers, and what nobody has.
            if line.strip() and not line.startswith("#") and len(parts) < 6:
                read.skip(line)
            continue
        try:
            version, first, last = _delegation(parts[2], parts[3], parts[4])
            sources.countries[version].append((first, last, _country(parts[1])))
            read.ranges += 1
        except ValueError:
            read.skip(line)


def read_systems(lines: Iterable[str], sources: Sources, read: Read) -> None:
    """Announced networks: first, last, AS number, country, AS name."""
    for line in lines:
        parts = line.rstrip("\r\n").split("\t")
        if not line.strip() or line.startswith("#"):
            continue
        try:
            first, last = ipaddress.ip_address(parts[0]), ipaddress.ip_address(parts[1])
            number = int(parts[2])
            if first.version != last.version or first > last or not 0 <= number < 2**32:  # type: ignore[operator]
                raise ValueError
        except (ValueError, IndexError):
            read.skip(line)
            continue
        if number == 0:
            continue
        name = clean(parts[4])[:NAME_MOST] if len(parts) > 4 else ""
        sources.systems[first.version].append((int(first), int(last), number, name))
        read.ranges += 1


def read_mmdb(database: Iterable[tuple[Any, Any]], sources: Sources, read: Read) -> None:
    """Networks and records of a MaxMind database."""
    for network, record in database:
        version, first, last = _as_v4(network)
        try:
            found = _of_record(record)
        except (ValueError, TypeError):
            read.skip(str(network))
            continue
        country, number, name = found
        if country:
            sources.countries[version].append((first, last, country))
        if number:
            sources.systems[version].append((first, last, number, name))
        read.ranges += bool(country or number)


def read_reserved(sources: Sources) -> None:
    """The special ranges that ship with the package."""
    text = resources.files("decnet.geo").joinpath("reserved.txt").read_text()
    for line in text.splitlines():
        if line and not line.startswith("#"):
            network, _, use = line.partition(" ")
            for version, first, last in addresses([network]):
                sources.reserved[version].append((first, last, use.strip()))


def _kind(path: Path) -> str | None:
    name = path.name.removesuffix(".gz")
    if name.startswith("delegated-"):
        return "delegated"
    if name.endswith(".tsv"):
        return "tsv"
    return "mmdb" if path.name.endswith(".mmdb") else None


def _lines(path: Path) -> Iterator[str]:
    """Lines of a text file, compressed or not; a longer one than `LINE_MOST` comes in pieces."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
            while line := file.readline(LINE_MOST):
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: {error}") from error


def _delegation(kind: str, start: str, value: str) -> tuple[int, int, int]:
    if kind == "ipv6":
        network = ipaddress.IPv6Network(f"{start}/{int(value)}")
        return 6, int(network.network_address), int(network.broadcast_address)
    first, count = int(ipaddress.IPv4Address(start)), int(value)
    if not 1 <= count <= V4_MOST + 1 - first:
        raise ValueError
    return 4, first, first + count - 1


def _country(text: str) -> str:
    if len(text) != 2 or not text.isascii() or not text.isalpha():
        raise ValueError
    return text.upper()


def _as_v4(network: Any) -> tuple[int, int, int]:
    """An IPv6 database holds IPv4 below ::/96."""
    first, last = int(network.network_address), int(network.broadcast_address)
    version = 4 if network.version == 4 or last <= V4_MOST else 6
    return version, first, last


def _of_record(record: Any) -> tuple[str, int, str]:
    country = record.get("country") or record.get("registered_country") or {}
    letters = country.get("iso_code", "") if isinstance(country, dict) else str(country)
    number = record.get("autonomous_system_number", 0)
    if not isinstance(number, int) or not 0 <= number < 2**32:
        raise ValueError
    name = clean(str(record.get("autonomous_system_organization", "")))[:NAME_MOST]
    return _country(letters) if letters else "", number, name
