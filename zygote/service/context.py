"""What systemd made of a process before it exec'd it, as the kernel tells it: all from /proc.

The caller says nothing of this itself, so it can ask for no more than it has. Read by the
doorkeeper while the caller waits; taken over by the clone (`zygote.child.unit`).
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path
from typing import Any

from zygote.errors import ZygoteError
from zygote.service import filters
from zygote.sys.cgroupfs import group_of

_NAMESPACES = {
    "mnt": 0x00020000, "net": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000,
    "cgroup": 0x02000000,
}  # fmt: skip
"""Name in /proc/PID/ns -> flag of setns(2)."""
_CAP_SETS = ("Inh", "Prm", "Eff", "Bnd", "Amb")
_FIXED = {
    "pid": "PrivatePIDs= (a pid namespace of its own)",
    "time": "a time namespace of its own",
    "user": "PrivateUsers= (a user namespace of its own)",
}
"""Those that cannot be entered, and the setting. Of the first two only children would be in them;
in a user namespace a process has no rights any more to take the limits of the unit."""
_OURS = Path("/proc/self/ns")
_SYS_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}.get(os.uname().machine, -1)
_libc = ctypes.CDLL(None, use_errno=True)


def read(pid: int) -> dict[str, Any]:
    """Everything, as JSON for the clone.

    Raises:
        ZygoteError: code unit-setting: something that the clone cannot take over.
        OSError: it is gone.
    """
    proc = Path(f"/proc/{pid}")
    status = _status(proc)
    _refuse_what_would_be_lost(proc, pid)
    policy = os.sched_getscheduler(pid)
    return {
        "namespaces": _namespaces(proc),
        "uid": _ids(status["Uid"]),
        "gid": _ids(status["Gid"]),
        "groups": [int(each) for each in status["Groups"].split()],
        "caps": {name: int(status[f"Cap{name}"], 16) for name in _CAP_SETS},
        "no_new_privs": status["NoNewPrivs"] == "1",
        "filters": [each.hex() for each in filters.read(pid, int(status.get("Seccomp", "0")))],
        "umask": int(status["Umask"], 8),
        "cwd": str((proc / "cwd").readlink()),
        "rlimits": _rlimits(pid),
        "oom_score_adj": int((proc / "oom_score_adj").read_text()),
        "nice": os.getpriority(os.PRIO_PROCESS, pid),
        "affinity": sorted(os.sched_getaffinity(pid)),
        "policy": policy,
        "priority": os.sched_getparam(pid).sched_priority,
        "ioprio": _libc.syscall(_SYS_IOPRIO_GET, 1, pid) if _SYS_IOPRIO_GET >= 0 else 0,
        "personality": int((proc / "personality").read_text(), 16),
        "timerslack": _number(proc / "timerslack_ns"),
        "coredump_filter": (proc / "coredump_filter").read_text().strip(),
    }  # fmt: skip


def cgroup_of(pid: int) -> Path:
    """The folder of its group.

    Raises:
        ZygoteError: code cgroup: it is gone, or there is no cgroup v2.
    """
    group = group_of(pid)
    if group is None:
        raise ZygoteError(f"process {pid} is in no cgroup v2", code="cgroup")
    return group.path


def _refuse_what_would_be_lost(proc: Path, pid: int) -> None:
    """Settings that a running process cannot get: better no start than one without them."""
    for name, what in _FIXED.items():
        ours = _OURS / name
        if ours.is_symlink() and (proc / "ns" / name).readlink() != ours.readlink():
            raise _lost(what)
    label = _text(proc / "attr" / "current").rstrip("\0\n")
    if label != _text(Path("/proc/self/attr/current")).rstrip("\0\n"):
        raise _lost(f"AppArmorProfile= or SELinuxContext= ({label or 'none'})")
    stat = (proc / "stat").read_text()
    if int(stat[stat.rindex(")") + 2 :].split()[4]):
        raise _lost("a terminal (StandardInput=tty, TTYPath=)")
    numa = _text(proc / "numa_maps").partition("\n")[0].split()
    if len(numa) > 1 and numa[1] != "default":
        raise _lost(f"NUMAPolicy= ({numa[1]})")
    for other in _text(cgroup_of(pid) / "cgroup.procs").split():
        if _text(Path(f"/proc/{other}/comm")).strip() == "(sd-pam)":
            raise _lost("PAMName= (its session)")


def _lost(what: str) -> ZygoteError:
    return ZygoteError(
        f"the unit sets {what}, which a worker cloned from a zygote cannot take over",
        code="unit-setting",
        step="unit",
        hint="leave it out of the unit, or start this worker as a plain process: "
        "docs/systemd.md has the table",
    )


def _namespaces(proc: Path) -> int:
    """Those that differ from ours, as flags."""
    flags = 0
    for name, flag in _NAMESPACES.items():
        ours = _OURS / name
        if ours.is_symlink() and (proc / "ns" / name).readlink() != ours.readlink():
            flags |= flag
    return flags


def _status(proc: Path) -> dict[str, str]:
    lines = (proc / "status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _ids(text: str) -> list[int]:
    """Real, effective, saved."""
    return [int(each) for each in text.split()[:3]]


def _rlimits(pid: int) -> dict[str, list[int]]:
    found = {}
    for name in dir(resource):
        if name.startswith("RLIMIT_"):
            found[name[7:].lower()] = list(resource.prlimit(pid, getattr(resource, name)))
    found.pop("ofile", None)  # another name of nofile
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None
