"""Reading the spool: every file in a folder, from where we were, line by line.

A file is known by inode and by a checksum of its first bytes, not by its name: it may be renamed
(rotation), replaced, truncated and grown again, or its inode given to a new file, and none of
that loses or repeats a line. The reader itself remembers nothing durable: it hands out `Cursor`s
that the caller stores in the transaction of the rows, and takes them back as committed.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decnet.collect.record import HEAD_MOST, LINE_MOST

MARK_BYTES = 256
"""So many first bytes tell a file from the next one with the same inode number."""
READ_BYTES = 256 << 10
"""At most so many bytes of a file are looked at in one turn."""

_NAMES = re.compile(r"(?P<stem>[^.].*)\.log(?:\.(?P<segment>\d{1,20}))?", re.DOTALL)


@dataclass(frozen=True)
class Cursor:
    """How far a file was read.

    `mark_size` first bytes have the CRC-32 `mark`. `skipping`: the offset is inside a line that
    is too long and already stored by its head; what is left of it is to be passed over.
    """

    offset: int = 0
    mark: int = 0
    mark_size: int = 0
    skipping: bool = False
    name: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the database."""
        return {
            "offset": self.offset,
            "mark": self.mark,
            "mark_size": self.mark_size,
            "skipping": self.skipping,
            "name": self.name,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        """The inverse."""
        return cls(
            int(value["offset"]),
            int(value["mark"]),
            int(value["mark_size"]),
            bool(value["skipping"]),
            str(value["name"]),
        )


@dataclass(frozen=True)
class SpoolFile:
    """A file as the scan found it; `stem` is its decoy, `key` the name of its cursor.

    `is_segment`: rotated away by its writer, and ours to delete when it was read.
    `is_ended`: it grows no more, so a half line at its end is a line.
    """

    path: Path
    stem: str
    inode: int
    size: int
    is_segment: bool
    key: str
    is_ended: bool = False

    @property
    def group(self) -> str:
        """Files of a group are read in their order, one after the other."""
        return f"{self.key.rpartition('-')[0]}/{self.stem}"


@dataclass(frozen=True)
class Line:
    """A line without its line feed. `size` is set where it is only the head of a long one."""

    data: bytes
    size: int = 0


@dataclass(frozen=True)
class Chunk:
    """Lines of one file, and the cursor behind them."""

    file: SpoolFile
    lines: tuple[Line, ...]
    cursor: Cursor


def scan(folder: Path) -> list[SpoolFile]:
    """The spool's files: `NAME.log` and rotated `NAME.log.NUMBER`, a decoy's oldest first.

    Only regular files: a link or a pipe in there is not ours.

    Raises:
        OSError: the folder cannot be read.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAMES.fullmatch(entry.name)
            if match is None:
                continue
            try:
                info = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(info.st_mode):
                segment = match["segment"]
                order = (match["stem"], segment is None, int(segment or 0))
                file = SpoolFile(
                    Path(entry.path),
                    match["stem"],
                    info.st_ino,
                    info.st_size,
                    segment is not None,
                    str(info.st_ino),
                    is_ended=segment is not None,
                )
                found.append((order, file))
    return [file for _, file in sorted(found, key=lambda pair: pair[0])]


def read(file: SpoolFile, cursor: Cursor | None, most: int) -> Chunk | None:
    """Up to `most` complete lines behind the cursor; None where there is nothing new.

    The cursor of a chunk without lines still counts: bytes of a long line were passed over.

    Raises:
        OSError: the file cannot be read.
    """
    if is_read(file, cursor):
        return None
    handle = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        info = os.fstat(handle)
        if info.st_ino != file.inode:  # replaced since the scan; the next one sees it right
            return None
        known = cursor is not None and _is_same(handle, info.st_size, cursor)
        start = cursor if known and cursor is not None else Cursor()
        data = os.pread(handle, READ_BYTES, start.offset)
        ended = file.is_ended and start.offset + len(data) == info.st_size
        lines, used, skipping = split(data, most, skipping=start.skipping, ended=ended)
        after = replace(start, offset=start.offset + used, skipping=skipping, name=file.path.name)
        if after == cursor:
            return None
        return Chunk(file, lines, _marked(handle, after))
    finally:
        os.close(handle)


def is_read(file: SpoolFile, cursor: Cursor | None) -> bool:
    """Whether there is nothing behind the cursor.

    The name counts: a new file may have an old one's inode, and by chance its size.
    """
    return cursor is not None and cursor.offset == file.size and cursor.name == file.path.name


def is_consumed(file: SpoolFile, cursor: Cursor | None) -> bool:
    """Whether a file may go: rotated by its writer, and read to its end."""
    return file.is_segment and is_read(file, cursor)


def split(
    data: bytes, most: int, *, skipping: bool = False, ended: bool = False
) -> tuple[tuple[Line, ...], int, bool]:
    """Cut bytes into at most `most` lines; pure.

    Args:
        data: what follows the cursor.
        most: lines at most.
        skipping: the bytes begin inside a line that is to be passed over.
        ended: nothing will follow, so a half line at the end is a line.
    Returns:
        Lines, bytes used, and whether the rest of a long line is to be skipped.
    """
    lines: list[Line] = []
    at = 0
    while len(lines) < most and at < len(data):
        end = data.find(b"\n", at)
        if end < 0:
            rest = len(data) - at
            if skipping:
                return tuple(lines), len(data), not ended
            if rest > LINE_MOST:
                lines.append(Line(data[at : at + HEAD_MOST], rest))
                return tuple(lines), len(data), not ended
            if ended:
                lines.append(Line(data[at:]))
                at = len(data)
            break
        if not skipping and end > at:
            length = end - at
            long = length > LINE_MOST
            lines.append(Line(data[at : at + HEAD_MOST], length) if long else Line(data[at:end]))
        skipping = False
        at = end + 1
    return tuple(lines), at, skipping


def forgotten(cursors: Mapping[str, Cursor], files: Iterable[SpoolFile]) -> list[str]:
    """Keys of the spool's cursors without a file: they can go."""
    there = {file.key for file in files}
    return [key for key in cursors if key not in there and key.isdigit()]


def _is_same(handle: int, size: int, cursor: Cursor) -> bool:
    if size < cursor.offset:
        return False
    return zlib.crc32(os.pread(handle, cursor.mark_size, 0)) == cursor.mark


def _marked(handle: int, cursor: Cursor) -> Cursor:
    """The cursor with the checksum of as much of the head as lies behind it."""
    size = min(MARK_BYTES, cursor.offset)
    if size == cursor.mark_size:
        return cursor
    return replace(cursor, mark=zlib.crc32(os.pread(handle, size, 0)), mark_size=size)
