"""The runtime folder: made, checked and locked before the manager does anything else.

Facts it rests on:

- A UNIX socket's path has at most 107 bytes (unix(7), sun_path); the kernel does not shorten it.
- A socket file outlives its listener. Connecting to such a stale one is refused at once
  (ECONNREFUSED), whatever its age; that, under the lock, is how we know that it may be removed.
- flock(2) belongs to the open file: it ends with the process, however that dies, and a process
  that was started by exec does not inherit it (the descriptor is close-on-exec).
- In a world-writable folder such as /tmp anybody may make our name first, as a folder of theirs or
  as a symbolic link. So the folder must be a real one, ours, and writable by nobody else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from zygote.errors import Exit, ZygoteError, describe_errno

SOCKET_PATH_MAX = 107
_SOCKETS = (("control.sock", socket.SOCK_STREAM), ("notify.sock", socket.SOCK_DGRAM))


@dataclass(slots=True)
class RuntimeDir:
    """A locked runtime folder. Whoever holds it is the only manager on it.

    Attributes:
        path: absolute.
        lock_fd: holds the lock; close-on-exec; closed by `close`.
        held: sockets ("control", "notify") that somebody else made for us: not ours to remove.
    """

    path: Path
    lock_fd: int
    held: frozenset[str] = frozenset()

    @property
    def control_socket(self) -> Path:
        return self.path / "control.sock"

    @property
    def notify_socket(self) -> Path:
        return self.path / "notify.sock"

    @property
    def state_dir(self) -> Path:
        return self.path / "state"

    @property
    def log_dir(self) -> Path:
        """Default place of the logs; the fleet file may name another (see `prepare_logs`)."""
        return self.path / "logs"

    def close(self) -> None:
        """Remove our sockets and give up the lock. State and logs stay. Idempotent."""
        if self.lock_fd < 0:
            return
        for name, _ in _SOCKETS:
            if name.removesuffix(".sock") not in self.held:
                (self.path / name).unlink(missing_ok=True)
        os.close(self.lock_fd)
        self.lock_fd = -1


def prepare(path: Path | str, held: frozenset[str] = frozenset()) -> RuntimeDir:
    """Make the folder where it is missing, check it, lock it, and clear stale sockets away.

    Args:
        held: sockets that were handed to us open, and so are neither stale nor a stranger's.
    Raises:
        ZygoteError: with a hint. Codes: socket-path-too-long, runtime-dir-owner,
            runtime-dir-link, runtime-dir-open, runtime-dir-not-writable, disk-full,
            second-manager, socket-in-use, not-a-socket.
    """
    folder = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    _check_proc()
    _check_length(folder)
    _make(folder)
    _check_owner(folder)
    lock = _lock(folder)
    try:
        for name in ("state",):
            _subfolder(folder / name, 0o700)
        for name, kind in _SOCKETS:
            if name.removesuffix(".sock") not in held:
                _remove_stale(folder / name, kind)
    except BaseException:
        os.close(lock)
        raise
    return RuntimeDir(folder, lock, held)


def prepare_logs(path: Path | str) -> Path:
    """Make and check the folder of the log files; `prepare` has run before.

    Raises:
        ZygoteError: as `prepare`.
    """
    folder = Path(os.path.abspath(path))  # noqa: PTH100
    _make(folder.parent)
    _subfolder(folder, 0o750)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _os_error(PermissionError(errno.EACCES, ""), folder, "logs cannot be written")
    return folder


def _check_proc() -> None:
    """Without it no process can be watched, told apart or found again."""
    if not Path("/proc/self/stat").exists():
        raise ZygoteError(
            "/proc is not there, or is not that of our processes",
            code="no-proc",
            hint="mount -t proc proc /proc, in the chroot or container in which this runs",
        )


def _check_length(folder: Path) -> None:
    longest = max(len(os.fsencode(folder / name)) for name, _ in _SOCKETS)
    if longest > SOCKET_PATH_MAX:
        raise ZygoteError(
            f"runtime folder {folder}: its control socket's path would have {longest} bytes, "
            f"the kernel takes {SOCKET_PATH_MAX}",
            code="socket-path-too-long",
            hint=f"name a folder at least {longest - SOCKET_PATH_MAX} bytes shorter: "
            "--runtime-dir, ZYGOTE_RUNTIME_DIR or runtime_dir in [fleet]",
            errno=errno.ENAMETOOLONG,
        )


def _make(folder: Path) -> None:
    """mkdir -p; the last one 0711 (others pass through to a socket whose name they know)."""
    try:
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o711)
    except FileExistsError:
        return  # what it is, `_check_owner` sees
    except OSError as error:
        raise _os_error(error, folder, "it cannot be made") from None
    folder.chmod(0o711)  # whatever the umask says


def _check_owner(folder: Path) -> None:
    """Ours, a real folder, and neither it nor its parent open to strangers."""
    info = _lstat(folder)
    if stat.S_ISLNK(info.st_mode):
        raise ZygoteError(
            f"runtime folder {folder} is a symbolic link, refused: who can change it could "
            "redirect every file in it",
            code="runtime-dir-link",
            hint=f"name the folder itself: {os.path.realpath(folder)}",
        )
    if not stat.S_ISDIR(info.st_mode):
        raise ZygoteError(
            f"runtime folder {folder} is not a folder",
            code="runtime-dir-not-writable",
            hint="remove that file, or name another folder with --runtime-dir",
            errno=errno.ENOTDIR,
        )
    if info.st_uid != os.geteuid():
        raise ZygoteError(
            f"runtime folder {folder} belongs to uid {info.st_uid}, we are uid {os.geteuid()}",
            code="runtime-dir-owner",
            hint="run as its owner, or name a folder of your own with --runtime-dir",
            errno=errno.EPERM,
            exit_code=Exit.NOT_ALLOWED,
        )
    if info.st_mode & 0o022:
        raise ZygoteError(
            f"runtime folder {folder} can be written by others (mode "
            f"{stat.S_IMODE(info.st_mode):04o}), refused",
            code="runtime-dir-open",
            hint=f"look what is in it, then: chmod go-w {folder}",
        )
    parent = folder.parent.stat()
    sticky = parent.st_mode & stat.S_ISVTX
    if parent.st_uid not in (0, os.geteuid()) or (parent.st_mode & 0o002 and not sticky):
        raise ZygoteError(
            f"runtime folder {folder}: others can rename it, its parent "
            f"(mode {stat.S_IMODE(parent.st_mode):04o}, uid {parent.st_uid}) is open to them",
            code="runtime-dir-open",
            hint="name a folder below one that is yours or root's with --runtime-dir",
        )


def _lock(folder: Path) -> int:
    """The open, locked manager.lock with our pid in it."""
    path = folder / "manager.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        lock = os.open(path, flags, 0o600)
    except OSError as error:
        raise _os_error(error, folder, "it cannot be written") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise ZygoteError(
            f"runtime folder {folder} is in use by another manager (pid {holder})",
            code="second-manager",
            hint="talk to that one (zygotectl status), stop it (zygotectl down), or start this "
            "fleet on another folder with --runtime-dir",
            errno=errno.EWOULDBLOCK,
        ) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        os.close(lock)
        raise _os_error(error, folder, "it cannot be written") from None
    return lock


def _subfolder(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        _check_owner(path)
    except OSError as error:
        raise _os_error(error, path, "it cannot be made") from None


def _remove_stale(path: Path, kind: socket.SocketKind) -> None:
    """Remove a socket that nobody listens on; we hold the lock, so no manager of ours does."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise ZygoteError(
            f"{path} is in the way: it is not a socket",
            code="not-a-socket",
            hint="look what it is and remove it",
        )
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)  # a listener whose backlog is full must not stop us
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            holder = "somebody"
        else:
            holder = _holder(probe, kind)
    raise ZygoteError(
        f"{path} is in use by {holder}, which is not a manager of this folder",
        code="socket-in-use",
        hint="stop that process, or name another folder with --runtime-dir",
        errno=errno.EADDRINUSE,
    )


def _holder(probe: socket.socket, kind: socket.SocketKind) -> str:
    if kind != socket.SOCK_STREAM:
        return "another process"  # no peer credentials on datagram sockets
    pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return f"pid {pid}"


def _lstat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise _os_error(error, path, "it cannot be read") from None


_HINTS = {
    errno.ENOSPC: "free some space there, or name a folder on another disk with --runtime-dir",
    errno.EDQUOT: "free some space there, or name a folder on another disk with --runtime-dir",
    errno.EROFS: "it is on a read-only file system; name another folder with --runtime-dir",
    errno.ELOOP: "a symbolic link stands in its place; look who put it there and remove it",
}


def _os_error(error: OSError, path: Path, what: str) -> ZygoteError:
    number = error.errno or 0
    full = number in (errno.ENOSPC, errno.EDQUOT)
    return ZygoteError(
        f"runtime folder {path}: {what}: {describe_errno(number)}",
        code="disk-full" if full else "runtime-dir-not-writable",
        hint=_HINTS.get(number, "name a folder that you may write to with --runtime-dir"),
        errno=number,
        exit_code=Exit.NOT_ALLOWED if number in (errno.EACCES, errno.EPERM) else Exit.FAILED,
    )
