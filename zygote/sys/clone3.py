"""Make a process by clone3(2) or clone(2), in ways that os.fork cannot.

Facts about clone(2), as far as they matter to a Python process of one thread:

- CLONE_PARENT makes the new process our *sibling*: our parent gets its SIGCHLD and reaps it. The
  exit signal is then our own; clone3 refuses to be given one. A process that is init of its pid
  namespace cannot do it (EINVAL).
- CLONE_PIDFD gives a pidfd of the child without a race, close-on-exec, in the caller's table only.
- CLONE_INTO_CGROUP (5.7, clone3 only) starts the child inside a cgroup v2 leaf, so that its first
  page is charged there. EBADF: not a cgroup v2 folder. EBUSY: the cgroup has controllers switched
  on for children. EACCES: not delegated to us. ENODEV: removed meanwhile.
- clone(2) has its arguments in another order on each architecture; clone3 has one structure.
- glibc caches the thread id in its thread descriptor and raise(3), pthread_kill(3) and recursive
  locks trust it. CLONE_CHILD_SETTID writes the child's id to the address that glibc registered
  (`prctl.tid_address`), which is what glibc's own fork does. CLONE_CHILD_CLEARTID registers that
  address for the child's own end.
- The kernel forgets the robust futex list in the child; glibc's fork registers it again, so must
  we. The registration of rseq is inherited.
- pthread_atfork handlers do not run: in a process with one thread there is no lock that another
  thread holds. CPython's own hooks do run (`PyOS_BeforeFork`, `PyOS_AfterFork_*`).
- Seccomp profiles of containers often answer ENOSYS to clone3, because a filter cannot see into
  its structure, and let clone pass.

All calls here go through `ctypes.PyDLL`, which keeps the GIL. Their buffers are made once, at
import: a call allocates nothing that stays. They lie on a page that is empty in a child
(MADV_WIPEONFORK, madvise(2)): what the parent writes for the next child would else leave each with
a copy of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import platform
import signal
import sys
from collections.abc import Callable
from typing import NamedTuple

from zygote.sys import prctl

CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_CHILD_CLEARTID = 0x00200000
CLONE_CHILD_SETTID = 0x01000000
CLONE_INTO_CGROUP = 0x200000000

_SYS_CLONE3 = 435  # the same on all architectures
_SYS_CLONE, _SYS_SET_ROBUST_LIST, _SYS_GET_ROBUST_LIST = {
    "x86_64": (56, 273, 274),
    "aarch64": (220, 99, 100),
}.get(platform.machine(), (-1, -1, -1))

Call = tuple[int, int, int, int, int, int]
"""A system call's number and what it is given, in this module's own buffers."""

_MADV_WIPEONFORK = 18
_FLAGS = CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID

_syscall = ctypes.PyDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 6
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Child
for _hook in (_before_fork, _after_fork_parent, _after_fork_child):
    _hook.restype = None
    _hook.argtypes = []


class _CloneArgs(ctypes.Structure):
    """struct clone_args of linux/sched.h, version 2 (88 bytes, kernel 5.7)."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


_page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
with contextlib.suppress(OSError):  # before Linux 4.14 each child has a copy of it
    _page.madvise(_MADV_WIPEONFORK)
_args = _CloneArgs.from_buffer(_page)
_args_address = ctypes.addressof(_args)
_pidfd = ctypes.c_int.from_buffer(_page, 128)
_pidfd_address = ctypes.addressof(_pidfd)
_robust_head = ctypes.c_ulong.from_buffer(_page, 136)
_robust_head_address = ctypes.addressof(_robust_head)
_robust_size = ctypes.c_ulong.from_buffer(_page, 144)
_robust_size_address = ctypes.addressof(_robust_size)
_tid = 0


def clone3(*, parent: bool = True, cgroup: int = -1) -> tuple[int, int]:
    """Clone this process by clone3(2).

    Returns in both processes, like os.fork. The caller is the only thread, and the main one.

    Args:
        parent: make it our parent's child (CLONE_PARENT), not ours.
        cgroup: open folder of a cgroup v2 leaf to start in, the caller's; -1: in ours.
    Returns:
        pid and pidfd, which the caller owns, in the parent; (0, -1) in the child.
    Raises:
        OSError: ENOSYS (kernel before 5.3, or seccomp), EPERM (seccomp), EAGAIN (pids.max,
            RLIMIT_NPROC), ENOMEM; with a cgroup also EBADF, EBUSY, EACCES, ENODEV, and E2BIG or
            EINVAL (kernel before 5.7). No process was made.
    See: clone3(2), cgroups(7).
    """
    return _between_hooks(clone3_call(parent=parent, cgroup=cgroup))


def clone3_call(*, parent: bool = True, cgroup: int = -1) -> Call:
    """What `clone3` asks of the kernel; good until the next call of this module."""
    _args.flags = _FLAGS | (CLONE_PARENT if parent else 0)
    _args.exit_signal = 0 if parent else signal.SIGCHLD
    _args.pidfd = _pidfd_address
    _args.child_tid = _tid_address()
    if cgroup >= 0:
        _args.flags |= CLONE_INTO_CGROUP
        _args.cgroup = cgroup
    else:
        _args.cgroup = 0
    return _SYS_CLONE3, _args_address, ctypes.sizeof(_args), 0, 0, 0


def clone(*, parent: bool = True) -> tuple[int, int]:
    """Clone this process by clone(2): as `clone3`, but without a cgroup.

    Raises:
        OSError: EPERM, ENOSYS (seccomp, or an architecture whose argument order is not known
            here), EAGAIN, ENOMEM, EINVAL (kernel before 5.2: no CLONE_PIDFD). No process was made.
    See: clone(2), "C library/kernel differences".
    """
    return _between_hooks(clone_call(parent=parent))


def clone_call(*, parent: bool = True) -> Call:
    """What `clone` asks of the kernel.

    Raises:
        OSError: ENOSYS, an architecture whose argument order is not known here.
    """
    if _SYS_CLONE < 0:
        raise _error(errno.ENOSYS)
    flags = _FLAGS | (CLONE_PARENT if parent else signal.SIGCHLD)
    tid = _tid_address()
    # flags, stack, parent_tid (where CLONE_PIDFD puts the pidfd), then by architecture:
    tail = (0, tid) if platform.machine() == "aarch64" else (tid, 0)  # tls, child_tid | reversed
    return _SYS_CLONE, flags, 0, _pidfd_address, *tail


def _between_hooks(call: Call) -> tuple[int, int]:
    batch = make(call, 1, _nothing)
    if batch.mine >= 0:
        return 0, -1
    if batch.errno:
        raise _error(batch.errno)
    return batch.made[0]


class Batch(NamedTuple):
    """What came of `make`, in the parent and in each child.

    Attributes:
        made: pid and pidfd of each, the caller's; empty in a child.
        errno: why there are not more; 0 if there are as many as were asked for.
        mine: in a child: which of them it is, from 0; -1 in the parent.
    """

    made: list[tuple[int, int]]
    errno: int
    mine: int


def make(call: Call, count: int, first: Callable[[int], None]) -> Batch:
    """Make processes, one right after the other, and run Python's fork hooks once around them.

    Args:
        call: from `clone3_call` or `clone_call`.
        first: called in each child before its fork hooks, with its number. Locks are held there
            that Python takes before a fork: it makes system calls, and nothing else.
    Raises:
        OSError: ENOSYS, an architecture that is not known here.
    """
    if _SYS_CLONE < 0:
        raise _error(errno.ENOSYS)
    sys.audit("os.fork")
    _syscall(_SYS_GET_ROBUST_LIST, 0, _robust_head_address, _robust_size_address, 0, 0)
    head, size = _robust_head.value, _robust_size.value
    made = []
    number = 0
    _before_fork()
    for mine in range(count):
        _pidfd.value = -1
        pid: int = _syscall(*call)
        if pid == 0:
            _syscall(_SYS_SET_ROBUST_LIST, head, size, 0, 0, 0)
            first(mine)
            _after_fork_child()
            return Batch([], 0, mine)
        if pid < 0:
            number = ctypes.get_errno()
            break
        made.append((pid, _pidfd.value))
    _after_fork_parent()
    return Batch(made, number, -1)


def _nothing(_mine: int) -> None:
    """A child goes right on."""


def _tid_address() -> int:
    """Asked once: it belongs to the main thread, and clones have it at the same place."""
    global _tid
    if not _tid:
        _tid = prctl.tid_address()
    return _tid


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
