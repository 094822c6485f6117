"""What lies on the FTP server: a few dull files, and this visitor's own. Pure."""

from __future__ import annotations

import datetime as dt
import posixpath

from decnet.decoys.looks import Look
from decnet.decoys.shell.files import FileError, Files

UPLOADS_MOST = 64


class Shelf:
    """One visitor's view. What it uploads is seen by it alone, by name and size."""

    def __init__(self, look: Look) -> None:
        self.folder = "/"
        self._files = Files(_tree(look))
        self._uploads: dict[str, int] = {}
        self._day = dt.date(2024, 1, 1) + dt.timedelta(days=look.seed % 300)

    def resolve(self, path: str) -> str:
        """An absolute path."""
        return self._files.resolve(self.folder, path, "/")

    def is_dir(self, path: str) -> bool:
        """Whether there is a folder."""
        return self._files.is_dir(path)

    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where there is none."""
        if path in self._uploads:
            return self._uploads[path]
        try:
            return len(self._files.read(path))
        except FileError:
            return None

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None where there is none, or where it is an upload."""
        try:
            return None if path in self._uploads else self._files.read(path)
        except FileError:
            return None

    def may_put(self, path: str) -> bool:
        """Whether a file may be uploaded to this path."""
        return (
            self.is_dir(posixpath.dirname(path))
            and not self.is_dir(path)
            and (path in self._uploads or len(self._uploads) < UPLOADS_MOST)
        )

    def put(self, path: str, size: int) -> None:
        """Remember an upload."""
        self._uploads[path] = size

    def remove(self, path: str) -> bool:
        """Forget a file or an upload; False where there is none."""
        if self._uploads.pop(path, None) is not None:
            return True
        if path == "/" or not self._files.exists(path):
            return False
        self._files.remove(path)
        return True

    def mkdir(self, path: str) -> bool:
        """Make a folder; False where that cannot be."""
        try:
            self._files.mkdir(path)
        except FileError:
            return False
        return True

    def names(self, path: str) -> list[str]:
        """What is in a folder, sorted."""
        uploads = {posixpath.basename(p) for p in self._uploads if posixpath.dirname(p) == path}
        return sorted({*self._files.names(path), *uploads})

    def listing(self, path: str) -> str:
        """A folder, or one file, as `ls -l` shows it; lines end with CR LF."""
        if not self.is_dir(path):
            return self._line(path) if self.size(path) is not None else ""
        return "".join(self._line(posixpath.join(path, name)) for name in self.names(path))

    def facts(self, path: str) -> str:
        """A folder as MLSD shows it."""
        lines = []
        for name in self.names(path):
            full = posixpath.join(path, name)
            kind = "dir" if self.is_dir(full) else "file"
            lines.append(f"type={kind};size={self.size(full) or 0};modify={self.modified}; {name}")
        return "".join(f"{line}\r\n" for line in lines)

    @property
    def modified(self) -> str:
        """The time of every file, as MDTM has it."""
        return f"{self._day:%Y%m%d}081500"

    def _line(self, path: str) -> str:
        is_dir = self.is_dir(path)
        mode, links = ("drwxr-xr-x", 2) if is_dir else ("-rw-r--r--", 1)
        size = 4096 if is_dir else self.size(path) or 0
        name = posixpath.basename(path)
        return f"{mode}    {links} ftp      ftp      {size:10} {self._day:%b %d  %Y} {name}\r\n"


def _tree(look: Look) -> dict[str, bytes | None]:
    seed = look.seed
    return {
        "/": None,
        "/pub": None,
        "/incoming": None,
        "/backup": None,
        "/pub/README": f"Files of {look.fqdn}. Put yours into /incoming.\n".encode(),
        "/pub/holidays.csv": b"date,name\n2024-12-25,Christmas\n2025-01-01,New Year\n",
        "/backup/rotate.log": f"rotated 7 archives, {seed % 900 + 100} MB freed\n".encode() * 12,
        "/backup/site.sql": b"-- MariaDB dump 10.19\nCREATE TABLE `visits` (`id` int);\n",
    }
