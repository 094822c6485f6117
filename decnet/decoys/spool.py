"""A decoy's way out: one line an event, appended to its spool file with one write each.

The file outlives every process; `collect` reads it. What cannot be written (disk full, folder
gone) waits in memory within bounds and is tried again; what does not fit there is counted as
dropped. A write that the kernel did by half is completed before the next line, and a half line
that a dead process left is ended, so no line is ever glued to another.
"""

# ruff: noqa: PTH104, PTH116

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger("decnet.decoy")

QUEUE_LINES = 4096
QUEUE_BYTES = 4 << 20
SEGMENT_BYTES = 4 << 20
"""Above this the file is renamed and a new one begun; `collect` deletes what it has read."""
SEGMENTS_MOST = 64
"""Segments that may wait for `collect`: with nobody reading, an attacker must not fill the disk."""
RETRY_SECONDS = 1.0
HINT_SECONDS = 0.02
"""Hints closer than this are one hint."""


class Spool:
    """Appends lines to `folder/NAME.log`. Its only writer; `open` it after the port is ours.

    Args:
        folder: the spool.
        name: the decoy's name; "/" cannot be in it.
        hint: called, at most every `HINT_SECONDS`, when lines were written.
    """

    def __init__(self, folder: Path, name: str, hint: Callable[[], object]) -> None:
        # Not a Path: that would intern the name, in a table of the floor's.
        self._place = f"{folder}/{name.replace('/', '_')}.log"
        self._hint = hint
        self._handle = -1
        self._size = 0
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._written_of_first = 0
        self._timer: asyncio.TimerHandle | None = None
        self._hint_timer: asyncio.TimerHandle | None = None
        self._trouble = ""
        self.written = 0
        self.dropped = 0

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self._place)

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {
            "events": self.written,
            "queued": len(self._queue),
            "events_dropped": self.dropped,
        }
        if self._trouble:
            told["spool_error"] = self._trouble
        return told

    def append(self, line: bytes) -> None:
        """Write a line (without its line feed), or keep it until that is possible. Never raises.

        Blocks for as long as a write to the page cache takes.
        """
        data = line + b"\n"
        if len(self._queue) >= QUEUE_LINES or self._queued_bytes + len(data) > QUEUE_BYTES:
            self.dropped += 1
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if self._timer is None:
            self.flush()

    def flush(self) -> bool:
        """Write what is queued; False where something is left, which is tried again later."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._queue:
                self._ensure_open()
                self._write_first()
        except OSError as error:
            self._complain(error)
            self._close_file(keep=self._written_of_first > 0)
            with contextlib.suppress(RuntimeError):  # no loop: the last flush, at the end
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(RETRY_SECONDS, self.flush)
            return False
        if self._trouble:
            log.info("the spool can be written again; %d events were dropped", self.dropped)
            self._trouble = ""
        return True

    def close(self) -> None:
        """A last try, then close. What is still queued is dropped, and counted."""
        self.flush()
        for timer in (self._timer, self._hint_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._hint_timer = None
        self.dropped += len(self._queue)
        if self._queue:
            log.error("%d events could not be written and are lost", len(self._queue))
        self._queue.clear()
        self._close_file()

    # -- below

    def _write_first(self) -> None:
        line = self._queue[0]
        count = os.write(self._handle, line[self._written_of_first :])
        self._size += count
        self._written_of_first += count
        if self._written_of_first == len(line):
            self._queue.popleft()
            self._queued_bytes -= len(line)
            self._written_of_first = 0
            self.written += 1
            self._hint_soon()

    def _ensure_open(self) -> None:
        if self._handle >= 0 and self._written_of_first == 0:
            if self._is_gone():
                self._close_file()
            elif self._size > SEGMENT_BYTES:
                self._rotate()
        if self._handle < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._handle = os.open(self._place, flags, 0o600)
            self._size = os.fstat(self._handle).st_size
            if self._size and os.pread(self._handle, 1, self._size - 1) != b"\n":
                self._size += os.write(self._handle, b"\n")

    def _is_gone(self) -> bool:
        """Whether the file is no longer at its path: somebody moved it or cleared the folder."""
        try:
            return os.stat(self._place).st_ino != os.fstat(self._handle).st_ino
        except FileNotFoundError:
            return True

    def _rotate(self) -> None:
        segments = list(self.path.parent.glob(f"{_escaped(self.path.name)}.*"))
        if len(segments) >= SEGMENTS_MOST:
            raise OSError(0, f"{SEGMENTS_MOST} segments wait and nobody reads them")
        os.rename(self._place, f"{self._place}.{time.time_ns()}")
        self._close_file()

    def _close_file(self, *, keep: bool = False) -> None:
        if self._handle >= 0 and not keep:
            os.close(self._handle)
            self._handle = -1

    def _complain(self, error: OSError) -> None:
        text = error.strerror or str(error)
        if text != self._trouble:
            log.error("cannot write %s: %s; keeping up to %d events", self.path, text, QUEUE_LINES)
        self._trouble = text

    def _hint_soon(self) -> None:
        if self._hint_timer is None:
            with contextlib.suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._hint_timer = loop.call_later(HINT_SECONDS, self._hint_now)

    def _hint_now(self) -> None:
        self._hint_timer = None
        self._hint()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
