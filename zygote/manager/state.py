"""What outlives the manager: one small file a worker, written before each step that counts.

    state/NAME.json   ours, written atomically: what is wanted, the spec, and the spawn's id,
                      before the spawn is sent
    state/NAME.pid    the worker's own, written before it runs any code: "PID STARTTIME SPAWN_ID"

So whatever runs is on record. A json with a blank pid record is an intention that came to nothing.
A process is the one on record if pid, start time (in ticks since boot) and boot id agree; a
pidfd is taken before the start time is compared, so no younger process can take its place.

Format history: 1 first version.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zygote.manager.children import try_stat
from zygote.sys import procfs

FORMAT = 1
_BLANK = b" " * 95 + b"\n"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Found:
    """A worker that an earlier manager knew.

    Attributes:
        record: its json.
        pid: of the process on record, 0 if it never came to run.
        pidfd: owned by whoever takes this; -1 if the process is gone.
        started_at: wall clock, seconds since the epoch; 0.0 if it is gone.
    """

    name: str
    record: dict[str, Any]
    pid: int = 0
    pidfd: int = -1
    started_at: float = 0.0


def check_format(record: dict[str, Any]) -> None:
    """Whether we can read a record.

    Raises:
        ValueError: another version of the manager wrote it, or it is broken.
    """
    if (number := record.get("format")) != FORMAT:
        what = "broken" if number is None else f"of format {number}, and this manager's is {FORMAT}"
        raise ValueError(f"its state file is {what}")


class StateFiles:
    """The folder of state files.

    Args:
        trouble: told in one line when something cannot be written (disk full, for one); the
            fleet goes on, and the line is cleared with "" once writing works again.
    """

    def __init__(self, folder: Path, trouble: Callable[[str], None]) -> None:
        self._folder = folder
        self._trouble = trouble
        self._troubled = False
        self.boot_id = procfs.read_boot_id()

    def write(self, name: str, record: dict[str, Any]) -> OSError | None:
        """Write a worker's json, atomically; why not (told as well), if it cannot be."""
        full = {"format": FORMAT, "boot_id": self.boot_id, "at": time.time(), **record}
        return self._write(self._folder / f"{name}.json", json.dumps(full))

    def is_known(self, name: str) -> bool:
        """Whether a json of the worker, if an old one, is there."""
        return (self._folder / f"{name}.json").exists()

    def open_record(self, name: str) -> int:
        """The blank pid record for a new process to write to; the caller owns the fd.

        An old file is written over in place, so that a worker can be restarted on a full disk.

        Raises:
            OSError: disk full, read-only, no descriptors left.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        record = os.open(self._folder / f"{name}.pid", flags, 0o600)
        try:
            os.pwrite(record, _BLANK, 0)
        except OSError:
            os.close(record)
            raise
        return record

    def recorded_pid(self, name: str) -> int:
        """The pid that a worker has written of itself, before its first user code; 0: none yet."""
        try:
            text = (self._folder / f"{name}.pid").read_text()
            return int(text.split()[0])
        except (OSError, ValueError, IndexError):
            return 0

    def write_pid(self, name: str, pid: int, starttime: int, spawn_id: str) -> None:
        """The pid record of a process that was on record before."""
        self._write_over(name, f"{pid} {starttime} {spawn_id}\n".encode().ljust(len(_BLANK)))

    def forget(self, name: str) -> None:
        """Remove a worker's files."""
        for end in ("json", "pid"):
            try:
                (self._folder / f"{name}.{end}").unlink(missing_ok=True)
            except OSError as error:
                self._tell(f"{self._folder}: {error.strerror}")

    def forget_pid(self, name: str) -> None:
        """The process on record has ended."""
        self._write_over(name, _BLANK)

    def read_all(self) -> list[Found]:
        """Every worker on record, with a pidfd where its process lives.

        One whose record is broken, or of another format, is among them only if its process lives;
        `check_format` tells.
        """
        found = []
        for path in sorted(self._folder.glob("*.json")):
            text = b""
            try:
                text = path.read_bytes()
                record = json.loads(text)
            except (OSError, ValueError) as error:
                self._tell(f"{path}: {error}")
                record = None
            if not isinstance(record, dict):
                # Pid and start time say which process it was if they are of this boot.
                record = {"boot_id": self.boot_id} if self.boot_id.encode() in text else {}
            each = self._find(path.stem, record)
            if record.get("format") == FORMAT or each.pidfd >= 0:
                found.append(each)
        return found

    def read_generations(self) -> dict[str, int]:
        """Zygote -> the last generation that was baked on this folder."""
        try:
            data = json.loads((self._folder.parent / "generations.json").read_bytes())
            return {str(name): int(number) for name, number in data.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def write_generations(self, generations: dict[str, int]) -> None:
        """Keep them, so that a generation's number is never used twice on this folder."""
        self._write(self._folder.parent / "generations.json", json.dumps(generations))

    def write_manager(self, about: dict[str, Any]) -> None:
        """manager.json beside the folder: who serves here."""
        self._write(self._folder.parent / "manager.json", json.dumps(about) + "\n")

    def forget_manager(self) -> None:
        """Nobody serves here any more."""
        with contextlib.suppress(OSError):
            (self._folder.parent / "manager.json").unlink()

    def _find(self, name: str, record: dict[str, Any]) -> Found:
        try:
            with (self._folder / f"{name}.pid").open() as file:
                parts, written = file.read().split(), os.fstat(file.fileno()).st_mtime
            pid, starttime, _spawn_id = int(parts[0]), int(parts[1]), parts[2]
        except (OSError, ValueError, IndexError):
            return Found(name, record)
        # The spawn id is for people: on a full disk the json may be that of an earlier spawn. The
        # pid record cannot be, for it is blanked before a new process is asked for.
        gone = Found(name, record, pid)
        if record.get("boot_id") != self.boot_id:
            return gone
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return gone
        stat = try_stat(pid)
        if stat is None or stat.starttime != starttime:
            os.close(pidfd)
            return gone
        now = time.time()
        forked = now - (time.clock_gettime(time.CLOCK_BOOTTIME) - starttime / _TICKS)
        # It wrote its record just before it began; its process may have waited before, as a blank.
        return Found(name, record, pid, pidfd, min(now, max(forked, written)))

    def _write_over(self, name: str, record: bytes) -> None:
        """In place, so that neither a full disk nor our death leaves half of a pid record."""
        path = self._folder / f"{name}.pid"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, record, 0)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            pass  # it never came to have one
        except OSError as error:
            self._tell(f"{path}: {error.strerror}")

    def _write(self, path: Path, text: str) -> OSError | None:
        # No fsync: after a crash of the machine no process on record lives, so the record is moot.
        draft = path.with_name(path.name + ".new")
        try:
            draft.write_text(text)
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            self._tell(f"{path}: {error.strerror}")
            return error
        if self._troubled:
            self._troubled = False
            self._trouble("")
        return None

    def _tell(self, line: str) -> None:
        if not self._troubled:
            self._troubled = True
            self._trouble(line)
