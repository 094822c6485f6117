"""A small JSON file that is replaced as a whole: after a kill it is the old one or the new one."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def load(path: Path) -> dict[str, Any]:
    """What was saved; {} where there is nothing. One that cannot be read is put aside.

    Raises:
        OSError: it is there and cannot be opened.
    """
    try:
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    path.replace(path.with_suffix(".bad"))
    return {}


def save(path: Path, value: dict[str, Any], *, sync: bool) -> None:
    """Replace the file.

    Args:
        sync: survive a power cut as well. Blocks for as long as the disk takes.
    Raises:
        OSError: it was not replaced.
    """
    draft = path.with_suffix(".new")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(json.dumps(value, separators=(",", ":")).encode())
        file.flush()
        if sync:
            os.fsync(file.fileno())
    draft.replace(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut, where the file system can."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)
