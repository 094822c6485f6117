"""`decnet.log` and `decnet.json`: the stored events as lines, each exactly once.

The files are derived from the database, in the order of `logs.id`. Where they end is noted as
(id, inode, offset) in the database, a little later than the bytes are written. After a kill in
between, the file holds a piece of what comes next anyway: it is compared with what would be
written, and only the rest is appended; a piece that differs is cut off first. The same happens
after a short write on a full disk. A file that was not noted yet (the first start, a rotation)
is noted before its first byte is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from decnet.collect.noise import NoiseLimit


class Row(Protocol):
    """What is read of a row of `logs`."""

    id: Any
    timestamp: Any
    decky: Any
    service: Any
    event_type: Any
    attacker_ip: Any
    raw_line: Any
    fields: Any
    msg: Any


class Place(NamedTuple):
    """Where a file ended when that was noted."""

    inode: int = 0
    offset: int = 0


@dataclass
class Pending:
    """Rendered and not yet written to both files."""

    last_id: int
    raw: bytes
    json: bytes
    raw_done: bool = False


class Exporter:
    """Writes rows to both files. One per state folder.

    Args:
        log_file: raw lines.
        json_file: one JSON object a line, thinned out by the noise limit.
        noted: what `note` gave last time, from the database.
    """

    def __init__(self, log_file: Path, json_file: Path, noted: Mapping[str, Any] | None) -> None:
        noted = noted or {}
        self.noise = NoiseLimit()
        self.last_id = int(noted.get("id", 0))
        self._raw = Appender(log_file, Place(*noted.get("log", Place())))
        self._json = Appender(json_file, Place(*noted.get("json", Place())))
        self._pending: Pending | None = None

    def note(self) -> dict[str, Any]:
        """How far the files are, for the database."""
        return {"id": self.last_id, "log": list(self._raw.place), "json": list(self._json.place)}

    def render(self, rows: Iterable[Row]) -> None:
        """Take the rows behind `last_id`, in order. Only once the pending ones are written."""
        assert self._pending is None
        raw, objects, last = [], [], self.last_id
        for row in rows:
            last = row.id
            raw.append(row.raw_line + "\n")
            if self.noise.passes(
                row.attacker_ip, row.decky, row.service, row.event_type, row.timestamp
            ):
                objects.append(as_json(row) + "\n")
        if last != self.last_id:
            self._pending = Pending(last, "".join(raw).encode(), "".join(objects).encode())

    @property
    def is_pending(self) -> bool:
        """Whether rendered rows wait to be written."""
        return self._pending is not None

    def is_moved(self) -> bool:
        """Open the files; True where one is another than noted, so that `note` is to be stored.

        Raises:
            OSError: a file cannot be opened.
        """
        moved = [self._raw.follow(), self._json.follow()]
        return any(moved)

    def flush(self) -> None:
        """Write what is pending, after `is_moved`. Again after an error: nothing is doubled.

        Raises:
            OSError: a file cannot be written, or the disk is full.
        """
        if self._pending is not None:
            # Places move only when both files are done: there is one id for both.
            if not self._pending.raw_done:
                self._raw.append(self._pending.raw)
                self._pending.raw_done = True
            self._json.append(self._pending.json)
            self._raw.advance(len(self._pending.raw))
            self._json.advance(len(self._pending.json))
            self.last_id = self._pending.last_id
            self._pending = None

    def close(self) -> None:
        """Close both files."""
        self._raw.close()
        self._json.close()


class Appender:
    """Appends to a file that others may rotate, from a place on. Its only writer."""

    def __init__(self, path: Path, place: Place) -> None:
        self.path = path
        self.place = place
        self._handle = -1
        self._is_sure = False

    def follow(self) -> bool:
        """Open the path; True where it is another file than before, or was cut short.

        Raises:
            OSError: it cannot be opened.
        """
        if self._handle < 0 or not self._is_current():
            self.close()
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._handle = os.open(self.path, flags, 0o600)
        info = os.fstat(self._handle)
        if info.st_ino == self.place.inode and info.st_size >= self.place.offset:
            return False
        self.place = Place(info.st_ino, info.st_size)
        return True

    def append(self, data: bytes) -> None:
        """Make `data` follow the place; writes only what is not there already.

        Raises:
            OSError: it does not follow completely; call again.
        """
        there = os.fstat(self._handle).st_size - self.place.offset
        if there > 0 and self._is_sure:
            # Somebody else's bytes: they stay, ours follow.
            self.place = Place(self.place.inode, self.place.offset + there)
            there = 0
        elif there > 0:
            tail = os.pread(self._handle, min(there, len(data)), self.place.offset)
            if not data.startswith(tail):
                os.ftruncate(self._handle, self.place.offset)
                there = 0
        self._is_sure = False
        view = memoryview(data)[there:]
        while view:
            view = view[os.write(self._handle, view) :]
        # More there than this: written before a kill, and compared with what comes next.
        self._is_sure = there <= len(data)

    def sync(self) -> None:
        """Make what was written survive a power cut.

        Raises:
            OSError: the disk says no.
        """
        os.fdatasync(self._handle)

    def advance(self, count: int) -> None:
        """The place moves behind what was appended."""
        self.place = Place(self.place.inode, self.place.offset + count)

    def close(self) -> None:
        """Close the file; `follow` opens it again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _is_current(self) -> bool:
        try:
            return self.path.stat().st_ino == os.fstat(self._handle).st_ino
        except FileNotFoundError:
            return False


def as_json(row: Row) -> str:
    """DECNET's parsed record, ASCII only."""
    return json.dumps(
        {
            "timestamp": row.timestamp.isoformat(),
            "decky": row.decky,
            "service": row.service,
            "event_type": row.event_type,
            "attacker_ip": row.attacker_ip,
            "fields": row.fields,
            "msg": row.msg,
            "raw_line": row.raw_line,
        },
        separators=(",", ":"),
    )
