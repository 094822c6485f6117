"""The ways to make a worker, best first, and which of them works here.

| path   | how                                       | cgroup              | pidfd |
|--------|-------------------------------------------|---------------------|-------|
| clone3 | clone3(2), CLONE_PARENT, CLONE_INTO_CGROUP | from the first page | yes   |
| clone  | clone(2), CLONE_PARENT                    | the child's own step | yes  |
| fork   | fork twice; the manager, as subreaper, inherits the orphan | the child's own step | no |

On all of them the worker is the child of the zygote's parent. Each path proves itself when the
zygote starts, on its still small heap: a probe child makes, by that very path, a child which
must be *ours*, know its own thread id and end with the status that it was told to.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zygote.errors import ZygoteError, describe_errno
from zygote.sys import clone3 as clones
from zygote.sys import parking, prctl

NAMES = ("auto", "clone3", "clone", "fork")
_PROBE_STATUS = 77
_NOBODYS_FD = 2**31 - 1

Spawn = Callable[[int], tuple[int, int]]
"""Given a cgroup folder's fd or -1: (pid, pidfd) in the zygote, (0, -1) in the child."""

Park = Callable[[Sequence[int], int], clones.Batch]
"""Given a socket for each: makes as many clones, which wait on theirs under the second number."""


@dataclass(frozen=True, slots=True)
class Path:
    """The way that this zygote makes workers.

    Attributes:
        name: "clone3", "clone" or "fork".
        reason: why not a better one; "" for clone3.
        spawn: returns in both processes; raises OSError if no process was made.
        park: returns in the zygote at once, and in each clone when its socket has something.
    """

    name: str
    reason: str
    spawn: Spawn
    park: Park


def choose(wanted: str = "auto") -> Path:
    """The best path that works here, or the wanted one if it does.

    Raises:
        ZygoteError: the wanted path does not work here (code "spawn-path").
    """
    if wanted != "auto":
        why = _why_not(wanted)
        if why:
            raise ZygoteError(
                f"cannot make processes by {wanted}: {why}",
                code="spawn-path",
                step="spawn-path",
                hint="leave out --spawn-path, and the best way that works here is taken",
            )
        return _path(wanted, "" if wanted == "clone3" else "asked for")
    reasons: list[str] = []
    for name in ("clone3", "clone"):
        why = _why_not(name)
        if not why:
            return _path(name, "; ".join(reasons))
        reasons.append(f"{name}: {why}")
    if why := _why_not("fork"):  # still usable: workers then belong to whoever inherits orphans
        reasons.append(f"fork: {why}")
    return _path("fork", "; ".join(reasons))


def _path(name: str, reason: str) -> Path:
    return Path(name, reason, _SPAWNS[name], _PARKS[name])


def _by_clone3(cgroup: int) -> tuple[int, int]:
    return clones.clone3(cgroup=cgroup)


def _by_clone(_cgroup: int) -> tuple[int, int]:
    return clones.clone()


def _by_fork(_cgroup: int) -> tuple[int, int]:
    """Fork twice: the one between ends at once, and the worker goes to the nearest subreaper.

    The worker waits until the one between has been reaped: only then has it its new parent.
    """
    pid_reader, pid_writer = os.pipe()
    go_reader, go_writer = os.pipe()
    opened = {pid_reader, pid_writer, go_reader, go_writer}
    try:
        between = os.fork()
        if between == 0:
            try:
                worker = os.fork()
            except OSError as error:
                worker = -(error.errno or errno.EAGAIN)
            if worker:
                os.write(pid_writer, worker.to_bytes(4, "little", signed=True))
                os._exit(0)
            os.close(go_writer)
            opened.remove(go_writer)
            os.read(go_reader, 1)  # one byte, or the end: the zygote was killed just now
            return 0, -1
        os.close(pid_writer)
        opened.remove(pid_writer)
        answer = os.read(pid_reader, 4)
        os.waitpid(between, 0)
        number = int.from_bytes(answer, "little", signed=True)
        if number <= 0:  # no answer at all: the one between was killed
            fault = -number or errno.ECHILD
            raise OSError(fault, os.strerror(fault))
        os.write(go_writer, b"!")
        return number, -1
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _park_by_clone3(sockets: Sequence[int], place: int) -> clones.Batch:
    return _park(clones.clone3_call(), sockets, place)


def _park_by_clone(sockets: Sequence[int], place: int) -> clones.Batch:
    return _park(clones.clone_call(), sockets, place)


def _park(call: clones.Call, sockets: Sequence[int], place: int) -> clones.Batch:
    """They wait before they run Python's fork hooks: see `zygote.sys.parking`."""
    return clones.make(call, len(sockets), lambda mine: parking.wait(sockets[mine], place))


def _park_by_fork(sockets: Sequence[int], place: int) -> clones.Batch:
    made: list[tuple[int, int]] = []
    for mine, own in enumerate(sockets):
        try:
            pid, pidfd = _by_fork(-1)
        except OSError as error:
            return clones.Batch(made, error.errno or errno.EAGAIN, -1)
        if pid == 0:
            parking.wait(own, place)
            return clones.Batch([], 0, mine)
        made.append((pid, pidfd))
    return clones.Batch(made, 0, -1)


_SPAWNS: dict[str, Spawn] = {"clone3": _by_clone3, "clone": _by_clone, "fork": _by_fork}
_PARKS: dict[str, Park] = {
    "clone3": _park_by_clone3, "clone": _park_by_clone, "fork": _park_by_fork,
}  # fmt: skip


def _why_not(name: str) -> str:
    """Try a path for real: "" if it works, else what is wrong.

    A probe makes the tested child, which so becomes ours and not the manager's. For the fork
    path we are a subreaper meanwhile, and whether the manager is one is asked afterwards.
    """
    if name == "clone3" and (why := _why_no_cgroup()):
        return why
    if name == "fork":
        return _why_not_fork()
    return _probe(_SPAWNS[name])


def _probe(spawn: Spawn) -> str:
    reader, writer = os.pipe()
    us = os.getpid()
    try:
        probe = os.fork()
        if probe == 0:
            _probe_child(spawn, us, writer)
        os.close(writer)
        writer = -1
        answer = os.read(reader, 8)
        _, status = os.waitpid(probe, 0)
        if status or len(answer) != 8:
            return f"the probe ended with wait status {status}"
        fault = int.from_bytes(answer[:4], "little")
        if fault:
            return describe_errno(fault)
        try:
            _, status = os.waitpid(int.from_bytes(answer[4:], "little"), 0)
        except ChildProcessError:
            return "the new process is not our parent's child"
        if os.waitstatus_to_exitcode(status) != _PROBE_STATUS:
            return f"a process made so does not work (wait status {status})"
        return ""
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _probe_child(spawn: Spawn, grandparent: int, writer: int) -> None:
    """In the probe: make the tested process, tell what came of it, end. Never returns."""
    fault = pid = 0
    try:
        try:
            pid, _ = spawn(-1)
        except OSError as error:
            fault = error.errno or errno.EINVAL
        if not fault and pid == 0:
            signal.raise_signal(signal.SIGURG)  # ESRCH if libc believes in another thread id
            sound = threading.get_native_id() == os.getpid() and os.getppid() == grandparent
            os._exit(_PROBE_STATUS if sound else 1)
        os.write(writer, fault.to_bytes(4, "little") + pid.to_bytes(4, "little"))
        os._exit(0)
    finally:
        os._exit(1)


def _why_not_fork() -> str:
    was = prctl.is_child_subreaper()
    prctl.set_child_subreaper(True)
    try:
        why = _probe(_by_fork)
    finally:
        prctl.set_child_subreaper(was)
    return why or _why_not_inherited()


def _why_not_inherited() -> str:
    """Whether an orphan of ours goes to our own parent."""
    reader, writer = os.pipe()
    try:
        parent = os.getppid()
        pid, _ = _by_fork(-1)
        if pid == 0:
            os.write(writer, os.getppid().to_bytes(4, "little"))
            os._exit(0)
        os.close(writer)
        writer = -1
        heir = int.from_bytes(os.read(reader, 4), "little")
        if heir != parent:
            return f"the manager ({parent}) is no subreaper: orphans go to process {heir}"
        return ""
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _why_no_cgroup() -> str:
    """Whether clone3 knows CLONE_INTO_CGROUP: then it looks at the descriptor, and refuses it."""
    try:
        pid, pidfd = clones.clone3(parent=False, cgroup=_NOBODYS_FD)
    except OSError as error:
        if error.errno == errno.EBADF:
            return ""
        if error.errno in (errno.E2BIG, errno.EINVAL):
            return "no CLONE_INTO_CGROUP (kernel before 5.7)"
        return describe_errno(error.errno or 0)
    if pid == 0:  # a kernel without cgroups ignores it
        os._exit(0)
    os.close(pidfd)
    os.waitpid(pid, 0)
    return ""


def clone_hint(number: int) -> str:
    """What to do when no process could be made, by errno."""
    if number == errno.EAGAIN:
        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
        return (
            f"a limit on processes was hit: tasks_max of the worker or of a cgroup above, "
            f"or RLIMIT_NPROC of the user ({limit}); raise it, or stop something"
        )
    return _HINTS.get(number, "")


_HINTS = {
    errno.ENOMEM: "the kernel has no memory for one more process: free some, or lower memory use",
    errno.EBUSY: "the leaf has controllers enabled for children (cgroup.subtree_control): "
    "a worker's leaf must have none",
    errno.EACCES: "the cgroup leaf is not delegated to the zygote's user: Delegate=yes in the unit",
    errno.ENODEV: "the cgroup leaf was removed meanwhile; start the worker again",
    errno.EBADF: "the first fd is no folder of a cgroup v2 hierarchy",
    errno.EOPNOTSUPP: "the cgroup leaf is a threaded one (cgroup.type)",
    errno.EPERM: "a seccomp filter set after the bake refuses it: bake the zygote again",
    errno.ENOSYS: "a seccomp filter set after the bake refuses it: bake the zygote again",
}
