"""A cgroup v2 leaf for a test, where this machine lets us make one."""

from __future__ import annotations

import contextlib
import errno
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

PATIENCE = 60.0
"""Seconds that the kernel may take for the rest of a process that has been reaped."""


@contextlib.contextmanager
def try_cgroup() -> Iterator[Path | None]:
    """A fresh leaf below our own cgroup, removed afterwards; None where that is not possible."""
    leaf = _make()
    try:
        yield leaf
    finally:
        if leaf is not None:
            _remove(leaf)


def _remove(leaf: Path) -> None:
    """Once the kernel is done with the last that has ended in it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return leaf.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _make() -> Path | None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"]
    ours = [
        line.removeprefix("0::").lstrip("/")
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.startswith("0::")
    ]
    if not roots or not ours:
        return None
    leaf = roots[0] / ours[0] / f"zygote-test-{uuid.uuid4().hex[:8]}"
    try:
        leaf.mkdir()
    except OSError:
        return None
    return leaf
