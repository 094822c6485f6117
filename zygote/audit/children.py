"""Rule `child-process`: the floor has no processes of its own.

Workers do not inherit children: what the floor started nobody would stop, wait for or talk to,
and its pipes are descriptors of the floor. One that has ended and was not waited for counts, too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from zygote.audit import known
from zygote.audit.report import Finding


def look(makers: Mapping[int, str], places: Mapping[tuple[str, int], str]) -> list[Finding]:
    """One finding a child.

    Args:
        makers: pid -> module.
        places: ("child", pid) -> line.
    """
    if not has_children():
        return []
    # Without CONFIG_PROC_CHILDREN the kernel tells that there are some, and not which.
    found = {pid: f"process '{_comm(pid)}' (pid {pid})" for pid in child_pids()}
    return [
        Finding(
            "child-process",
            what,
            remedy=known.remedy(makers.get(pid, "")),
            module=makers.get(pid, ""),
            place=places.get(("child", pid), ""),
        )
        for pid, what in sorted((found or {0: "a process of its own"}).items())
    ]


def has_children() -> bool:
    """Whether there are any, dead ones that were not waited for among them; one system call."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def child_pids() -> list[int]:
    """Children that the main thread made, dead ones that were not waited for among them."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as children:
            return [int(pid) for pid in children.read().split()]
    except OSError:
        return []


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
