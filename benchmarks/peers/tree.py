"""The processes that a peer started: found, measured, waited for, ended.

The benchmark is a subreaper, so that whatever a peer leaves behind (a daemon that forked twice, a
worker whose master died) is still among its descendants: nothing is missed, and nothing stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from benchmarks.peers.table import Sizes
from zygote.sys import prctl, procfs


def adopt() -> None:
    """Become the parent of orphans."""
    prctl.set_child_subreaper()


def descendants() -> list[int]:
    """All processes below this one that are alive; those that ended and are ours are reaped."""
    found: list[int] = []
    todo = list(procfs.read_children(os.getpid()) or ())
    for pid in todo:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    while todo:
        pid = todo.pop()
        stat = procfs.read_stat(pid)
        if stat is not None and not stat.is_zombie:
            found.append(pid)
        todo += procfs.read_children(pid) or ()
    return found


def measure(workers: set[int]) -> Sizes:
    """The whole tree, and each worker's private memory, in KiB."""
    figures = {pid: procfs.read_memory(pid) for pid in descendants()}
    rows = {pid: row for pid, row in figures.items() if row is not None}
    gone = workers - set(rows)
    if gone:
        raise SystemExit(f"peers.py: {len(gone)} workers ended by themselves")
    return Sizes(
        sum(row.pss_kib for row in rows.values()),
        sum(row.pagetables_kib for row in rows.values()),
        [rows[pid].uss_kib for pid in workers],
        len(rows),
    )


def wait_gone(seconds: float) -> bool:
    """Until no descendant is left; False if that takes longer."""
    deadline = time.monotonic() + seconds
    while descendants():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def end_all() -> None:
    """SIGKILL, over and over: a supervisor may start another one between two looks."""
    deadline = time.monotonic() + 20
    while (left := descendants()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
