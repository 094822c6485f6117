"""Which files a floor was made of: one line each, for the manager to compare with the disk later.

    MTIME_NS SIZE INODE PATH

Written straight into a memfd, a line at a time: the heap is sealed by then, and a list of a
thousand lines would leave holes. A file that was changed while the floor was being made is given
the time 0: what was imported may be the old text or the new one.
"""

# ruff: noqa: PTH116
# Names are strings here; path objects would be garbage on a sealed heap.

from __future__ import annotations

import os
import sys
import time
from collections.abc import Container


def take(since_ns: int, known: Container[str] = ()) -> int:
    """A memfd with the lines of all modules; the caller's to close.

    Args:
        since_ns: wall clock when the first of them was about to be imported.
        known: names of modules to leave out: a branch's parent has told of them.
    Raises:
        OSError: no descriptor, no memory.
    """
    memfd = os.memfd_create("zygote-prints", os.MFD_CLOEXEC)
    try:
        for name in list(sys.modules):
            if name not in known and (line := _line(sys.modules.get(name), since_ns)):
                os.write(memfd, line)
    except BaseException:
        os.close(memfd)
        raise
    return memfd


def _line(module: object, since_ns: int) -> bytes:
    # By its dictionary: a module's own __getattr__ may import, or make things.
    names = getattr(module, "__dict__", {})
    path = getattr(names.get("__spec__"), "origin", None) or names.get("__file__")
    if not isinstance(path, str) or not path.startswith("/") or "\n" in path:
        return b""  # built-in, frozen, or of an archive's own kind
    try:
        stat = os.stat(path)
    except OSError:
        return b""
    # A time in the future was set on purpose, or by a clock that runs ahead.
    while_baked = since_ns < stat.st_mtime_ns <= time.time_ns()
    mtime = 0 if while_baked else stat.st_mtime_ns
    return f"{mtime} {stat.st_size} {stat.st_ino} ".encode() + os.fsencode(path) + b"\n"
