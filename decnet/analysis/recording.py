"""Reading one session out of a day's recordings: bounded in every way, and trusted in none.

A recording's path came through a decoy, which faces attackers. So the file must lie below the
artifacts folder, be a regular file, and whatever is in it is taken as text of unknown origin.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SESSION_MOST = 10 << 20
"""Bytes of a session that are read."""
SCAN_MOST = 64 << 20
"""Bytes read forward of a shard, all sessions in it together."""
SEARCH_MOST = 1 << 30
"""Bytes searched backward for where the session begins."""
EVENTS_MOST = 20_000
KEYS_MOST = 4096
"""Characters of one input event."""
CHUNK = 1 << 20
LINE_MOST = 256 << 10


class BadRecording(Exception):
    """It cannot be read; the message says why."""


@dataclass
class Keys:
    """A session as it was typed. Times are seconds since it began, never falling."""

    inputs: list[tuple[float, str]] = field(default_factory=list)
    outputs: list[tuple[float, str]] = field(default_factory=list)
    """What was shown, each cut to its last `TAIL` characters."""
    term: str = ""
    command: str | None = None
    """The one command, where it was no shell."""
    ended: bool = False
    cut: bool = False


TAIL = 64


def read_session(folder: Path, shard: str, session_id: str) -> Keys:
    """The keys of a session.

    Args:
        folder: the artifacts' root; nothing outside is opened.
        shard: the path that the decoy told.
    Raises:
        BadRecording: outside the folder, not there, or the session is not in it.
    """
    handle = _open(folder, shard)
    try:
        mark = f'{{"sid":{json.dumps(session_id)},'.encode()
        start = _find_start(handle, mark)
        keys = Keys()
        for line in _lines_of(handle, start, mark, keys):
            _take(keys, line)
            if keys.ended:
                break
            if len(keys.inputs) + len(keys.outputs) >= EVENTS_MOST:
                keys.cut = True
                break
        return keys
    except OSError as error:
        raise BadRecording(f"cannot read: {error.strerror}") from error
    finally:
        os.close(handle)


def _open(folder: Path, shard: str) -> int:
    try:
        real = Path(shard).resolve(strict=True)
        if not shard or not real.is_relative_to(folder.resolve()):
            raise BadRecording("outside the artifacts folder")
        # Not blocking: what was a file a moment ago may be a FIFO now.
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError, RuntimeError) as error:
        raise BadRecording(getattr(error, "strerror", None) or "no such path") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BadRecording("no regular file")
    return handle


def _find_start(handle: int, mark: bytes) -> int:
    """Where the session's header is. Searched from the end: it has just ended."""
    first = mark + b'"version":'
    end = os.fstat(handle).st_size
    least = max(0, end - SEARCH_MOST)
    while end > least:
        start = max(least, end - CHUNK)
        data = os.pread(handle, end - start + len(first), start)
        at = data.rfind(first)
        if at >= 0:
            return start + at
        end = start
    raise BadRecording("the session is not in the file")


def _lines_of(handle: int, start: int, mark: bytes, keys: Keys) -> Iterator[bytes]:
    """The session's own lines from its header on; those of others are passed over."""
    at, held, scanned, own = start, b"", 0, 0
    while scanned < SCAN_MOST:
        data = os.pread(handle, CHUNK, at)
        if not data:
            return
        at += len(data)
        scanned += len(data)
        *lines, held = (held + data).split(b"\n")
        if len(held) > LINE_MOST:
            held = b""
        for line in lines:
            if line.startswith(mark) and len(line) <= LINE_MOST:
                own += len(line)
                if own > SESSION_MOST:
                    keys.cut = True
                    return
                yield line
    keys.cut = True


def _take(keys: Keys, line: bytes) -> None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(record, dict):
        return
    if "event" in record:
        _take_event(keys, record["event"])
    elif "version" in record:
        env, command = record.get("env"), record.get("command")
        if isinstance(env, dict):
            keys.term = str(env.get("TERM", ""))[:64]
        keys.command = str(command)[:KEYS_MOST] if isinstance(command, str) else None


def _take_event(keys: Keys, event: Any) -> None:
    if not (isinstance(event, list) and len(event) == 3 and isinstance(event[2], str)):
        return
    time, kind, text = event
    if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
        return
    last = max((pair[0] for pair in (*keys.inputs[-1:], *keys.outputs[-1:])), default=0.0)
    time = min(max(float(time), last, 0.0), 1e7)
    if kind == "i":
        keys.inputs.append((time, text[:KEYS_MOST]))
    elif kind == "o":
        keys.outputs.append((time, text[-TAIL:]))
    elif kind == "x":
        keys.ended = True
