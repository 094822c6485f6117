"""Rule `thread`: a clone has the thread that made it, and no other.

A thread that the floor started is missing in every worker, and a lock that it held at that moment
stays locked there for ever: queues that nobody drains, logging that hangs.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from zygote.audit.blame import Ledger
from zygote.audit.report import Finding

_PATIENCE = 1.0
"""Seconds for threads that have been joined to be gone: Python's join returns a little before."""


def look(ledger: Ledger) -> list[Finding]:
    """One finding a thread, by the name that Python has for it, or the kernel's."""
    deadline = time.monotonic() + _PATIENCE
    while (extra := _extra()) and time.monotonic() < deadline and not _known_to_live(extra):
        time.sleep(0.005)
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    return [
        Finding(
            "thread",
            f"thread '{names.get(number) or _comm(number)}' (id {number})",
            "a worker is a copy of one thread, so this one would be missing there",
            "start it in the worker, not while importing or warming up",
            ledger.threads.get(number, ""),
        )
        for number in sorted(extra)
    ]


def _extra() -> set[int]:
    return {int(task.name) for task in Path("/proc/self/task").iterdir()} - {os.getpid()}


def _known_to_live(extra: set[int]) -> bool:
    """Whether Python itself says that one of these threads runs: waiting is then no use."""
    return any(thread.native_id in extra and thread.is_alive() for thread in threading.enumerate())


def _comm(number: int) -> str:
    try:
        with open(f"/proc/self/task/{number}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return "?"
