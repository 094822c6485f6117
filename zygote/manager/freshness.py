"""Whether the code on disk is still what a generation was baked from.

A zygote tells, when it is baked, which files it was made of (`zygote.forkserver.prints`). That is
kept as a file, RUNTIME/prints/ZYGOTE.GENERATION: workers outlive their zygote and their manager,
and the next manager wants to know what they run, too. It is removed when nobody runs it any more.

Comparing takes a stat(2) for each file, some milliseconds for a thousand; so it is done when
somebody asks, and what came of it holds for a moment. Nothing is read, and nothing is hashed.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from zygote.fleet.model import WorkerSpec, ZygoteSpec

HOLDS = 0.5
"""Seconds for which an answer holds."""

Print = tuple[str, int, int, int]
"""Path, mtime in ns, size, inode."""
Generation = tuple[str, int]
"""A zygote's name and the number of its generation."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is not on disk any more as it was. `path`: the newest of `count` files."""

    path: str
    count: int

    def __str__(self) -> str:
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.path}{more}"


class Freshness:
    """What each generation was made of.

    Args:
        folder: where to keep that; made when first needed.
        now: monotonic seconds.
        trouble: told in one line when something cannot be kept, and "" once it can again.
    """

    def __init__(
        self, folder: Path, now: Callable[[], float], trouble: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._now = now
        self._trouble = trouble
        self._troubled = False
        self._answers: dict[object, tuple[float, Change | None]] = {}
        self.used: Callable[[], Iterable[Generation]] = lambda: self._all()
        """The generations that somebody runs, set by who knows."""

    def keep(self, of: Generation, prints: int, parent: Generation | None = None) -> None:
        """Keep what a zygote told; `prints` stays the caller's.

        Args:
            parent: of a branch, which told only of what it added.
        """
        path = self._path(of)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            target = os.open(path, flags, 0o600)
            try:
                if parent and self._path(parent).exists():
                    os.write(target, self._path(parent).read_bytes())
                size, at = os.fstat(prints).st_size, 0
                while at < size and (sent := os.sendfile(target, prints, at, size - at)):
                    at += sent
            finally:
                os.close(target)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            self._tell(f"{path}: {error.strerror}")
        else:
            self._tell("")
        self._answers.pop(of, None)
        self.sweep({*self.used(), of})

    def look(self, of: Generation) -> Change | None:
        """How the disk differs from what a generation was made of; None: not, or not known."""
        return self._held(of, lambda: _compare(self.prints(of)))

    def look_at(self, file: Print | None) -> Change | None:
        """The same for one file, that of a worker."""
        return self._held(file, lambda: _compare([file])) if file else None

    def prints(self, of: Generation) -> Iterable[Print]:
        """The files of a generation; none where that is not known."""
        try:
            source = open(self._path(of), "rb")  # noqa: SIM115
        except OSError:
            return
        with source:
            for line in source:
                parts = line.rstrip(b"\n").split(b" ", 3)
                if len(parts) == 4:
                    yield os.fsdecode(parts[3]), int(parts[0]), int(parts[1]), int(parts[2])

    def forget(self) -> None:
        """Answers hold no more: somebody wants to know exactly."""
        self._answers.clear()

    def sweep(self, used: Iterable[Generation]) -> None:
        """Remove what is kept of generations that nobody runs any more."""
        for of in set(self._all()) - set(used):
            try:
                self._path(of).unlink(missing_ok=True)
            except OSError as error:
                self._tell(f"{self._path(of)}: {error.strerror}")

    def _tell(self, line: str) -> None:
        if line or self._troubled:
            self._troubled = bool(line)
            self._trouble(line)

    def _all(self) -> list[Generation]:
        try:
            names = [entry.name for entry in os.scandir(self._folder)]
        except OSError:
            return []
        parts = [name.rpartition(".") for name in names]
        return [(name, int(number)) for name, _, number in parts if number.isdecimal()]

    def _path(self, of: Generation) -> Path:
        return self._folder / f"{of[0]}.{of[1]}"

    def _held(self, key: object, look: Callable[[], Change | None]) -> Change | None:
        now = self._now()
        held = self._answers.get(key)
        if held is None or now - held[0] > HOLDS:
            if len(self._answers) > 4096:
                self._answers.clear()
            held = self._answers[key] = (now, look())
        return held[1]


def read_print(path: str) -> Print | None:
    """A file as it is now; None if there is no such file."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - a thousand path objects a look
    except OSError:
        return None
    return path, stat.st_mtime_ns, stat.st_size, stat.st_ino


def file_of(spec: WorkerSpec, zygote: ZygoteSpec | None) -> Print | None:
    """The file that a worker runs, as it is now; None where it cannot be told.

    What it imports beside that, and its zygote did not, is not known.
    """
    if spec.run.kind == "file":
        return read_print(os.path.join(spec.cwd, spec.run.target))  # noqa: PTH118
    module = spec.run.target.partition(":")[0].replace(".", "/")
    package = "__main__" if spec.run.kind == "module" else "__init__"
    own = not zygote or not zygote.python or zygote.python == sys.executable
    of_zygote = (zygote.cwd, *zygote.path) if zygote else ()
    for folder in dict.fromkeys((spec.cwd, *of_zygote, *(sys.path if own else ()))):
        for end in (".py", f"/{package}.py"):
            if folder and (found := read_print(f"{folder}/{module}{end}")):
                return found
    return None


def _compare(prints: Iterable[Print]) -> Change | None:
    changed, newest, count = "", -1, 0
    for was in prints:
        now = read_print(was[0])
        if now == was:
            continue
        count += 1
        if (mtime := now[1] if now else 0) > newest:
            changed, newest = was[0] if now else f"{was[0]} (gone)", mtime
    return Change(changed, count) if count else None
