"""Limits and privileges of this process, in the order that needs the privileges last given up."""

from __future__ import annotations

import os
import resource
from typing import Any

from zygote.child.request import Request
from zygote.sys import caps, prctl


def set_rlimits(request: Request) -> None:
    """Each by name without RLIMIT_, in lower case; -1 is infinity.

    Raises:
        OSError: EPERM, above the hard limit and not privileged.
        ValueError: no such limit, or the soft one is above the hard one.
    """
    for name, (soft, hard) in request.rlimits.items():
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            raise ValueError(f"no limit named {name!r}")
        # prlimit and not setrlimit, which hides the errno.
        with _detail(name):
            resource.prlimit(0, number, (soft, hard))


def set_nice(request: Request) -> None:
    """The nice value itself, not a difference.

    Raises:
        OSError: EACCES, below RLIMIT_NICE and not privileged.
    """
    if request.nice is not None:
        with _detail(str(request.nice)):
            os.setpriority(os.PRIO_PROCESS, 0, request.nice)


def set_oom_score_adj(request: Request) -> None:
    """How gladly the kernel kills this process: -1000 never, 1000 first.

    Raises:
        OSError: EACCES, lower than it was and not privileged; EINVAL, out of range.
    """
    if request.oom_score_adj is not None:
        with _detail(str(request.oom_score_adj)):
            _write("/proc/self/oom_score_adj", request.oom_score_adj)


def set_affinity(request: Request) -> None:
    """The CPUs that this process may run on.

    Raises:
        OSError: EINVAL, none of them exists here or is allowed by the cgroup.
    """
    if request.affinity is not None:
        with _detail(f"CPUs {', '.join(map(str, request.affinity))}"):
            os.sched_setaffinity(0, request.affinity)


def set_groups(request: Request) -> None:
    """Supplementary groups. Nothing is asked of the kernel where they are right already.

    Raises:
        OSError: EPERM, not privileged.
    """
    groups = request.groups
    if groups is not None and set(groups) != set(os.getgroups()):
        with _detail(f"groups {', '.join(map(str, groups)) or '(none)'}"):
            os.setgroups(groups)


def set_gid(request: Request) -> None:
    """Real, effective and saved gid.

    Raises:
        OSError: EPERM, not privileged.
    """
    gid = request.gid
    if gid is not None:
        with _detail(f"gid {gid}"):
            os.setresgid(gid, gid, gid)


def set_uid(request: Request) -> None:
    """Real, effective and saved uid; capabilities that are to be kept survive it.

    The process stays dumpable, as any that was started by its own user: it may read its /proc/self.

    Raises:
        OSError: EPERM, not privileged; EAGAIN, RLIMIT_NPROC of that user.
    """
    uid = request.uid
    if uid is None:
        return
    with _detail(f"uid {uid}"):
        if request.capabilities:
            caps.keep_over_setuid()
        before = os.getresuid()
        os.setresuid(uid, uid, uid)
        if before != (uid, uid, uid):
            caps.set_dumpable()


def set_capabilities(request: Request) -> None:
    """Keep these and give up every other.

    Raises:
        OSError: EPERM, we have not all of them.
    """
    if request.capabilities is not None:
        if request.walls and request.walls["report"]:
            _leave_out_missing(request)
        names = (caps.NAMES[number] for number in request.capabilities)
        with _detail(", ".join(names) or "none"):
            caps.confine(request.capabilities)


def _leave_out_missing(request: Request) -> None:
    assert request.walls and request.capabilities is not None
    permitted = caps.read().permitted
    for number in request.capabilities:
        if not permitted >> number & 1:
            request.walls["gaps"].append(f"capabilities: {caps.NAMES[number]} is not ours to give")
    request.capabilities = [n for n in request.capabilities if permitted >> n & 1]


def set_no_new_privs(request: Request) -> None:
    """Let no exec raise privileges any more."""
    if request.no_new_privs:
        prctl.set_no_new_privs()


def join_cgroup(request: Request) -> None:
    """Move to the leaf, where the clone could not start in it.

    Raises:
        OSError: EBUSY, EACCES, ENODEV: see `zygote.sys.cgroupfs`.
    """
    if request.procs >= 0:
        os.write(request.procs, b"0")  # ourselves


def _write(path: str, number: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"%d" % number)
    finally:
        os.close(descriptor)


class _detail:
    """Say with what an OSError was met; a wrong value becomes one with what is wrong."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if isinstance(error, OSError):
            error.filename = self._what
        elif isinstance(error, (ValueError, OverflowError)):
            raise ValueError(f"{self._what}: {error}") from None
