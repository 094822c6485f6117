"""Small file systems for tests: a full disk, a read-only one. Needs root and mount(2)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MS_RDONLY = 1
_MS_REMOUNT = 32


@contextlib.contextmanager
def tmpfs(where: Path, size: str) -> Iterator[Path]:
    """A tmpfs of `size` ("2m") at `where`; the test is skipped, by name, where we may not mount."""
    where.mkdir(parents=True, exist_ok=True)
    if _mount(b"tmpfs", where, b"tmpfs", 0, f"size={size},mode=711".encode()):
        pytest.skip(f"may not mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    try:
        yield where
    finally:
        _libc.umount2(os.fsencode(where), _MNT_DETACH)


def make_read_only(where: Path) -> None:
    """Remount what is mounted at `where` read-only."""
    if _mount(b"tmpfs", where, b"tmpfs", _MS_REMOUNT | _MS_RDONLY, b""):
        raise OSError(ctypes.get_errno(), "remount")


def fill(where: Path, *, leave: int = 0) -> Path:
    """Fill the file system at `where` but for `leave` bytes; gives the file that does it."""
    filler = where / "filler"
    with filler.open("wb", buffering=0) as out:
        while True:
            state = os.statvfs(where)
            free = state.f_bavail * state.f_frsize
            try:
                os.posix_fallocate(out.fileno(), 0, max(1, free - leave))
            except OSError as error:
                # Whoever else writes there was quicker.
                if error.errno != errno.ENOSPC or free <= leave:
                    raise
            else:
                return filler


def _mount(source: bytes, where: Path, kind: bytes, flags: int, options: bytes) -> int:
    result: int = _libc.mount(source, os.fsencode(where), kind, ctypes.c_ulong(flags), options)
    return result
