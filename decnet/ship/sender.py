"""The forwarder's memory: which line comes next, and where it lies.

The lines of a followed file are numbered from its first one on, over every rotation. Number and
cursors are saved together, so "the next line" is the same one after every restart.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decnet.collect import follow, tail
from decnet.ship import jsonfile


@dataclass(frozen=True)
class Lines:
    """Some lines, and how far they reach."""

    lines: tuple[bytes, ...]
    key: str
    cursor: tail.Cursor


class Sender:
    """Reads a log file forward, durably.

    Args:
        source: the file; what it is renamed to is read to its end.
        state_file: where number and cursors are kept.
    """

    def __init__(self, source: Path, state_file: Path) -> None:
        self._source = source
        self._file = state_file
        self._cursors: dict[str, tail.Cursor] = {}
        self.stream = secrets.token_hex(16)
        """Names this numbering: one made anew has another name."""
        self.next = 0
        """Number of the line behind the cursors."""
        self.lag = 0
        """Bytes behind the cursors at the last look."""

    def open(self) -> None:
        """Take up what the last one left.

        Raises:
            OSError: the state cannot be read or written.
        """
        state = jsonfile.load(self._file)
        if state:
            self.stream, self.next = str(state["stream"]), int(state["next"])
            self._cursors = {
                str(key): tail.Cursor.from_json(value) for key, value in state["cursors"].items()
            }
        else:
            self.save()

    def read(self, most: int) -> Lines | None:
        """Up to `most` lines behind the cursors; None where there is no whole one.

        Raises:
            OSError: a file cannot be read.
        """
        sight = follow.look([self._source], self._cursors)
        for key in sight.forgotten(self._cursors):
            del self._cursors[key]
        fresh = [file for file in sight.files if file.key not in self._cursors]
        if fresh:
            # Noted before a line of it goes out: else after a kill and a rotation the numbers
            # would be counted from another file.
            self._cursors |= {file.key: tail.Cursor(name=file.path.name) for file in fresh}
            self.save()
        self.lag = 0
        for file in sight.files:
            cursor = self._cursors.get(file.key)
            self.lag += max(0, file.size - (cursor.offset if cursor else 0))
        for file in sight.files:
            try:
                chunk = tail.read(file, self._cursors.get(file.key), most)
            except FileNotFoundError:  # rotated since the look
                return None
            if chunk is not None:
                return Lines(tuple(line.data for line in chunk.lines), file.key, chunk.cursor)
        return None

    def advance(self, lines: Lines) -> None:
        """They are taken care of; `save` makes that durable."""
        self._cursors[lines.key] = lines.cursor
        self.next += len(lines.lines)
        self.lag = max(0, self.lag - sum(len(line) + 1 for line in lines.lines))

    def save(self) -> None:
        """Note the number and the cursors.

        Not forced to the disk: after a power cut it may be an older note, and a listener that
        counts says how far it is.

        Raises:
            OSError: it cannot be written.
        """
        state: dict[str, Any] = {
            "stream": self.stream,
            "next": self.next,
            "cursors": {key: cursor.as_json() for key, cursor in self._cursors.items()},
        }
        jsonfile.save(self._file, state, sync=False)
