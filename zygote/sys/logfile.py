"""Read a log that is rotated under the reader, without losing or doubling a line.

How the manager rotates (`zygote.manager.logs`), as far as a reader must know:

- NAME.log is the live file, NAME.log.1 the newest rotated one, NAME.log.2 the one before.
- The writer's descriptor stays, so the live file keeps its inode: its front is copied to a new
  NAME.log.1 and taken out, by collapsing (the rest moves to offset 0) or by punching a hole (the
  rest stays where it is, see `zygote.sys.fallocate`). Either way the live file's first byte of
  data is the one that follows the last byte of NAME.log.1.
- The cut falls on a block, not on a line: a line may begin in NAME.log.1 and end in NAME.log.
- Renaming and cutting happen under flock(LOCK_EX) on the live file; under LOCK_SH a reader sees
  either both or neither.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zygote.sys.fallocate import data_start

JOURNAL_MARKER = "in-journal"
"""A file beside the logs, where there are none: it holds the prefix of journald's identifiers."""
_CHUNK = 64 * 1024
_LINE_MAX = 256 * 1024
"""Bytes of a line without an end that a follower holds back before it gives them out."""


def rotated(path: Path | str) -> list[Path]:
    """The rotated files beside a live log, newest (".1") first."""
    found = []
    number = 1
    while (older := Path(f"{path}.{number}")).exists():
        found.append(older)
        number += 1
    return found


def read_tail(path: Path | str, lines: int) -> list[str]:
    """The last `lines` lines of a log, oldest first, across its rotated files.

    Undecodable bytes become U+FFFD. A last line without an end counts as a line. No file: [].

    Raises:
        PermissionError: the log belongs to another user.
    """
    if lines <= 0:
        return []
    try:
        live = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        with _shared(live):
            data, _ = _last(Path(path), live, lines)
    finally:
        os.close(live)
    return [_text(line) for line in data.removesuffix(b"\n").split(b"\n")] if data else []


class Follower:
    """New lines of one log, as `tail -F` gives them, through any number of rotations.

    Args:
        path: the live file; it may not exist yet, or be removed and made anew.
        lines: how many of the present lines the first `read` gives.

    It polls: call `read` now and then. A line is given once its end has come. Lines are lost only
    to a follower that does not look while more files are rotated than are kept. It holds one
    descriptor; `close` it.
    """

    def __init__(self, path: Path | str, lines: int = 0) -> None:
        self._path = Path(path)
        self._first: int | None = lines
        self._fd = -1
        self._read = 0
        """Bytes read of what is live, counted from the end of the newest rotated file."""
        self._newest: _Identity | None = None
        """NAME.log.1 as last seen."""
        self._held = b""
        """Read and not yet given: the beginning of a line whose end has not come."""

    def read(self) -> list[str]:
        """The lines that came since the last call; empty if there are none."""
        lines: list[str] = []
        if self._fd >= 0 and self._replaced():
            lines += self._take()
            if self._held:
                lines.append(_text(self._held))
                self._held = b""
            self.close()
        if self._fd >= 0 or self._open():
            lines += self._take()
        return lines

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        first, self._first = self._first, None
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if first is not None:
                self._newest = _identity(Path(f"{self._path}.1"))
            return False  # once it is there, all of it is new, and so is what is rotated by then
        self._read = 0
        if first is not None:
            with _shared(self._fd):
                self._newest = _identity(Path(f"{self._path}.1"))
                self._held, self._read = _last(self._path, self._fd, first)
        return True

    def _replaced(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except FileNotFoundError:
            return True

    def _take(self) -> list[str]:
        """All that is new, from rotated files first if we fell behind."""
        with _shared(self._fd):
            parts = [self._held, *self._missed()]
            start, end = data_start(self._fd), os.fstat(self._fd).st_size
            self._read = min(self._read, end - start)  # somebody truncated it
            for part in _chunks(self._fd, start + self._read, end):
                self._read += len(part)
                parts.append(part)
        whole, newline, self._held = b"".join(parts).rpartition(b"\n")
        lines = whole.split(b"\n") if newline else []
        if len(self._held) > _LINE_MAX:
            lines.append(self._held)
            self._held = b""
        return [_text(line) for line in lines]

    def _missed(self) -> Iterator[bytes]:
        """What was rotated away before we read it; `_read` then counts from the new start."""
        fresh: list[tuple[Path, _Identity]] = []
        known = self._newest is None
        for older in rotated(self._path):
            identity = _identity(older)
            if identity is None or identity == self._newest:
                known = True
                break
            fresh.append((older, identity))
        if fresh:
            self._newest = fresh[0][1]
        if not known:
            self._read = 0  # so much was rotated that some of it is gone
        for older, identity in reversed(fresh):
            if self._read < identity.size:
                with _opened(older) as fd:
                    yield from _chunks(fd, self._read, identity.size)
            self._read = max(0, self._read - identity.size)


def _last(path: Path, live: int, lines: int) -> tuple[bytes, int]:
    """The bytes of the last lines across all files, and how many bytes are live by now."""
    start, end = data_start(live), os.fstat(live).st_size
    data = _tail_bytes(live, start, end, lines)
    for older in rotated(path):
        if data.count(b"\n") > lines:
            break
        with _opened(older) as fd:
            data = _tail_bytes(fd, 0, os.fstat(fd).st_size, lines) + data
    parts = data.split(b"\n")
    wanted = lines if parts[-1] else lines + 1  # an ended last line leaves an empty part
    return b"\n".join(parts[-wanted:]) if lines else b"", end - start


def _tail_bytes(fd: int, start: int, end: int, lines: int) -> bytes:
    """The end of a file, in whole chunks: with more than `lines` line ends, or all of it."""
    parts: list[bytes] = []
    ends = 0
    while end > start and ends <= lines:
        step = min(_CHUNK, end - start)
        end -= step
        parts.insert(0, os.pread(fd, step, end))
        ends += parts[0].count(b"\n")
    return b"".join(parts)


def _chunks(fd: int, offset: int, end: int) -> Iterator[bytes]:
    while part := os.pread(fd, max(0, min(_CHUNK, end - offset)), offset):
        offset += len(part)
        yield part


class _Identity(NamedTuple):
    """Tells one rotated file from another; an inode alone may be used again."""

    inode: int
    size: int
    mtime_ns: int


def _identity(path: Path) -> _Identity | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return _Identity(info.st_ino, info.st_size, info.st_mtime_ns)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _shared(fd: int) -> Iterator[None]:
    """Hold off the manager's cut while we look; it tries again in a moment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
        yield  # a file system without locks: a cut in this very moment may double a line
        return
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").removesuffix("\r")
