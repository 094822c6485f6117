"""Terminal recordings: what was typed and shown, with times, one JSON object a line.

A shard is a day's file of one decky's service; lines of all its sessions are mixed in it, each
with its session's id. The first line of a session is an asciinema header (version 2), then come
events `[seconds, "i" | "o" | "r", text]`, and last `[seconds, "x", ""]`. Bytes that are no UTF-8
are lone surrogates (errors="surrogateescape"), so nothing is lost. Bounded a session and a day; a
full disk costs the recording, never the session.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path
from typing import Any

SESSION_MOST = 10 << 20
SHARD_MOST = 512 << 20
"""A day's recordings of a service: an attacker must not fill the disk and so blind us."""


class Shards:
    """The recordings' files of one service. One per process; `close` it."""

    def __init__(self, artifacts: Path, decky: str, service: str) -> None:
        safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in decky)
        self.folder = artifacts / safe / service / "transcripts"
        self._handle = -1
        self._path: Path | None = None
        self._torn = False
        self.lost = 0

    def path(self, now: dt.datetime) -> Path:
        """The shard of a day."""
        return self.folder / f"sessions-{now:%Y-%m-%d}.jsonl"

    def write(self, path: Path, line: bytes) -> bool:
        """Append a line (with line feed); False where it could not be kept. Never raises."""
        try:
            self._open(path)
            if os.fstat(self._handle).st_size + len(line) > SHARD_MOST:
                raise OSError(0, "the day's shard is full")
            data = b"\n" + line if self._torn else line
            written = os.write(self._handle, data)
            self._torn = written < len(data) and (self._torn or written > 0)
            if written == len(data):
                return True
        except OSError:
            pass
        self.lost += 1
        return False

    def close(self) -> None:
        """Close the open shard."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle, self._path = -1, None

    def _open(self, path: Path) -> None:
        if self._path == path and self._handle >= 0:
            return
        self.close()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle, self._path = os.open(path, flags, 0o600), path
        size = os.fstat(self._handle).st_size
        # A process that was killed in the middle of a line: ours must not be glued to it.
        self._torn = size > 0 and os.pread(self._handle, 1, size - 1) != b"\n"


class Recording:
    """One session's recording.

    Args:
        session_id: unique, in each of its lines.
        header: more for the asciinema header: width, height, env, who.
    """

    def __init__(self, shards: Shards, session_id: str, header: dict[str, Any]) -> None:
        now = dt.datetime.now(dt.UTC)
        self.path = shards.path(now)
        self.size_bytes = 0
        self.truncated = False
        self._shards = shards
        self._id = session_id
        self._started = time.monotonic()
        self._put({"version": 2, "timestamp": int(now.timestamp()), **header})

    @property
    def duration_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._started

    def typed(self, data: bytes) -> None:
        """Keys from the visitor."""
        self._event("i", data.decode("utf-8", "surrogateescape"))

    def shown(self, data: bytes) -> None:
        """Output to the visitor."""
        self._event("o", data.decode("utf-8", "surrogateescape"))

    def resized(self, width: int, height: int) -> None:
        """The visitor's terminal has another size."""
        self._event("r", f"{width}x{height}")

    def end(self) -> None:
        """The session is over."""
        self._event("x", "")

    def _event(self, kind: str, text: str) -> None:
        self._put({"event": [round(self.duration_s, 6), kind, text]})

    def _put(self, record: dict[str, Any]) -> None:
        line = json.dumps({"sid": self._id, **record}, separators=(",", ":")).encode() + b"\n"
        if self.size_bytes + len(line) > SESSION_MOST:
            self.truncated = True
        elif self._shards.write(self.path, line):
            self.size_bytes += len(line)
        else:
            self.truncated = True
