"""cgroup v2 as files: where we are, what is delegated to us, one folder a group.

Facts about cgroup v2 (cgroups(7), the kernel's Documentation/admin-guide/cgroup-v2.rst):

- /proc/self/cgroup has one line "0::/PATH" for v2, and "N:controller:/PATH" for each v1 hierarchy.
  A controller belongs to one of them: on a "hybrid" machine v2 is mounted, but has none to give.
- The path is relative to the root of our cgroup namespace; where that is mounted, and which part
  of it, /proc/self/mountinfo says ("cgroup2", its 4th field is the mounted part).
- A group gives controllers to its children by "+name" in cgroup.subtree_control, and only while it
  holds no process itself (EBUSY; the "no internal processes" rule; the real root is exempt). A
  process cannot be moved into a group that gives controllers (EBUSY too).
- cgroup.kill (5.14) sends SIGKILL to the whole subtree, however it forks meanwhile. Writing "0" to
  cgroup.procs moves the writer. rmdir answers EBUSY while a process, even one that is just dying,
  or a child group is left.
- Memory stays charged to the group that first touched it. memory.oom.group=1 lets the OOM killer
  take the whole group; memory.events counts `oom_kill` for each process killed, and from 5.17
  `oom_group_kill`. Counters live as long as the folder.
- systemd owns the tree that it mounts. What it hands to a unit (Delegate=yes) it marks with the
  extended attribute user.delegate=1 or trusted.delegate=1 (the latter only readable by root).
"""

from __future__ import annotations

import errno
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path

KILL_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Mount:
    """Where cgroup v2 is mounted.

    Attributes:
        path: the mount point.
        root: which part of the hierarchy is mounted there, "/" as a rule.
        read_only: the mount or its file system is.
        moves_quickly: it was mounted with favordynmods (6.0). Without, a process that is moved to
            another group waits for all CPUs to come round: 14 ms were measured, and 0.07 at best.
    """

    path: Path
    root: str
    read_only: bool
    moves_quickly: bool = False


def parse_mountinfo(text: str) -> Mount | None:
    """The first cgroup2 mount of a /proc/PID/mountinfo, or None."""
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not dash or kind[0] != "cgroup2" or len(fields) < 6:
            continue
        read_only = "ro" in fields[5].split(",") or "ro" in kind[-1].split(",")
        quick = "favordynmods" in kind[-1].split(",")
        return Mount(Path(_unescape(fields[4])), _unescape(fields[3]), read_only, quick)
    return None


def parse_membership(text: str) -> tuple[str | None, tuple[str, ...]]:
    """A /proc/PID/cgroup: its v2 path (None: there is no v2), and the controllers that v1 has."""
    path, taken = None, []
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, where = rest.partition(":")
        if number == "0" and not names:
            path = where
        else:
            taken += [name for name in names.split(",") if name and not name.startswith("name=")]
    return path, tuple(taken)


def folder_of(mount: Mount, path: str) -> Path | None:
    """The folder of a v2 path under a mount; None where the mount shows another part."""
    root = mount.root.rstrip("/")
    if path != root and not path.startswith(root + "/"):
        return None
    below = path[len(root) :].strip("/")
    return mount.path / below if below else mount.path


class Group:
    """One cgroup folder. Files are read and written anew each time: nothing is cached."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> str:
        """A control file's text, stripped. FileNotFoundError: its controller is not on here."""
        return (self.path / name).read_text().strip()

    def write(self, name: str, value: str) -> None:
        """Write a control file in one write(2).

        Raises:
            OSError: ENOENT (controller not on), EINVAL, ERANGE, EBUSY, EACCES, EPERM.
        """
        fd = os.open(self.path / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def has(self, name: str) -> bool:
        """Whether a control file exists here."""
        return (self.path / name).exists()

    def controllers(self) -> frozenset[str]:
        """What this group could give to its children."""
        return frozenset(self.read("cgroup.controllers").split())

    def given(self) -> frozenset[str]:
        """What it gives to its children now."""
        return frozenset(self.read("cgroup.subtree_control").split())

    def give(self, name: str) -> None:
        """Give one controller to the children; EBUSY: a process is in this group."""
        self.write("cgroup.subtree_control", f"+{name}")

    def pids(self) -> list[int]:
        """Processes right in this group; [] if it is gone. 0 is one outside our namespace."""
        try:
            return [int(pid) for pid in self.read("cgroup.procs").split()]
        except OSError:
            return []

    def take_in(self, pid: int) -> None:
        """Move a process here; 0 is the caller. ESRCH: it is gone, EBUSY: see the facts above."""
        self.write("cgroup.procs", str(pid))

    def counters(self, name: str) -> dict[str, int]:
        """A file of "key number" lines, such as memory.events; {} where it does not exist."""
        try:
            lines = self.read(name).splitlines()
        except OSError:
            return {}
        return {key: int(value) for key, value in (line.split() for line in lines)}

    def children(self) -> list[Group]:
        """The groups right below."""
        try:
            return [Group(entry) for entry in self.path.iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []

    def kill(self) -> None:
        """SIGKILL for every process in the subtree. Quiet if the group is gone.

        Without cgroup.kill it goes round until no process is left that takes a signal; one that
        forks faster than we count can outrun that.
        """
        try:
            self.write("cgroup.kill", "1")
            return
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENODEV):
                raise
        for _ in range(KILL_ROUNDS):
            left = [pid for group in self._subtree() for pid in group.pids() if pid > 0]
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def remove(self) -> None:
        """Remove the group and the empty ones below it. Quiet if it is gone.

        Raises:
            OSError: EBUSY while a process is left, be it a dying one.
        """
        for child in self.children():
            child.remove()
        try:
            self.path.rmdir()
        except FileNotFoundError:
            pass

    def is_delegated(self) -> bool:
        """Whether systemd marked this group as handed over."""
        for name in ("user.delegate", "trusted.delegate"):
            try:
                if os.getxattr(self.path, name) == b"1":
                    return True
            except OSError:
                continue
        return False

    def is_root(self) -> bool:
        """Whether it is the real root of the hierarchy (which has no cgroup.type)."""
        return not self.has("cgroup.type")

    def is_writable(self) -> bool:
        """Whether we may make groups and move processes here."""
        names = ("", "cgroup.procs", "cgroup.subtree_control")
        return all(os.access(self.path / name, os.W_OK) for name in names)

    def _subtree(self) -> list[Group]:
        found = [self]
        for child in self.children():
            found += child._subtree()
        return found


def group_of(pid: int | str = "self") -> Group | None:
    """The v2 group of a process; None where there is none in sight, or the process is gone."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
        mount = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    path, _ = parse_membership(text)
    if path is None or mount is None:
        return None
    folder = folder_of(mount, path.removesuffix(" (deleted)"))
    return Group(folder) if folder and _is_folder(folder) else None


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        return False


def _unescape(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal (proc_pid_mountinfo(5))."""
    for code in ("040", "011", "012", "134"):
        text = text.replace(f"\\{code}", chr(int(code, 8)))
    return text
