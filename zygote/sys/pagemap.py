"""Which pages a process has, and which of them nobody else maps.

Facts this rests on (proc_pid_pagemap(5), proc_pid_maps(5)):

- /proc/PID/pagemap has 8 bytes for each page of the address space: bit 63 present, 62 swapped out,
  61 a page of a file or of shared memory, 56 mapped by nobody else (4.2). Bits 0 to 54, the frame,
  read as zero without CAP_SYS_ADMIN; those four bits are there for whoever may open the file:
  the same user (and a process that may be dumped), or CAP_SYS_PTRACE.
- What bit 56 says of a page agrees with what smaps counts as private, in huge pages, too: a huge
  page is exclusive in all its parts or not at all while it is mapped whole; once a write has split
  the mapping, each 4 KiB answers for itself. A test holds the sums together.
- The zero page, which reading untouched memory maps, is present and not exclusive: smaps does not
  count it at all.
- The window between two reads is open: a process that runs changes meanwhile.

Addresses and sizes are bytes.
"""

from __future__ import annotations

import mmap
import os
import struct
from array import array
from dataclasses import dataclass

PAGE = mmap.PAGESIZE
PRESENT, SWAPPED, FILE, EXCLUSIVE = 1 << 63, 1 << 62, 1 << 61, 1 << 56
_MOST = 1 << 16
"""Entries that are read at once: half a megabyte."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """A line of /proc/PID/maps.

    Attributes:
        perms: `rw-p`.
        path: of a file, `[heap]`, `[stack]`, …; "" for anonymous memory.
    """

    begin: int
    end: int
    perms: str
    offset: int
    path: str

    @property
    def writable(self) -> bool:
        """It may be written to."""
        return self.perms[1] == "w"

    @property
    def is_file(self) -> bool:
        """Backed by a file."""
        return self.path.startswith("/")


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one mapping that are its process's alone.

    Attributes:
        anonymous: addresses of those that belong to no file (any more), in order.
        of_file: addresses of those that are still the file's, in order.
        swapped: number of pages that are swapped out, whosever they are.
    """

    mapping: Mapping
    anonymous: array[int]
    of_file: array[int]
    swapped: int

    @property
    def count(self) -> int:
        """Those in memory."""
        return len(self.anonymous) + len(self.of_file)


def read_maps(pid: int) -> list[Mapping]:
    """The mappings of a process, in order.

    Raises:
        ProcessLookupError, FileNotFoundError: it is gone.
        PermissionError: it is another user's.
    """
    found = []
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            # begin-end perms offset device inode [path]
            words = line.rstrip("\n").split(maxsplit=5)
            begin, end = (int(word, 16) for word in words[0].split("-"))
            path = words[5] if len(words) > 5 else ""
            found.append(Mapping(begin, end, words[1], int(words[2], 16), path))
    return found


def read_private(pid: int, maps: list[Mapping] | None = None) -> list[Pages]:
    """The pages that nobody but this process maps, mapping by mapping; those without are left out.

    Raises: as `read_maps`.
    """
    found = []
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for mapping in maps or read_maps(pid):
            pages = _private(pagemap.fileno(), mapping)
            if pages.count or pages.swapped:
                found.append(pages)
    return found


def read_present(pid: int, addresses: array[int]) -> list[bool]:
    """Whether a process has a page in memory at each of these addresses, which are in order.

    Raises: as `read_maps`.
    """
    found: list[bool] = []
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        first, entries = -1, memoryview(b"")
        for address in addresses:
            number = address // PAGE
            if not first <= number < first + len(entries):
                pagemap.seek(number * 8)
                raw = pagemap.read(512 * 8)
                first, entries = number, memoryview(raw[: len(raw) // 8 * 8]).cast("Q")
            found.append(number - first < len(entries) and bool(entries[number - first] >> 63))
    return found


def read_resident(pid: int, maps: list[Mapping]) -> array[int]:
    """Addresses of all pages that a process has in memory, in order; the kernel's own left out.

    Raises: as `read_maps`.
    """
    found = array("Q")
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for mapping in maps:
            at = mapping.begin
            while at < mapping.end and not mapping.path.startswith("[v"):
                raw = _read(pagemap.fileno(), at, min(_MOST, (mapping.end - at) // PAGE))
                if not raw:
                    break
                # Bit 63 is the highest bit of the last byte of each entry.
                found.extend(
                    at + number * PAGE for number, byte in enumerate(raw[7::8]) if byte & 0x80
                )
                at += len(raw) // 8 * PAGE
    return found


def _private(pagemap: int, mapping: Mapping) -> Pages:
    anonymous, of_file = array("Q"), array("Q")
    swapped = 0
    at = mapping.begin
    while at < mapping.end:
        raw = _read(pagemap, at, min(_MOST, (mapping.end - at) // PAGE))
        if not raw:  # [vsyscall] lies beyond what pagemap covers
            break
        if raw.count(0) != len(raw):
            for number, (entry,) in enumerate(struct.iter_unpack("<Q", raw)):
                if entry & PRESENT and entry & EXCLUSIVE:
                    (of_file if entry & FILE else anonymous).append(at + number * PAGE)
                elif entry & SWAPPED:
                    swapped += 1
        at += len(raw) // 8 * PAGE
    return Pages(mapping, anonymous, of_file, swapped)


def _read(pagemap: int, at: int, count: int) -> bytes:
    return os.pread(pagemap, count * 8, at // PAGE * 8)
