"""What a worker may ask of the manager: its own uid may ask for everything, it perhaps not.

A worker that was broken into could otherwise have the manager start a program of its choice, with
no wall around it. So the caller's process is looked up: it is a worker's if it is the worker, or in
its session or its cgroup, or if the way up its parents leads to one. One that made itself an orphan
leads to the manager, which is the subreaper: it may nothing, as may one that is gone already.

A worker may be quicker than the zygote's word that there is one. Then it is known by the record
that it wrote itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import WorkerSpec
from zygote.manager.children import Children
from zygote.manager.peers import READ, Peer
from zygote.sys import procfs

_MOST_PARENTS = 64
NOBODYS = ("none", "")
"""The limit of a process that cannot be told to be somebody's."""


class Insiders:
    """Tells callers that belong to the fleet from those that do not.

    Args:
        specs: of all workers, as they run.
        starting: names of those that are being started.
        recorded: a worker's pid, as it has written it.
    """

    def __init__(
        self,
        children: Children,
        specs: Callable[[], Iterable[WorkerSpec]],
        starting: Callable[[], Iterable[str]],
        recorded: Callable[[str], int],
    ) -> None:
        self._children = children
        self._specs = specs
        self._starting = starting
        self._recorded = recorded

    def limit(self, peer: Peer) -> tuple[str, str]:
        """What the process behind a connection may ask for, and the worker whose it is.

        Returns:
            "all", "read" or "none"; the name is "" where it is no worker's, or nobody knows whose.
        """
        kept_out = {spec.name: spec.control for spec in self._specs() if spec.control != "all"}
        if not kept_out or not peer.pid:  # 0: from beyond our pid namespace
            return "all", ""
        pid = peer.pid
        for _ in range(_MOST_PARENTS):
            if child := self._children.owner(pid):
                own = kept_out.get(child.name, "all") if child.kind == "worker" else "all"
                return own, child.name
            stat = procfs.read_stat(pid)
            if stat is None:
                return NOBODYS
            if stat.ppid == os.getpid():
                name = next((n for n in self._starting() if self._recorded(n) == pid), "")
                return (kept_out.get(name, "all"), name) if name else NOBODYS
            if stat.ppid <= 1:
                return "all", ""
            pid = stat.ppid
        return NOBODYS


def check(limit: tuple[str, str], method: str) -> None:
    """Pass if a caller with this limit may call a method.

    Raises:
        ZygoteError: code not-allowed.
    """
    access, name = limit
    if access == "all" or (access == "read" and method in READ):
        return
    who = f"worker '{name}'" if name else "a process that a worker left behind"
    raise ZygoteError(
        f"{who} may not call {method}",
        code="not-allowed",
        hint=f'control = "{access}" in its table of the fleet file',
        exit_code=Exit.NOT_ALLOWED,
    )
