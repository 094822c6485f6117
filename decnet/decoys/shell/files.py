"""The pretended file system: a shared tree, and what one session wrote over it, within bounds."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

FILE_MOST = 64 << 10
SESSION_MOST = 1 << 20
ENTRIES_MOST = 256
PATH_MOST = 1024


class FileError(OSError):
    """What a real command would complain of; `str` is the text behind the file's name."""


class Files:
    """One session's view. Paths are absolute and normal (see `resolve`)."""

    def __init__(self, base: Mapping[str, bytes | None]) -> None:
        self._base = base
        self._own: dict[str, bytes | None] = {}
        self._removed: set[str] = set()
        self._used = 0

    def resolve(self, folder: str, path: str, home: str = "/root") -> str:
        """An absolute path without "." and ".."."""
        if path == "~" or path.startswith("~/"):
            path = home + path[1:]
        found = posixpath.normpath(posixpath.join(folder, path[:PATH_MOST]))
        return "/" + found.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether there is a file or folder."""
        return path not in self._removed and (path in self._own or path in self._base)

    def is_dir(self, path: str) -> bool:
        """Whether there is a folder."""
        return self.exists(path) and self._own.get(path, self._base.get(path, b"")) is None

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            FileError: it is not there, or is a folder.
        """
        if path in ("/dev/null", "/dev/zero"):
            return b""
        if not self.exists(path):
            raise FileError("No such file or directory")
        data = self._own.get(path, self._base.get(path))
        if data is None:
            raise FileError("Is a directory")
        return data

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        """Write a file of this session; what is beyond the bounds is thrown away.

        Raises:
            FileError: a folder has that name, the folder is missing, or there is no room.
        """
        if path.startswith("/dev/"):
            return
        if self.is_dir(path):
            raise FileError("Is a directory")
        if not self.is_dir(posixpath.dirname(path)):
            raise FileError("No such file or directory")
        old = self.read(path) if self.exists(path) else b""
        new = (old + data if append else data)[:FILE_MOST]
        self._room(path, len(new) - len(old))
        self._own[path] = new

    def mkdir(self, path: str) -> None:
        """Make a folder.

        Raises:
            FileError: it is there, its parent is not, or there is no room.
        """
        if self.exists(path):
            raise FileError("File exists")
        if not self.is_dir(posixpath.dirname(path)):
            raise FileError("No such file or directory")
        self._room(path, 0)
        self._own[path] = None

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with all that is in it."""
        inside = path.rstrip("/") + "/"
        for known in (*self._own, *self._base):
            if (known == path or known.startswith(inside)) and known != "/":
                self._own.pop(known, None)
                if known in self._base:
                    self._removed.add(known)

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted."""
        inside = path.rstrip("/") + "/"
        found = {
            known[len(inside) :].partition("/")[0]
            for known in (*self._own, *self._base)
            if known.startswith(inside) and len(known) > len(inside) and self.exists(known)
        }
        return sorted(found)

    def written(self) -> dict[str, bytes]:
        """The files that this session wrote and left, by path; empty ones not."""
        return {path: data for path, data in self._own.items() if data}

    def _room(self, path: str, growth: int) -> None:
        if self._used + max(growth, 0) > SESSION_MOST or len(self._own) >= ENTRIES_MOST:
            raise FileError("No space left on device")
        self._used += max(growth, 0)
        self._removed.discard(path)
