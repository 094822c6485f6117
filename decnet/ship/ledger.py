"""What the listener has on disk: `master.log`, `master.json`, segments for collect, and how far.

One commit writes the lines of a batch to all of them and then replaces the state file, which says
where both files end and which number each sender is at: that replacement is the instant in which
the batch counts. After a kill before it the files hold bytes that the state does not know: they
are compared with what comes next and cut off where they differ, and the segment, still hidden, is
removed. After a kill behind it the segment is given its name at the next start.

Blocking; the listener calls it in a thread.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from decnet.collect.export import Appender, Place
from decnet.collect.record import SHIPPED, SOURCE_FIELD, Record, read_line
from decnet.collect.text import clean_bytes
from decnet.ship import jsonfile

STREAMS_MOST = 8
"""Sequences that are remembered of each machine: it has one, another after its state was lost."""
SEGMENTS_MOST = 1000
"""Segments that may wait for collect; with nobody reading, the senders wait."""

_HIDDEN = ".ship."
_BOM = b"\xef\xbb\xbf"


class Arrived(NamedTuple):
    """A line as it came, from whom, and its number where its sender counts."""

    source: str
    line: bytes
    stream: str = ""
    number: int = 0


@dataclass
class Pending:
    """A batch on its way to the disk: rendered once, so that another try writes the same."""

    raw: bytes
    json: bytes
    by_source: dict[str, bytes]
    next: dict[tuple[str, str], int]
    count: int
    segments: list[str] = field(default_factory=list)
    raw_done: bool = False
    json_done: bool = False


class Ledger:
    """One a state folder.

    Args:
        state_file: where it notes how far everything is.
        log_file: raw lines; `.json` beside it takes the parsed records.
        spool: where collect reads.
        ingest: whether the lines are for this machine's collect as well.
    """

    def __init__(self, state_file: Path, log_file: Path, spool: Path, *, ingest: bool) -> None:
        self._file = state_file
        self._spool = spool
        self._ingest = ingest
        self._next: dict[str, dict[str, int]] = {}
        self._paths = (log_file, log_file.with_suffix(".json"))
        self._raw = self._json = Appender(log_file, Place())
        self._waiting: list[str] = []
        self.stored = 0

    def open(self) -> None:
        """Take up what the last one left.

        Raises:
            OSError: a file cannot be used.
        """
        state = jsonfile.load(self._file)
        self._raw = Appender(self._paths[0], Place(*state.get("log", Place())))
        self._json = Appender(self._paths[1], Place(*state.get("json", Place())))
        self._next = {
            str(source): {str(stream): int(number) for stream, number in streams.items()}
            for source, streams in state.get("next", {}).items()
        }
        self._waiting = [str(name) for name in state.get("segments", ())]
        self._reveal()
        for path in self._spool.glob(f"{_HIDDEN}*"):
            path.unlink(missing_ok=True)

    def next(self, source: str, stream: str) -> int:
        """The number of the first line of a sequence that is not stored."""
        return self._next.get(source, {}).get(stream, 0)

    def prepare(self, lines: Sequence[Arrived]) -> Pending:
        """Render a batch. Lines are clean from here on: one line each, whatever came."""
        now = dt.datetime.now(dt.UTC)
        raw, objects = [], []
        by_source: dict[str, list[bytes]] = {}
        following: dict[tuple[str, str], int] = {}
        for arrived in lines:
            text = clean_bytes(arrived.line.rstrip(b"\r\n\x00").replace(_BOM, b""))
            line = text.encode()
            record = read_line(line, SHIPPED + arrived.source, now)
            raw.append(text + "\n")
            objects.append(_as_json(record, arrived.source) + "\n")
            by_source.setdefault(arrived.source, []).append(line + b"\n")
            if arrived.stream:
                following[arrived.source, arrived.stream] = arrived.number + 1
        return Pending(
            "".join(raw).encode(),
            "".join(objects).encode(),
            {source: b"".join(parts) for source, parts in by_source.items()},
            following,
            len(lines),
        )

    def commit(self, pending: Pending) -> None:
        """Write a batch to the disk; when this returns, it counts. Again after an error.

        Raises:
            OSError: it does not count yet.
        """
        followed = [self._raw.follow(), self._json.follow()]
        if any(followed):
            # Another file than noted (the first start, a rotation): noted before its first byte.
            self._save()
        if not pending.raw_done:
            self._raw.append(pending.raw)
            pending.raw_done = True
        if not pending.json_done:
            self._json.append(pending.json)
            pending.json_done = True
        self._raw.sync()
        self._json.sync()
        if self._ingest and not pending.segments:
            pending.segments = self._hide(pending)
        before, waiting = (self._raw.place, self._json.place), list(self._waiting)
        streams = {source: dict(known) for source, known in self._next.items()}
        self._raw.advance(len(pending.raw))
        self._json.advance(len(pending.json))
        for (source, stream), number in pending.next.items():
            self._remember(source, stream, number)
        self._waiting += pending.segments
        try:
            self._save()
        except OSError:
            self._raw.place, self._json.place = before
            self._next = streams
            self._waiting = waiting
            raise
        self.stored += pending.count
        with contextlib.suppress(OSError):  # else at the next batch, or the next start
            self._reveal()

    def close(self) -> None:
        """Close the files."""
        self._raw.close()
        self._json.close()

    # -- below

    def _remember(self, source: str, stream: str, number: int) -> None:
        known = self._next.setdefault(source, {})
        known.pop(stream, None)
        known[stream] = number  # the last one used comes last
        while len(known) > STREAMS_MOST:
            del known[next(iter(known))]

    def _save(self) -> None:
        state: dict[str, Any] = {
            "log": list(self._raw.place),
            "json": list(self._json.place),
            "next": self._next,
            "segments": self._waiting,
        }
        jsonfile.save(self._file, state, sync=True)

    def _hide(self, pending: Pending) -> list[str]:
        """Write a segment for each sender under a name that collect does not look at."""
        waiting = sum(1 for _ in self._spool.glob(f"{SHIPPED}*.log.*"))
        if waiting >= SEGMENTS_MOST:
            raise OSError(0, f"{waiting} segments wait in {self._spool} and nobody reads them")
        number, names = time.time_ns(), []
        for source, data in pending.by_source.items():
            name = f"{SHIPPED}{source}.log.{number}"
            handle = os.open(
                self._spool / (_HIDDEN + name),
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
                0o600,
            )
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            names.append(name)
        return names

    def _reveal(self) -> None:
        """Give the segments that count their names."""
        for name in list(self._waiting):
            with contextlib.suppress(FileNotFoundError):
                (self._spool / (_HIDDEN + name)).rename(self._spool / name)
            self._waiting.remove(name)


def _as_json(record: Record, source: str) -> str:
    """The parsed record, ASCII only."""
    return json.dumps(
        {
            "timestamp": record.timestamp.isoformat(),
            "decky": record.decky,
            "service": record.service,
            "event_type": record.event_type,
            "attacker_ip": record.attacker_ip,
            "fields": record.fields,
            "msg": record.msg,
            "raw_line": record.raw_line,
            SOURCE_FIELD: source,
        },
        separators=(",", ":"),
    )
