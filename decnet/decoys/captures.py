"""What visitors leave: files kept as they came, by their SHA-256, never opened, never unpacked.

    <artifacts>/<decky>/<service>/captures/2026-11-24/<sha256>.bin

Bounded a file and a day: an archive that would unpack to a terabyte costs its own few bytes, a
flood fills a day's room and no more. A full disk or a full day costs the copy, never the event:
size and hash are told all the same.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import uuid
from pathlib import Path

OPEN_MOST = 32
"""Files that may be written at once; more are hashed only."""
FILES_MOST = 4096
"""A day's files."""
HEAD_BYTES = 64 << 10
"""Of each file in memory: who sent what to whom stands there, and is told on a full disk, too."""
_DRAFT = ".draft-"


class Captures:
    """One service's captured files. One process writes here.

    Args:
        folder: `captures_folder(…)`.
        most: bytes that are kept of a file.
        day_most: bytes of a day's files together.
    """

    def __init__(self, folder: Path, most: int = 8 << 20, day_most: int = 256 << 20) -> None:
        self.folder = folder
        self.most = most
        self.day_most = day_most
        self.open = 0
        self.kept = 0
        self.not_kept = 0
        self._day = ""
        self._bytes = 0
        self._files = 0

    def begin(self) -> Capture:
        """A new file; never raises. To be ended by `keep` or `drop`."""
        return Capture(self)

    def health(self) -> dict[str, int]:
        """For the heartbeat."""
        return {"captures": self.kept, "captures_not_kept": self.not_kept}

    def today(self) -> Path:
        """The day's folder, made and counted where it is new.

        Raises:
            OSError: it cannot be made.
        """
        day = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}"
        path = self.folder / day
        if day != self._day:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._bytes = self._files = 0
            for entry in os.scandir(path):
                if entry.name.startswith(_DRAFT):  # of a process that was killed
                    Path(entry.path).unlink(missing_ok=True)
                    continue
                self._bytes += entry.stat(follow_symlinks=False).st_size
                self._files += 1
            self._day = day
        return path

    def has_room(self) -> bool:
        """Whether another file may be begun today."""
        return self.open < OPEN_MOST and self._files < FILES_MOST and self._bytes < self.day_most

    def take(self, count: int) -> bool:
        """Take this many bytes of the day's room; False where they are not there."""
        if self._bytes + count > self.day_most:
            return False
        self._bytes += count
        return True

    def give_back(self, count: int) -> None:
        """The bytes were not needed."""
        self._bytes = max(0, self._bytes - count)

    def count_file(self) -> None:
        """One more file lies there."""
        self._files += 1


class Capture:
    """One file on its way in. `size_bytes` and `sha256` are of all that came."""

    def __init__(self, captures: Captures) -> None:
        self.size_bytes = 0
        self.path: Path | None = None
        """Where it lies, after `keep`; None where it was not kept."""
        self.truncated = False
        """Only its beginning was kept."""
        self._captures = captures
        self._hash = hashlib.sha256()
        self._kept_hash = hashlib.sha256()
        self._kept = 0
        self._head = bytearray()
        self._draft: Path | None = None
        self._handle = -1
        with contextlib.suppress(OSError):
            folder = captures.today()
            if captures.has_room():
                self._draft = folder / f"{_DRAFT}{uuid.uuid4().hex}"
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
                self._handle = os.open(self._draft, flags, 0o600)
                captures.open += 1

    @property
    def sha256(self) -> str:
        """Of all that came so far, kept or not; in hex."""
        return self._hash.hexdigest()

    @property
    def room(self) -> int:
        """Bytes that would still be kept."""
        return max(0, self._captures.most - self._kept)

    def write(self, data: bytes) -> None:
        """More of the file; never raises."""
        self.size_bytes += len(data)
        self._hash.update(data)
        self._head += data[: HEAD_BYTES - len(self._head)]
        kept = data[: self.room]
        if self._handle < 0 or self.truncated or not self._captures.take(len(kept)):
            self.truncated = True
            return
        self.truncated = len(kept) < len(data)
        view = memoryview(kept)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError:
            self.truncated = True
            self._captures.give_back(len(view))
            kept = kept[: len(kept) - len(view)]
        self._kept_hash.update(kept)
        self._kept += len(kept)

    def read(self, most: int) -> bytes:
        """The beginning of what came, before `keep` or `drop`; less of it where none was kept."""
        kept = b""
        with contextlib.suppress(OSError):
            if self._handle >= 0:
                kept = os.pread(self._handle, most, 0)
        return kept if len(kept) >= len(self._head) else bytes(self._head[:most])

    def keep(self) -> None:
        """The file is complete: it gets its name. Never raises."""
        if self._handle < 0 or self._draft is None or not self.size_bytes:
            if self.size_bytes:
                self._captures.not_kept += 1
            self._end(keep=False)
            return
        path = self._draft.with_name(f"{self._kept_hash.hexdigest()}.bin")
        try:
            if path.exists():  # somebody left the same before
                self._end(keep=False)
            else:
                self._draft.rename(path)
                self._captures.count_file()
                self._end(keep=True)
            self.path = path
            self._captures.kept += 1
        except OSError:
            self._captures.not_kept += 1
            self._end(keep=False)

    def drop(self) -> None:
        """The file is not wanted, or its sender went away. Safe after `keep`."""
        self._end(keep=False)

    def _end(self, *, keep: bool) -> None:
        if self._handle < 0:
            return
        os.close(self._handle)
        self._handle = -1
        self._captures.open -= 1
        if not keep and self._draft is not None:
            self._captures.give_back(self._kept)
            with contextlib.suppress(OSError):
                self._draft.unlink()


def captures_folder(artifacts: Path, decky: str, service: str) -> Path:
    """Where a service's captured files lie. Nothing a visitor sent is part of a path."""
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in decky)
    return artifacts / safe / service / "captures"
