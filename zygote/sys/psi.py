"""Pressure stall information: how much time is lost to waiting for memory.

Facts (the kernel's Documentation/accounting/psi.rst, cgroup-v2.rst):

- memory.pressure of a cgroup, and /proc/pressure/memory, have the lines `some` (at least one task
  waited) and `full` (all did), with averages over 10, 60 and 300 s in percent.
- Writing "some STALL WINDOW" (microseconds, a window from 500 ms to 10 s) arms a trigger on that
  descriptor: poll(2) gives POLLPRI when so much was lost within a window, at most once a window,
  and POLLERR when the cgroup is gone. Closing disarms it. Nobody is woken while all is well.
- EOPNOTSUPP or ENOENT: a kernel without PSI, or psi=0 on its command line. EPERM (before 6.5): a
  trigger needs CAP_SYS_RESOURCE; later others may have one, with a window of whole 2 s.
"""

from __future__ import annotations

import os
from pathlib import Path


def arm(file: Path, share: float, window: float = 2.0) -> int:
    """A descriptor that has POLLPRI when tasks waited for more than `share` of a window.

    The caller closes it.

    Args:
        file: a memory.pressure.
        share: of the time, above 0, at most 1.
        window: seconds.
    Raises:
        OSError: ENOENT, EOPNOTSUPP, EPERM, EINVAL; see above.
    """
    micros = round(window * 1e6)
    descriptor = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"some {max(1, round(micros * share))} {micros}".encode())
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def read_average(file: Path, seconds: int = 10) -> float | None:
    """Share of time, 0 to 1, in which some task waited; None where it cannot be told."""
    try:
        line = file.read_text().split("\n", 1)[0]
    except OSError:
        return None
    figures = dict(part.partition("=")[::2] for part in line.split()[1:])
    try:
        return float(figures[f"avg{seconds}"]) / 100
    except (KeyError, ValueError):
        return None
