"""Take the place of a process that systemd made for a unit: its namespaces, limits and rights.

What it has was read from the kernel (`zygote.service.context`); the pidfd of it came along. Three
steps of `zygote.child.steps` are here, and do nothing for a worker of a manager.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import Any

from zygote.child.request import Request
from zygote.sys import caps, prctl, seccomp

_SYS_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}.get(os.uname().machine, -1)
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}.get(os.uname().machine, -1)
_JOIN_SESSION_KEYRING = 1
_PR_SET_TIMERSLACK = 29
_CAP_SETPCAP, _CAP_SYS_ADMIN = 8, 21

_libc = ctypes.CDLL(None, use_errno=True)


def enter_namespaces(request: Request) -> None:
    """Go where the process is: setns(2) by its pidfd (5.8), all at once, and its root folder.

    Raises:
        OSError: EPERM, the zygote is not root; EINVAL, more than one thread.
    """
    unit = request.unit
    if unit is None:
        return
    pidfd = request.pidfd
    root = os.open(f"/proc/{_pid_of(pidfd)}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    flags = int(unit["namespaces"])
    if flags and _libc.setns(pidfd, flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if not os.path.samestat(os.fstat(root), os.stat("/")):  # noqa: PTH116 - as in a worker's set-up
        os.fchdir(root)
        os.chroot(".")
    os.close(root)
    request.pidfd = -1  # closed with all others


def take_limits(request: Request) -> None:
    """Rlimits, scheduling, and what else takes privileges to set.

    Raises:
        OSError: EPERM, the zygote has fewer rights than the unit.
    """
    unit = request.unit
    if unit is None:
        return
    for name, pair in unit["rlimits"].items():
        number = getattr(resource, f"RLIMIT_{name.upper()}")
        if list(resource.getrlimit(number)) != pair:
            resource.prlimit(0, number, tuple(pair))
    os.sched_setscheduler(0, unit["policy"], os.sched_param(unit["priority"]))
    if unit["policy"] in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE):
        os.setpriority(os.PRIO_PROCESS, 0, unit["nice"])
    os.sched_setaffinity(0, unit["affinity"])
    if unit["ioprio"] > 0:
        _check(_libc.syscall(_SYS_IOPRIO_SET, 1, 0, unit["ioprio"]))
    _write("/proc/self/oom_score_adj", str(unit["oom_score_adj"]))
    _write("/proc/self/coredump_filter", f"0x{unit['coredump_filter']}")
    if unit["timerslack"]:
        _check(_libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(unit["timerslack"]), 0, 0, 0))
    if unit["personality"]:
        _libc.personality(ctypes.c_ulong(unit["personality"]))
    if _SYS_KEYCTL >= 0:  # KeyringMode=private: not the zygote's
        _libc.syscall(_SYS_KEYCTL, _JOIN_SESSION_KEYRING, None)


def take_rights(request: Request) -> None:
    """Groups, user, the five capability sets, no_new_privs and filters, as the process has them.

    Raises:
        OSError: EPERM, the zygote has fewer rights than the unit.
    """
    unit = request.unit
    if unit is None:
        return
    wanted = unit["caps"]
    if set(unit["groups"]) != set(os.getgroups()):
        os.setgroups(unit["groups"])
    os.setresgid(*unit["gid"])
    for number in caps.bounding():
        if not wanted["Bnd"] >> number & 1:
            caps.drop_bounding(number)
    caps.keep_over_setuid()
    if os.getresuid() != tuple(unit["uid"]):
        os.setresuid(*unit["uid"])
        caps.set_dumpable()
    if unit["no_new_privs"]:
        prctl.set_no_new_privs()
    _confine(wanted, unit)


def _confine(wanted: dict[str, int], unit: dict[str, Any]) -> None:
    """Capabilities and filters. A filter needs no_new_privs or CAP_SYS_ADMIN when it is loaded."""
    filters = [bytes.fromhex(each) for each in unit["filters"]]
    permitted = caps.read().permitted
    # The change of user took all out of the effective set.
    caps.write(caps.Sets(permitted, permitted, wanted["Inh"] & permitted))
    if filters and not unit["no_new_privs"]:
        most = permitted & (wanted["Prm"] | 1 << _CAP_SYS_ADMIN)
        caps.write(caps.Sets(most, most, wanted["Inh"] & permitted))
        for program in filters:
            seccomp.load(program)
        filters = []
    prctl.set_securebits(unit["securebits"])
    caps.write(caps.Sets(wanted["Eff"], wanted["Prm"], wanted["Inh"]))
    caps.set_ambient(wanted["Amb"])
    for program in filters:
        seccomp.load(program)


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}") as info:
        for line in info:
            if line.startswith("Pid:"):
                return int(line[4:])
    raise ProcessLookupError(3, "the process in the unit is gone")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
