"""Reading a recorded session back from its day's shard. Blocking: call it in a thread.

The path comes from a log line, which anybody who can write a spool or speak syslog may have made
up: only files in the artifacts folder are opened.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVENTS_MOST = 5000
BYTES_MOST = 2 << 20
"""Of one session, in one answer."""
SCAN_MOST = 64 << 20
"""Of the shard, which holds all of a day's sessions, for one answer."""
LINE_MOST = 1 << 20
KINDS = ("i", "o", "r", "x")


class NoRecording(Exception):
    """The recording cannot be read; the text says why."""


@dataclass
class Piece:
    """Events `[seconds, kind, text]` in order; `next` is where to go on, None at the end."""

    header: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[float, str, str]] = field(default_factory=list)
    next: int | None = None


def read(artifacts: Path, shard: str, session_id: str, offset: int = 0) -> Piece:
    """Events of one session from a byte of its shard on.

    Raises:
        NoRecording: no such file, or not one of ours.
    """
    path = inside(artifacts, shard)
    mine = b'{"sid":' + json.dumps(session_id).encode() + b","
    piece, kept, scanned = Piece(), 0, 0
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise NoRecording(f"the recording cannot be read: {error.strerror}") from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NoRecording("the recording is no file")
        file.seek(offset)
        while line := file.readline(LINE_MOST):
            scanned += len(line)
            if line.startswith(mine):
                kept += len(line)
                if _take(piece, line):
                    return piece
            if len(piece.events) >= EVENTS_MOST or kept > BYTES_MOST or scanned > SCAN_MOST:
                piece.next = file.tell()
                return piece
    return piece


def inside(artifacts: Path, shard: str) -> Path:
    """The shard's path, if it lies in the artifacts folder.

    Raises:
        NoRecording: it does not.
    """
    if not shard or "\0" in shard:
        raise NoRecording("this session has no recording")
    try:
        path, root = Path(shard).resolve(), artifacts.resolve()
    except (OSError, RuntimeError) as error:
        raise NoRecording("not a path of a recording") from error
    if not path.is_relative_to(root) or "transcripts" not in path.parts:
        raise NoRecording("the recording is said to lie outside of the artifacts folder")
    return path


def _take(piece: Piece, line: bytes) -> bool:
    """Add a line; True for the session's last one. A torn or made-up line is passed over."""
    try:
        record = json.loads(line)
        event = record.get("event")
        if event is None:
            piece.header = {
                key: record[key]
                for key in ("width", "height", "timestamp", "version")
                if isinstance(record.get(key), int)
            }
            return False
        at, kind, text = event
        if kind not in KINDS:
            return False
        # Bytes that were no UTF-8 are lone surrogates; JSON for a browser must not have these.
        clean = str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        piece.events.append((float(at), kind, clean))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    return bool(kind == "x")
