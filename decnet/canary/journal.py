"""Hits on their way to the database: in memory and in a file, until they are stored.

Each hit is a line of the journal before it is anything else, so a kill loses none of them, and a
database that is locked or full only makes the file longer. What does not fit into memory waits in
the file alone. Once all is stored the file is emptied. No fsync: a power cut may cost the last
seconds, as it may in the database.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from pathlib import Path

from decnet.canary.hit import Hit

log = logging.getLogger("decnet.canary")

QUEUE_MOST = 2000
LINE_MOST = 64 << 10


class Journal:
    """Holds hits; `take` gives the oldest, `stored` forgets them.

    Args:
        path: the file; made, 0600.
        most: bytes of it.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.most = most
        self.spilled = 0
        """Hits that wait in the file alone."""
        self.unwritten = 0
        """Hits that could not be written to the file, and were kept in memory only."""
        self.lost = 0
        self.bad_lines = 0
        self._queue: deque[Hit] = deque()
        self._taken = 0
        self._handle: int | None = None
        self._size = 0
        self._read_at = 0
        """Bytes of the file that are in the queue or stored, while hits wait in the file alone."""

    def open(self) -> None:
        """Open the file; what the last one left is read again.

        Raises:
            OSError: it can be neither read nor made.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._handle).st_size
        if self._size:
            if os.pread(self._handle, 1, self._size - 1) != b"\n":
                self._append(b"\n")  # half a line, of a writer that was killed
            self.spilled = 1  # some; the reading finds out
            self._refill()

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    def add(self, hit: Hit) -> None:
        """A new hit. Quick, never raises."""
        line = hit.as_line()
        written = self._append(line)
        if self.spilled == 0 and len(self._queue) < QUEUE_MOST:
            self._queue.append(hit)
            self._read_at = self._size
            self.unwritten += not written
        elif written:
            self.spilled += 1
        elif len(self._queue) < 2 * QUEUE_MOST:
            self._queue.append(hit)
            self.unwritten += 1
        else:
            self.lost += 1

    def take(self, most: int) -> list[Hit]:
        """The oldest hits; they stay until `stored`."""
        if not self._queue and self.spilled:
            self._refill()
        hits = [self._queue[at] for at in range(min(most, len(self._queue)))]
        self._taken = len(hits)
        return hits

    def stored(self) -> None:
        """What was taken is in the database."""
        for _ in range(self._taken):
            self._queue.popleft()
        self._taken = 0
        if not self._queue and not self.spilled and self._size and self._handle is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
                self._size = self._read_at = 0

    def close(self) -> None:
        """Close the file; what is in it is read at the next start."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _append(self, line: bytes) -> bool:
        if self._handle is None or self._size + len(line) > self.most:
            return False
        try:
            written = os.write(self._handle, line)
            if written < len(line):  # a full disk takes a part: take it back
                os.ftruncate(self._handle, self._size)
                return False
        except OSError as error:
            if not self.unwritten:
                log.warning("cannot write %s (%s); hits are in memory only", self.path, error)
            return False
        self._size += written
        return True

    def _refill(self) -> None:
        """The next lines of the file, as many as memory allows."""
        assert self._handle is not None
        try:
            data = os.pread(self._handle, QUEUE_MOST * 512, self._read_at)
        except OSError as error:
            log.warning("cannot read %s: %s", self.path, error)
            return
        end = data.rfind(b"\n") + 1
        at_end = self._read_at + len(data) >= self._size
        if not end and not at_end:
            end = len(data)  # a line longer than any of ours: skipped
        used = 0
        for line in data[:end].splitlines(keepends=True):
            if len(self._queue) >= QUEUE_MOST:
                break
            used += len(line)
            if len(line) > LINE_MOST:
                self.bad_lines += 1
                continue
            try:
                self._queue.append(Hit.from_line(line))
            except ValueError:
                self.bad_lines += 1
        if at_end and used == end and end < len(data):
            self.bad_lines += 1  # a half line, of a writer that was killed
            used = len(data)
        self._read_at += used
        self.spilled = 1 if self._read_at < self._size else 0
