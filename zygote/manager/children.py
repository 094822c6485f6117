"""The live processes that the manager answers for, found by pid, and how all of one is killed.

A worker is more than its main process: whatever it started belongs to it. With a cgroup that is
exact (cgroup.kill). Without one it is the process group and the session of the main process; the
main process is not reaped before the rest is killed, so that its number cannot be given to a
stranger meanwhile. A daemon that made a session of its own is beyond reach without a cgroup.

A session's members are found by reading the whole of /proc, which costs what the machine's
processes are many. So they are looked for once for all workers that die, or are killed, together:
a thousand at once would otherwise cost a million reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zygote.manager.leaves import Leaf
from zygote.manager.policy import End
from zygote.manager.start import Program, start_program
from zygote.sys import cgroupfs
from zygote.sys import pidfd as pidfds


@dataclass(eq=False, slots=True)
class Child:
    """One main process: a worker, a zygote, a program of `zygotectl run`, or the checker.

    Attributes:
        pidfd: owned; closed when the process has been reaped.
        kind: "worker", "zygote", "blank", "run" or "checker".
        session: it leads a session; else only a process group.
        ours: our own child, which we reap; False for a worker that was adopted.
        ended: resolved once it is gone; with a worker, the rest of it has been killed by then.
        oom_kills: the leaf's count when the process started.
    """

    pid: int
    pidfd: int
    kind: str
    name: str
    ended: asyncio.Future[End]
    leaf: Leaf | None = None
    session: bool = True
    ours: bool = True
    oom_kills: int = 0


class Children:
    """All main processes, by pid."""

    def __init__(self) -> None:
        self._by_pid: dict[int, Child] = {}
        self._by_leaf: dict[Path, Child] = {}
        self._sought: dict[int, Child] = {}
        self._watch: Callable[[Child], None] = lambda child: None

    def on_add(self, watch: Callable[[Child], None]) -> None:
        """The reaper says what it does with each new child."""
        self._watch = watch

    def add(self, child: Child) -> Child:
        """File a process and have it watched.

        Raises:
            OSError: it cannot be watched; it is not filed, and its pidfd is still the caller's.
        """
        self._watch(child)
        self._by_pid[child.pid] = child
        if child.leaf:
            self._by_leaf[child.leaf.path] = child
            child.oom_kills = child.leaf.oom_kills()
        return child

    def start(self, program: Program, kind: str, name: str, leaf: Leaf | None = None) -> Child:
        """Start a program and file it.

        Raises:
            OSError: it cannot be started, or not be watched: then nothing of it is left.
        """
        pid = start_program(program)
        try:
            pidfd = pidfds.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # ours, and not reaped: the number is still its own
            raise
        ended = asyncio.get_running_loop().create_future()
        return self.add(Child(pid, pidfd, kind, name, ended, leaf, session=program.session))

    def hand_over(
        self, child: Child, kind: str, name: str, leaf: Leaf | None, *, session: bool
    ) -> None:
        """A blank becomes something; it will move to the leaf by itself."""
        child.kind, child.name, child.leaf, child.session = kind, name, leaf, session
        if leaf:
            self._by_leaf[leaf.path] = child
            child.oom_kills = leaf.oom_kills()

    def remove(self, child: Child) -> None:
        """Forget a process that has been reaped, and close its pidfd."""
        if self._by_pid.get(child.pid) is child:
            del self._by_pid[child.pid]
        if child.leaf and self._by_leaf.get(child.leaf.path) is child:
            del self._by_leaf[child.leaf.path]
        os.close(child.pidfd)

    def get(self, pid: int) -> Child | None:
        """The child whose main process is `pid`."""
        return self._by_pid.get(pid)

    def owner(self, pid: int) -> Child | None:
        """The child that process `pid` belongs to: itself, by its session, or by its cgroup."""
        if child := self._by_pid.get(pid):
            return child
        try:
            leader = os.getsid(pid)
        except ProcessLookupError:
            return None
        if leader and (child := self._by_pid.get(leader)):
            return child
        if not self._by_leaf:
            return None
        # Asked of the process and not of each leaf: anybody may send us a message.
        group = cgroupfs.group_of(pid)
        return self._by_leaf.get(group.path) if group else None

    def of_kind(self, kind: str) -> list[Child]:
        """All children of a kind, oldest first."""
        return [child for child in self._by_pid.values() if child.kind == kind]

    def signal(self, child: Child, number: int) -> bool:
        """Send a signal to the main process; False if it is gone already.

        Raises:
            PermissionError: it changed its user, and the manager is not root.
        """
        if child.ended.done():
            return False
        try:
            pidfds.send_signal(child.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self, child: Child) -> None:
        """SIGKILL for all that belongs to it.

        Processes of its session, but not of its group, get it in the loop's next turn.
        """
        if child.leaf:
            child.leaf.kill()
            return
        if child.ended.done():
            return  # it was reaped: its number may be another's by now
        if not child.ours:
            # Somebody else reaps it, and we hear of it later: by its pidfd we reach it or nobody.
            with contextlib.suppress(PermissionError):
                if not self.signal(child, signal.SIGKILL):
                    return
        _kill_group(child.pid)
        if child.session:
            if not self._sought:
                asyncio.get_running_loop().call_soon(self._kill_sought)
            self._sought[child.pid] = child

    def kill_rest(self, dead: Sequence[Child]) -> None:
        """SIGKILL for what main processes that have ended, but were not reaped, left behind.

        The common case, nothing left, costs one signal each and one short file for all: we are
        the subreaper, so the first in line of what one left is our own child by now.
        """
        leaders = set()
        for child in dead:
            if child.leaf:
                child.leaf.kill()
                continue
            _kill_group(child.pid)
            if child.session:
                leaders.add(child.pid)
        if leaders and (any(not child.ours for child in dead) or self._orphans_in(leaders)):
            _kill_sessions(leaders)

    def _kill_sought(self) -> None:
        """Of those that were told to be killed and have not been reaped since: the sessions."""
        sought, self._sought = self._sought, {}
        leaders = {pid for pid, child in sought.items() if self._by_pid.get(pid) is child}
        if leaders:
            _kill_sessions(leaders)

    def _orphans_in(self, sessions: set[int]) -> bool:
        me = os.getpid()
        try:
            with open(f"/proc/{me}/task/{me}/children", "rb") as file:
                pids = map(int, file.read().split())
        except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
            return True
        stats = (try_stat(pid) for pid in pids if pid not in self._by_pid)
        return any(stat is not None and stat.session in sessions for stat in stats)


@dataclass(frozen=True, slots=True)
class Stat:
    """What we need of /proc/PID/stat. `starttime` is in clock ticks since boot."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    starttime: int


def try_stat(pid: int) -> Stat | None:
    """Read /proc/PID/stat; None if there is no such process. See proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    parts = text[text.rindex(b")") + 2 :].split(None, 20)
    return Stat(pid, parts[0].decode(), int(parts[1]), int(parts[2]), int(parts[3]), int(parts[19]))


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nobody left, or only processes that became another user's


def _kill_sessions(leaders: set[int]) -> None:
    """Kill every process of these sessions. Twice round: one may have forked while we looked."""
    for _ in range(2):
        members = [
            stat
            for entry in os.scandir("/proc")
            if entry.name.isdecimal()
            and (stat := try_stat(int(entry.name)))
            and stat.session in leaders
            and stat.state not in "ZX"
        ]
        if not members:
            return
        for member in members:
            _kill_exactly(member)


def _kill_exactly(stat: Stat) -> None:
    """Kill the process that `stat` was read of, and no younger one with its number."""
    try:
        descriptor = pidfds.pidfd_open(stat.pid)
    except OSError:
        return
    try:
        now = try_stat(stat.pid)
        if now and now.starttime == stat.starttime:
            pidfds.send_signal(descriptor, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(descriptor)
