"""Rule `thread`: a clone has the thread that made it, and no other.

A thread that the floor started is missing in every worker, and a lock that it held at that moment
stays locked there for ever: queues that nobody drains, logging that hangs. Threads of native code
count like Python's: pools of OpenBLAS, of gRPC, of an allocator.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from zygote.audit import known
from zygote.audit.blame import Ledger
from zygote.audit.report import Finding

_PATIENCE = 1.0
"""Seconds for threads that have been joined to be gone: Python's join returns a little before."""


def look(ledger: Ledger) -> list[Finding]:
    """One finding a thread, by the name that Python has for it, or the kernel's."""
    deadline = time.monotonic() + _PATIENCE
    while (extra := _extra()) and time.monotonic() < deadline and not _known_to_live(extra):
        time.sleep(0.005)
    return [_finding(number, ledger) for number in sorted(extra)]


def _finding(number: int, ledger: Ledger) -> Finding:
    module = ledger.threads.get(number, "")
    thread = next((one for one in threading.enumerate() if one.native_id == number), None)
    comm = _comm(number)
    if thread is None:
        what, runs = f"thread '{comm}' (id {number}), of native code", ""
    else:
        runs = _work(thread)
        what = f"thread '{thread.name}' (id {number})" + (f", running {runs}" if runs else "")
    remedy = known.remedy(runs, module, f"comm:{comm}")
    place = ledger.places.get(("thread", number), "")
    return Finding("thread", what, remedy=remedy, module=module, place=place)


def _work(thread: threading.Thread) -> str:
    """What it runs, as `module.function`; "" where it does not say."""
    target: Any = getattr(thread, "_target", None) or type(thread).run
    module = getattr(target, "__module__", None) or type(getattr(target, "__self__", "")).__module__
    name = getattr(target, "__qualname__", "")
    return f"{module}.{name}" if name and name != "Thread.run" else ""


def _extra() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")} - {os.getpid()}  # noqa: PTH208


def _known_to_live(extra: set[int]) -> bool:
    """Whether Python itself says that one of these threads runs: waiting is then no use."""
    return any(thread.native_id in extra and thread.is_alive() for thread in threading.enumerate())


def _comm(number: int) -> str:
    try:
        with open(f"/proc/self/task/{number}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return "?"
