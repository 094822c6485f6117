"""Log files of workers and zygotes: opened here, written by them, rotated under their hands.

A worker holds its log's descriptor itself (O_APPEND), so that its output never passes through the
manager and outlives it. To rotate, the front of the live file, a whole number of blocks, is
copied to NAME.log.1 and then taken out of the live file (`rotation`): by collapsing the range, or
by punching a hole where the file system cannot (tmpfs, btrfs). Where it can do neither an event
says that lines may have been lost. Readers: `zygote.sys.logfile`.

Killed between renaming and cutting, the manager leaves lines twice; it never loses any.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from zygote.manager.events import EventLog
from zygote.manager.journal import open_stream
from zygote.manager.rotation import Live, copy_of, shift
from zygote.sys.logfile import JOURNAL_MARKER, rotated

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_LOW = 64 * 1024
"""Free bytes under which the disk counts as full."""


class Bounds(NamedTuple):
    """How long one log may grow.

    Attributes:
        name: as given to `open`.
        max_bytes: rotate when the live file holds more.
        keep: rotated files kept; with 0 the front is dropped.
    """

    name: str
    max_bytes: int
    keep: int


class LogFiles:
    """All log files in one folder.

    Args:
        log_dir: exists, and is writable (see `runtime.prepare_logs`).
        events: told of each rotation and of a full disk.
        journal: not "": no files; each has a stream to journald, under `JOURNAL/NAME`.
    """

    def __init__(self, log_dir: Path, events: EventLog, journal: str = "") -> None:
        self._dir = log_dir
        self._events = events
        self._journal = journal
        marker = log_dir / JOURNAL_MARKER
        if journal:
            marker.write_text(f"{journal}\n")  # for `logs`, which asks no manager
        else:
            marker.unlink(missing_ok=True)
        self._disk_full = False
        self._failed: set[str] = set()
        self.rotating = False
        """A log is being rotated: to end now would leave lines twice."""
        for left in log_dir.glob("*.log.new"):
            left.unlink(missing_ok=True)  # a copy that a killed manager did not finish

    def place(self, name: str) -> str:
        """Where its lines are, for people: the file, or "journal:IDENTIFIER"."""
        return f"journal:{self._journal}/{name}" if self._journal else str(self.path(name))

    def path(self, name: str) -> Path:
        """The live log file of a worker or zygote."""
        return self._dir / f"{name}.log"

    def open(self, name: str) -> int:
        """A descriptor for the process to write to, appending; the caller owns it.

        A log that cannot be opened (a full disk, say) costs the worker its log, not its life: the
        descriptor is /dev/null's then, and an event says so. Without journald it is a file's.
        """
        if self._journal:
            try:
                return open_stream(f"{self._journal}/{name}")
            except OSError as error:
                detail = f"journald: {error.strerror}; its output goes to {self.path(name)}"
                self._events.emit("log-moved", name, detail=detail)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path(name), flags, 0o640)
        except OSError as error:
            self._events.emit(
                "log-lost",
                name,
                detail=f"{self.path(name)}: {error.strerror}; its output goes to /dev/null "
                "until it is restarted",
            )
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    async def rotate_loop(
        self, bounds: Callable[[], Iterable[Bounds]], interval: float = 1.0
    ) -> None:
        """Look at every log each `interval` seconds, rotate those that are too long; for ever."""
        while True:
            await asyncio.sleep(interval)
            self.check_disk()
            for bound in list(bounds()):
                await self.rotate_if_long(bound)

    async def rotate_if_long(self, bound: Bounds) -> bool:
        """Rotate one log if its live file holds more than it may; True if it was rotated.

        No exception leaves: what fails is told by an event, once, and tried again next time.
        """
        try:
            # The cheap look, a thousand times a second in a large fleet, so without a Path; a
            # punched file is long and needs the second.
            if os.stat(f"{self._dir}/{bound.name}.log").st_size <= bound.max_bytes:  # noqa: PTH116
                return False
            path = self.path(bound.name)
            with Live(path) as live:
                if live.length() <= bound.max_bytes:
                    return False
                self.rotating = True
                await self._rotate(bound, live)
        except FileNotFoundError:
            return False
        except Exception as error:  # a fault of ours, too, must not keep the others from it
            if bound.name not in self._failed:
                self._failed.add(bound.name)
                why = (isinstance(error, OSError) and error.strerror) or repr(error)
                self._events.emit(
                    "log-rotation-failed",
                    bound.name,
                    detail=f"{self.path(bound.name)}: {why}; it keeps growing, tried again each "
                    "second",
                )
            return False
        finally:
            self.rotating = False
        self._failed.discard(bound.name)
        return True

    def check_disk(self) -> None:
        """Tell when the disk of the logs fills up, and when it has room again."""
        try:
            disk = os.statvfs(self._dir)
        except OSError:
            return
        free = disk.f_bavail * disk.f_frsize
        full = free < min(_DISK_LOW, disk.f_blocks * disk.f_frsize // 16)
        if full and not self._disk_full:
            detail = (
                f"{self._dir}: {free} bytes free; workers go on, lines that find no room are lost"
            )
            self._events.emit("log-disk-full", "manager", detail=detail)
        elif self._disk_full and not full:
            self._events.emit("log-disk-ok", "manager", detail=f"{self._dir}: {free} bytes free")
        self._disk_full = full

    async def _rotate(self, bound: Bounds, live: Live) -> None:
        cut = live.cut()
        if cut <= 0:
            return
        path = self.path(bound.name)
        copied = bound.keep > 0 and await self._copy(bound, live, cut)
        await live.lock()
        newest = shift(path, bound.keep) if copied else None
        how = live.drop_front(cut, newest)
        detail = f"bytes={cut} how={how}"
        if how == "truncate":
            detail += "; this file system can neither collapse nor punch: a line written in that "
            detail += "very moment is lost"
        if copied or bound.keep == 0:
            self._events.emit("log-rotated", bound.name, detail=detail)
        else:
            lost = f"{detail}; no room to keep them: the oldest lines of {path} are lost"
            self._events.emit("log-dropped", bound.name, detail=lost)

    async def _copy(self, bound: Bounds, live: Live, cut: int) -> bool:
        """Copy the front to NAME.log.new; False if there is no room even without old files."""
        path = self.path(bound.name)
        while True:
            try:
                await live.copy_front(copy_of(path), cut)
                return True
            except OSError as error:
                if error.errno not in _FULL:
                    raise
            if not self._drop_oldest(bound.name):
                return False

    def _drop_oldest(self, name: str) -> bool:
        """Make room: remove the oldest rotated file of a log, if it has one."""
        older = rotated(self.path(name))
        if not older:
            return False
        size = older[-1].stat().st_size
        older[-1].unlink()
        detail = f"bytes={size}; removed {older[-1]}, the disk is full"
        self._events.emit("log-dropped", name, detail=detail)
        return True
