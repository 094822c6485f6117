"""One reader a spool: two would store every line twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from zygote.errors import ZygoteError

EXIT_TAKEN = 73


class SpoolTaken(ZygoteError):
    """Another collect reads this spool."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"another collect reads {folder}",
            code="spool-taken",
            hint=f"stop it (fuser {folder}): two would store every line twice",
            exit_code=EXIT_TAKEN,
        )


@contextlib.contextmanager
def only_reader(folder: Path) -> Iterator[None]:
    """Hold the spool's lock inside the block; it goes with the process, however that ends.

    Raises:
        SpoolTaken: another has it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpoolTaken(folder) from None
        yield
    finally:
        os.close(handle)
