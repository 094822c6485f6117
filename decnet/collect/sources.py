"""What collect reads: the spool, and the files that the operator names. From files to records."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from decnet.collect import follow, tail
from decnet.collect.record import Record, fault, read_line
from decnet.collect.store import Batch

SHARE_LEAST = 8
"""Lines that each file may give in a tick, however many files there are."""

Trouble = Callable[[str, OSError | None], None]


class Sources:
    """Finds and reads files; holds nothing that counts (the cursors are the caller's).

    Args:
        spool: the folder of the decoys' files.
        patterns: other programs' files, see `follow.look`.
        trouble: told what cannot be read and why, and (None) that it can be again.
    """

    def __init__(self, spool: Path, patterns: tuple[str, ...], trouble: Trouble) -> None:
        self._spool = spool
        self._patterns = patterns
        self._trouble = trouble
        self._gone: list[str] = []
        self._turn = 0
        self._health = {"files": 0, "lag_bytes": 0}
        self.faults: Counter[str] = Counter()

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {**self._health, "bad_lines": dict(self.faults)}

    def scan(self, cursors: Mapping[str, tail.Cursor]) -> list[tail.SpoolFile]:
        """All files, in reading order within their groups."""
        self._gone = []
        try:
            files = tail.scan(self._spool)
            self._trouble("spool", None)
        except OSError as error:
            self._trouble("spool", error)
            files = []
        if files:
            self._gone = tail.forgotten(cursors, files)
        if self._patterns:
            sight = follow.look(self._patterns, cursors)
            files += sight.files
            self._gone += sight.forgotten(cursors)
            self._health["files_left_out"] = sight.left_out
        self._health["files"] = len(files)
        behind = 0
        for file in files:
            cursor = cursors.get(file.key)
            behind += max(0, file.size - (cursor.offset if cursor else 0))
        self._health["lag_bytes"] = behind
        return files

    def read(
        self, files: list[tail.SpoolFile], cursors: Mapping[str, tail.Cursor], limit: int
    ) -> Batch:
        """Up to `limit` lines; a file that always has more does not starve the others."""
        groups: dict[str, list[tail.SpoolFile]] = {}
        for file in files:
            if not tail.is_read(file, cursors.get(file.key)):
                groups.setdefault(file.group, []).append(file)
        share = max(SHARE_LEAST, limit // max(1, len(groups)))
        records: list[Record] = []
        moved: dict[str, tail.Cursor] = {}
        self._turn += 1
        at = self._turn % max(1, len(groups))
        for group in itertools.islice(itertools.cycle(groups.values()), at, at + len(groups)):
            if len(records) >= limit:
                break
            found = self._first(group, cursors, min(share, limit))
            if found is not None:
                file, chunk = found
                now = dt.datetime.now(dt.UTC)
                records.extend(self._record(line, file.stem, now) for line in chunk.lines)
                moved[file.key] = chunk.cursor
        return Batch(records, moved, self._gone)

    def _first(
        self, group: list[tail.SpoolFile], cursors: Mapping[str, tail.Cursor], most: int
    ) -> tuple[tail.SpoolFile, tail.Chunk] | None:
        """The first file of a group that has something to give.

        Its segments come in their order. One whose half last line is still waited for does not
        hold back those behind it.
        """
        for file in group:
            try:
                chunk = tail.read(file, cursors.get(file.key), most)
            except FileNotFoundError:  # rotated since the scan: the next one finds it
                return None
            except OSError as error:
                self._trouble(file.stem, error)
                continue
            if chunk is not None:
                return file, chunk
        return None

    def _record(self, line: tail.Line, source: str, now: dt.datetime) -> Record:
        if line.size:
            record = fault(line.data, "too_long", source, now, size=line.size)
        else:
            record = read_line(line.data, source, now)
        if record.fault:
            self.faults[record.fault] += 1
        return record
