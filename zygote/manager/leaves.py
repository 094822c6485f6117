"""cgroup leaves: one for the manager, one for each zygote, one for each worker.

    BASE                     ours (delegated): gives memory, pids, cpu to its children
    ├── manager              the manager moves itself here ("no internal processes")
    ├── zygote.floor.1       the floor's pages are charged here, so it has no memory_max
    └── worker.profiler      limits; its memory is what the worker itself touched: its private part

Where that cannot be had the fleet runs all the same, `why` says exactly what is missing, and
nobody pretends. A leaf is removed when its worker has ended; its counters are read before.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from zygote.errors import ZygoteError, describe_errno
from zygote.fleet.model import WorkerSpec
from zygote.manager.leaf import Leaf
from zygote.sys import cgroupfs
from zygote.sys.cgroupfs import Group

__all__ = ["Leaf", "Leaves"]

_WANTED = {
    "memory": "memory_max, memory_high",
    "pids": "tasks_max",
    "cpu": "cpu_max, cpu_weight",
}
"""Controller -> the keys of the fleet file that need it."""

_MANAGER = "manager"


class Leaves:
    """The base group and what is possible below it.

    Attributes:
        enforced: whether workers get leaves at all.
        why: what is missing, or "" where nothing is. Not empty with `enforced` true: some limits.
    """

    def __init__(self, base: Group | None, why: str) -> None:
        self._base = base
        self.enforced = base is not None
        self.why = why

    @classmethod
    def discover(cls, name: str) -> Leaves:
        """Find our cgroup, move the manager into a leaf of it, and turn the controllers on.

        Args:
            name: of the fleet; names the base where we start right at the root of the tree.
        """
        try:
            base = _find_base(name)
            missing = _prepare(base)
        except _Unavailable as reason:
            return cls(None, str(reason))
        except OSError as error:
            return cls(None, f"cgroup: {error.filename}: {describe_errno(error.errno or 0)}")
        return cls(base, missing)

    @property
    def moves_quickly(self) -> bool:
        """A process can be moved into a leaf in less time than it takes to clone it there."""
        if self._base is None:
            return True
        mount = cgroupfs.parse_mountinfo(Path("/proc/self/mountinfo").read_text())
        return mount is not None and mount.moves_quickly

    @property
    def summary(self) -> str:
        """One line for `status`: "enforced" or "not enforced: why"."""
        if not self.enforced:
            return f"not enforced: {self.why}"
        return f"enforced, but not {self.why}" if self.why else "enforced"

    def leaf(self, kind: str, name: str, spec: WorkerSpec | None = None) -> Leaf | None:
        """A fresh, empty leaf with its limits set; None where nothing is enforced.

        Args:
            kind: "worker", "zygote" or "run".
            spec: the limits; None for no limit.
        Raises:
            ZygoteError: code cgroup; it could not be made.
        """
        if self._base is None:
            return None
        try:
            path = self._make(f"{kind}.{name}")
        except OSError as error:
            raise ZygoteError(
                f"cannot make the cgroup of {kind} '{name}': {describe_errno(error.errno or 0)}",
                code="cgroup",
                step="cgroup",
                errno=error.errno or 0,
                hint="see cgroup.max.descendants and who owns " + str(self._base.path),
            ) from None
        return self._prepared(path, spec)

    def adopt(self, pid: int, kind: str, name: str, spec: WorkerSpec | None = None) -> Leaf | None:
        """The leaf that a running process sits in, if it is one of ours for that name.

        Args:
            spec: its limits are written again: where systemd before 254 restarted the manager,
                the unit had to give its controllers back for a moment (`zygote.install.ended`).
        """
        group = cgroupfs.group_of(pid)
        if group is None or not _is_name(group.path.name, f"{kind}.{name}"):
            return None
        return self._prepared(group.path, spec)

    def again(self, path: str, oom_before: int, spec: WorkerSpec | None = None) -> Leaf:
        """A leaf that this manager made before it was exec'd anew."""
        leaf = self._prepared(Path(path), spec)
        leaf.oom_before = oom_before
        return leaf

    def _prepared(self, path: Path, spec: WorkerSpec | None) -> Leaf:
        leaf = Leaf(path)
        group = Group(path)
        if group.has("memory.oom.group"):
            with suppress(OSError):
                group.write("memory.oom.group", "1")
        if spec is not None:
            leaf.limit(spec)
        return leaf

    def pressure_file(self) -> Path | None:
        """Where the kernel tells how much the fleet waits for memory; None: nowhere."""
        return self._base.path / "memory.pressure" if self._base else None

    def close(self) -> None:
        """Remove the leaves that are empty, when the manager ends. Others are not touched."""
        for group in self._base.children() if self._base else []:
            if group.path.name != _MANAGER and not group.pids():
                with suppress(OSError):
                    group.remove()

    def _make(self, stem: str) -> Path:
        """A folder of that name; with a number added while an old one has dying processes left."""
        assert self._base is not None
        for number in range(1, 1000):
            path = self._base.path / (stem if number == 1 else f"{stem}+{number}")
            try:
                Group(path).remove()
                path.mkdir(mode=0o755)
                return path
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
        raise OSError(errno.EBUSY, "all names in use", str(self._base.path / stem))


class _Unavailable(Exception):
    """Why there is nothing to enforce limits with; one line for people."""


def _find_base(name: str) -> Group:
    """The group that is ours to divide, without having changed anything yet."""
    path, in_v1 = cgroupfs.parse_membership(Path("/proc/self/cgroup").read_text())
    mount = cgroupfs.parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    if path is None or mount is None:
        raise _Unavailable("no cgroup v2 file system is mounted here")
    folder = cgroupfs.folder_of(mount, path)
    if folder is None:
        raise _Unavailable(f"our cgroup {path} is not under {mount.path}, which shows {mount.root}")
    own = Group(folder)
    if not own.controllers() & _WANTED.keys():
        held = [name for name in _WANTED if name in in_v1]
        if held:
            raise _Unavailable(
                f"{' and '.join(held)} belong to cgroup v1 on this machine (a hybrid hierarchy); "
                f"cgroup v2 at {mount.path} has no controllers"
            )
        raise _Unavailable(f"no controllers are given to {folder}")
    if mount.read_only:
        raise _Unavailable(f"{mount.path} is mounted read-only")
    if folder.name == _MANAGER and Group(folder.parent).is_writable():
        own = Group(folder.parent)  # DelegateSubgroup=manager, or we were here before
    if own.is_root():
        return _below_root(own, name)
    if not own.is_writable():
        raise _Unavailable(
            f"{own.path} is not ours to write to (uid {os.geteuid()}); "
            "start it as a service with Delegate=yes"
        )
    if Path("/run/systemd/system").is_dir() and not _is_delegated(own, mount.path):
        raise _Unavailable(
            f"{own.path} belongs to systemd and is not delegated; start it as a service with "
            "Delegate=yes, or by: systemd-run --scope -p Delegate=yes"
        )
    return own


def _below_root(root: Group, name: str) -> Group:
    """At the root of the tree (a container, a machine without systemd) we make a group of ours."""
    base = Group(root.path / f"zygote.{name}")
    if not root.is_writable():
        raise _Unavailable(f"{root.path} is not ours to write to (uid {os.geteuid()})")
    base.path.mkdir(exist_ok=True)
    for controller in sorted(root.controllers() & _WANTED.keys() - root.given()):
        root.give(controller)
    return base


def _is_delegated(group: Group, top: Path) -> bool:
    """It or a group above it was handed over by systemd."""
    while True:
        if group.is_delegated():
            return True
        if group.path in (top, group.path.parent):
            return False
        group = Group(group.path.parent)


def _prepare(base: Group) -> str:
    """Empty the base of processes and turn its controllers on; what is missing, for `why`."""
    home = Group(base.path / _MANAGER)
    present = base.pids()
    strangers = [pid for pid in present if pid != os.getpid()]
    if strangers and not base.is_delegated():
        pids = ", ".join(map(str, strangers[:5]))
        raise _Unavailable(
            f"other processes are in our cgroup {base.path} (pid {pids}), so that it cannot give "
            "controllers to workers; start the manager in a cgroup of its own"
        )
    home.path.mkdir(exist_ok=True)
    home.take_in(0)
    for pid in strangers:  # the whole unit is ours: a shell that started us, say
        with suppress(ProcessLookupError):
            home.take_in(pid)
    missing = []
    for controller, keys in _WANTED.items():
        try:
            base.give(controller)
        except OSError:
            missing.append(f"{keys} (controller {controller} is not available in {base.path})")
    if len(missing) == len(_WANTED):
        raise _Unavailable(f"no controller can be given to workers in {base.path}")
    return "; ".join(missing)


def _is_name(folder: str, stem: str) -> bool:
    """`worker.web` and `worker.web+2` are leaves of `worker.web`."""
    rest = folder.removeprefix(stem)
    return folder.startswith(stem) and (not rest or (rest[0] == "+" and rest[1:].isdigit()))
