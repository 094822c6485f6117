"""Process file descriptors: signal, wait for and question a process without pid reuse races.

Facts about pidfds (pidfd_open(2), pidfd_send_signal(2), waitid(2), the kernel's `linux/pidfd.h`):

- A pidfd names one process for ever. Once that process is gone, calls answer ESRCH; they never
  reach a younger process with the same number. Close-on-exec is always set.
- It is readable (poll, epoll) from the moment the process is a zombie, for anybody; only the
  parent can reap it, by `waitid(P_PIDFD)`.
- A signal to the whole process group of the process: flag PIDFD_SIGNAL_PROCESS_GROUP, kernel
  6.9; EINVAL before. It has no counterpart for sessions.
- `ioctl(PIDFD_GET_INFO)`: kernel 6.13; ENOTTY before. From 6.15 it tells the exit status to one
  who is not the parent, in the `wait` encoding (7 << 8 for exit(7)), but only *after* the parent
  has reaped the process (measured on 6.18: no PIDFD_INFO_EXIT on a zombie), and only through a
  pidfd that was open before that. Afterwards pid, uid and the like read as 0; the cgroup id stays.
  A reaped process whose status was not kept answers ESRCH.
- The first published size of the structure is 64 bytes; newer kernels take any size from there.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
from dataclasses import dataclass

_SYS_PIDFD_GETFD = 438
_syscall = ctypes.CDLL(None, use_errno=True)["syscall"]
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 4
_PROCESS_GROUP = 1 << 2
_INFO = struct.Struct("=QQ11Ii")
_GET_INFO = (3 << 30) | (_INFO.size << 16) | (0xFF << 8) | 11  # _IOWR(0xFF, 11, struct pidfd_info)
_INFO_CGROUPID = 1 << 2
_INFO_EXIT = 1 << 3
_ASK = 0b1111


@dataclass(frozen=True, slots=True)
class PidfdInfo:
    """What the kernel tells about a process, to anybody who holds a pidfd of it.

    Attributes:
        pid: thread group id; 0 once it has been reaped.
        ppid: parent's pid; 0 once it has been reaped.
        cgroup_id: id (inode number) of its cgroup v2 folder; 0 where there is none.
        status: `wait` status once it has been reaped (kernel 6.15); None before, or not kept.
    """

    pid: int
    ppid: int
    cgroup_id: int
    status: int | None


def pidfd_open(pid: int) -> int:
    """A pidfd for `pid`; the caller owns and closes it.

    Raises:
        ProcessLookupError: no such process, or already reaped.
        OSError: EINVAL for a thread that leads no group, EMFILE.
    See: pidfd_open(2), kernel 5.3.
    """
    return os.pidfd_open(pid)


def send_signal(pidfd: int, number: int, *, group: bool = False) -> None:
    """Send a signal to the process, or to its whole process group.

    Args:
        group: also to every other process of its group. Where the kernel cannot (before 6.9)
            OSError EINVAL is raised and nothing was sent: the caller may use `os.killpg`.
    Raises:
        ProcessLookupError: it is gone (a zombie takes signals quietly).
        PermissionError: it belongs to another user.
    """
    signal.pidfd_send_signal(pidfd, number, None, _PROCESS_GROUP if group else 0)


def getfd(pidfd: int, number: int) -> int:
    """A copy of the process's descriptor `number`; close-on-exec, the caller's.

    Raises:
        OSError: EPERM without the right to trace it (PTRACE_MODE_ATTACH_REALCREDS), EBADF.
    See: pidfd_getfd(2), kernel 5.6.
    """
    copy: int = _syscall(_SYS_PIDFD_GETFD, pidfd, number, 0)
    if copy < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return copy


def wait_nowait(pidfd: int) -> int | None:
    """Reap the process if it has ended: its `wait` status, or None while it runs.

    Raises:
        ChildProcessError: it is not our child, or was reaped before.
    See: waitid(2), P_PIDFD, kernel 5.4.
    """
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return result.si_status << 8
    core = 0x80 if result.si_code == os.CLD_DUMPED else 0
    return result.si_status | core


def read_info(pidfd: int) -> PidfdInfo:
    """Ask the kernel about the process.

    Raises:
        OSError: ENOTTY (kernel before 6.13) or ESRCH (reaped, status not kept).
    """
    buffer = bytearray(_INFO.pack(_ASK, *[0] * 13))
    fcntl.ioctl(pidfd, _GET_INFO, buffer)
    mask, cgroup_id, _pid, tgid, ppid, *_ids, status = _INFO.unpack(buffer)
    return PidfdInfo(
        pid=tgid,
        ppid=ppid,
        cgroup_id=cgroup_id if mask & _INFO_CGROUPID else 0,
        status=status if mask & _INFO_EXIT else None,
    )


def try_exit_status(pidfd: int) -> int | None:
    """The `wait` status of a process that ended and that somebody else reaped, if it is known.

    None: it still runs, it is a zombie that nobody has reaped yet, or the kernel does not tell.
    """
    try:
        return read_info(pidfd).status
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.ESRCH, errno.EINVAL):
            return None
        raise
