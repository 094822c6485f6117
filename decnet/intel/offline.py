"""Providers that read files in the data folder: nothing leaves the machine.

- `blocklists/*.txt|.netset|.cidr`: addresses or networks, one a line; the file's name is the
  list's. A list whose name begins with `suspicious-` or `benign-` says that; others: malicious.
- `feodo.csv`: a command-and-control tracker's table, with a header that names its columns.
"""

from __future__ import annotations

import csv
import ipaddress
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TextIO, TypeVar

from decnet.collect.text import clean
from decnet.geo.ranges import Range, Ranges, flatten, pack, unpack
from decnet.intel.provider import (
    BENIGN,
    MALICIOUS,
    SUSPICIOUS,
    UNKNOWN,
    Finding,
    ProviderError,
    aggregate,
)

log = logging.getLogger("decnet.intel")
T = TypeVar("T")

SUFFIXES = (".txt", ".netset", ".cidr")
LINES_MOST = 2_000_000
LISTS_MOST = 64
_DST_IP = ("dst_ip", "ip", "ip_address", "src_ip")


class _File(Generic[T]):
    """What a file holds, read again when it has changed. A file that went bad keeps its old use."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._stamp: tuple[int, int, int] | None = None
        self.value: T | None = None
        self.trouble = ""

    def refresh(self, path: Path) -> None:
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if stamp != self._stamp:
                self.value, self._stamp = self._read(path), stamp
            self.trouble = ""
        except FileNotFoundError:
            self.value, self._stamp, self.trouble = None, None, ""
        except (OSError, csv.Error) as error:
            trouble = f"{path.name}: {error}"
            if trouble != self.trouble:
                log.warning("cannot use the list %s", trouble)
            self.trouble = trouble


class Blocklists:
    """All lists in a folder, each as two sets of ranges: 8 bytes an IPv4 network."""

    name = "blocklists"
    is_online = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lists: dict[Path, _File[dict[int, Ranges]]] = {}

    def refresh(self) -> None:
        """Read what is new or has changed. Blocks."""
        paths = self._paths()
        lists = {path: self._lists.get(path) or _File(read_list) for path in paths}
        for path, file in lists.items():
            file.refresh(path)
        self._lists = lists

    @property
    def troubles(self) -> list[str]:
        """Lists that cannot be read now."""
        return [file.trouble for file in self._lists.values() if file.trouble]

    async def ask(self, address: str) -> Finding:
        """The lists that hold the address."""
        parsed = ipaddress.ip_address(address)
        hits = [
            path.stem
            for path, file in self._lists.items()
            if file.value and file.value[parsed.version].find(int(parsed)) is not None
        ]
        verdict = aggregate(verdict_of(name) for name in hits)
        return Finding(verdict, {"blocklists": sorted(hits)})

    def _paths(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        files = (p for p in self._folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
        return sorted(files)[:LISTS_MOST]


class Feodo:
    """A table of command-and-control servers."""

    name = "feodo"
    is_online = False

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file: _File[dict[str, tuple[str, str]]] = _File(read_feodo)

    def refresh(self) -> None:
        """Read the table if it has changed. Blocks."""
        self._file.refresh(self._path)

    @property
    def troubles(self) -> list[str]:
        """Why it cannot be read now."""
        return [self._file.trouble] if self._file.trouble else []

    async def ask(self, address: str) -> Finding:
        """Whether the address is in the table."""
        nothing = {"feodo_listed": None, "feodo_malware": None, "feodo_last_online": None}
        table = self._file.value
        if table is None:
            if self._file.trouble:
                raise ProviderError(self._file.trouble[:200])
            return Finding(UNKNOWN, nothing)
        found = table.get(address)
        if found is None:
            return Finding(UNKNOWN, {**nothing, "feodo_listed": False})
        malware, last = found
        told = {"feodo_listed": True, "feodo_malware": malware, "feodo_last_online": last or None}
        return Finding(MALICIOUS, told)


def verdict_of(name: str) -> str:
    """What it means to be on a list of this name."""
    for verdict in (SUSPICIOUS, BENIGN):
        if name.startswith(f"{verdict}-"):
            return verdict
    return MALICIOUS


def read_list(path: Path) -> dict[int, Ranges]:
    """The networks in a list. A remark begins with "#" or ";"; other odd lines are passed over.

    Raises:
        OSError: it cannot be read.
    """
    ranges: dict[int, list[Range]] = {4: [], 6: []}
    odd = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(_lines(file)):
            if number >= LINES_MOST:
                log.warning("%s: only its first %d lines are used", path.name, LINES_MOST)
                break
            word = line.partition("#")[0].partition(";")[0].strip()
            if not word:
                continue
            try:
                network = ipaddress.ip_network(word.split()[0], strict=False)
            except ValueError:
                odd += 1
                continue
            first, last = int(network.network_address), int(network.broadcast_address)
            ranges[network.version].append(Range(first, last, 1))
    if odd:
        log.warning("%s: %d lines are no network", path.name, odd)
    return {
        version: unpack(memoryview(pack(flatten(some, merge=True), version)), 0, version)[0]
        for version, some in ranges.items()
    }


def read_feodo(path: Path) -> dict[str, tuple[str, str]]:
    """Address -> (malware, last online), by the names in the header; without one, by place.

    Raises:
        OSError: it cannot be read.
    """
    table: dict[str, tuple[str, str]] = {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        names: list[str] = ["first_seen_utc", "dst_ip", "dst_port", "c2_status", "last_online"]
        names.append("malware")
        for row in csv.reader(line for line in _lines(file) if not line.startswith("#")):
            lower = [cell.strip().lower() for cell in row]
            if set(lower) & set(_DST_IP):
                names = lower
                continue
            cells = dict(zip(names, row, strict=False))
            address = next((cells[name] for name in _DST_IP if name in cells), "").strip()
            try:
                address = str(ipaddress.ip_address(address))
            except ValueError:
                continue
            if len(table) < LINES_MOST:
                malware, last = cells.get("malware", ""), cells.get("last_online", "")
                table[address] = clean(malware.strip())[:64], clean(last.strip())[:32]
    return table


def _lines(file: TextIO) -> Iterator[str]:
    """Lines of at most 4096 characters, without zeros (the csv reader refuses them)."""
    while line := file.readline(4096):
        yield line.replace("\0", "")
