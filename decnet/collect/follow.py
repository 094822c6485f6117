"""Other programs' log files: found by patterns, followed over rotation by inode.

`app.log` and what it was renamed to (`app.log.1`, `app.log-20261124`) are a family. A file of
which something was read is known by its inode; from the oldest known one on, all are read, in
the order in which they were last written to. So a reader that was away for several rotations
misses nothing that is still there uncompressed. Of a family that was never seen, only the file
of the plain name is read, from its beginning. These files are others': they are never deleted,
renamed or written to.
"""

from __future__ import annotations

import glob
import os
import re
import stat
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from decnet.collect.tail import Cursor, SpoolFile

FILES_MOST = 1000
"""Files that are followed at once; what a pattern finds beyond them is counted and left out."""
SETTLED_SECONDS = 60.0
"""A renamed file that was not written to for so long has ended."""

_SUFFIX = re.compile(r"[.-](\d[\d-]{0,30})", re.ASCII)
_WILD = re.compile(r"[*?[]")


@dataclass
class Sight:
    """What a look at the patterns found."""

    files: list[SpoolFile] = field(default_factory=list)
    """In reading order, each family's oldest first."""
    folders: dict[str, frozenset[str]] = field(default_factory=dict)
    """Every folder that could be read and is not empty, and the keys of all files in it."""
    left_out: int = 0

    def forgotten(self, cursors: Mapping[str, Cursor]) -> list[str]:
        """Keys of cursors whose file is gone.

        One in a folder that cannot be read or is empty (not mounted?) is kept.
        """
        return [
            key
            for key in cursors
            if (found := self.folders.get(key.rpartition("-")[0])) is not None and key not in found
        ]


@dataclass(frozen=True)
class _Entry:
    path: Path
    key: str
    inode: int
    size: int
    mtime_ns: int


def look(patterns: Iterable[str | Path], cursors: Mapping[str, Cursor]) -> Sight:
    """Find the files. What cannot be read is left out: it may come back.

    Args:
        patterns: absolute paths; in a text `*`, `?`, `[…]` and `**` are wildcards, a Path is
            taken as it is.
        cursors: what was read so far, by `SpoolFile.key`.
    """
    sight = Sight()
    listed: dict[Path, dict[str, _Entry]] = {}
    seen: set[str] = set()
    for path in _heads(patterns):
        if path.parent not in listed:
            listed[path.parent] = _list(path.parent)
            if entries := listed[path.parent]:
                keys = frozenset(entry.key for entry in entries.values())
                sight.folders[_folder_id(path.parent)] = keys
        for file in _family(path, listed[path.parent], cursors):
            if file.key in seen:
                continue
            if len(seen) >= FILES_MOST:
                sight.left_out += 1
                continue
            seen.add(file.key)
            sight.files.append(file)
    return sight


def _heads(patterns: Iterable[str | Path]) -> list[Path]:
    """Paths that the patterns name; one without wildcards even where there is no such file."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        names: list[str | Path] = [pattern]
        if isinstance(pattern, str) and _WILD.search(pattern):
            names = [*sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 -- with "**"
        found.update(dict.fromkeys(map(Path, names)))
    return list(found)


def _list(folder: Path) -> dict[str, _Entry]:
    """Regular files by name; a link is not followed: it could lead anywhere."""
    found = {}
    prefix = _folder_id(folder)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(info.st_mode):
                    key = f"{prefix}-{info.st_ino}"
                    found[entry.name] = _Entry(
                        Path(entry.path), key, info.st_ino, info.st_size, info.st_mtime_ns
                    )
    except OSError:
        return {}
    return found


def _family(
    head: Path, entries: Mapping[str, _Entry], cursors: Mapping[str, Cursor]
) -> list[SpoolFile]:
    def suffix(name: str) -> str | None:
        """What follows the head's name; None where it is another family's."""
        if name == head.name:
            return ""
        match = _SUFFIX.fullmatch(name.removeprefix(head.name)) if name != head.name else None
        return match[1] if match is not None and name.startswith(head.name) else None

    def age(entry: _Entry) -> tuple[bool, int, int]:
        number = suffix(entry.path.name) or "0"
        # log.2 is older than log.1, log-20261123 older than log-20261124.
        order = -int(number) if len(number) < 6 else int(number.replace("-", ""))
        return (entry.path.name == head.name, entry.mtime_ns, order)

    family = sorted((e for name, e in entries.items() if suffix(name) is not None), key=age)
    known = [at for at, entry in enumerate(family) if entry.key in cursors]
    if known:
        family = family[known[0] :]
    elif not _was_seen(head, cursors, suffix):
        family = [entry for entry in family if entry.path.name == head.name]
    settled = time.time_ns() - int(SETTLED_SECONDS * 1e9)
    return [
        SpoolFile(
            entry.path,
            head.name,
            entry.inode,
            entry.size,
            is_segment=False,
            key=entry.key,
            is_ended=entry.path.name != head.name and entry.mtime_ns < settled,
        )
        for entry in family
    ]


def _was_seen(head: Path, cursors: Mapping[str, Cursor], suffix: object) -> bool:
    assert callable(suffix)
    prefix = _folder_id(head.parent) + "-"
    return any(
        key.startswith(prefix) and suffix(cursor.name) is not None
        for key, cursor in cursors.items()
    )


def _folder_id(folder: Path) -> str:
    """Tells inodes of different folders (and file systems) apart, the same after a reboot."""
    return f"{zlib.crc32(os.fsencode(folder)):08x}"
