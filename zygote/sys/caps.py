"""Capabilities of the calling thread: which it has, and giving up all but a few.

Facts about capabilities(7), as far as they matter to a process that changes its user and does not
exec:

- Leaving uid 0 by setresuid(2) clears the permitted, effective and ambient sets. With
  PR_SET_KEEPCAPS the permitted set stays (and only that); an exec switches the flag off again.
- capset(2) may move anything within the permitted set and drop from it, never add to it. The
  structure's version 3 has two 32-bit words a set; version 3 is all that the kernel has had
  since 2.6.26.
- A capability in the *ambient* set survives an exec by a user that is not root. It must be in the
  permitted and in the inheritable set first (4.3).
- The *bounding* set limits what an exec can gain. Dropping from it needs CAP_SETPCAP in the
  effective set. A process without that cannot drop; `no_new_privs` closes the same door.
- A process that changed its user is not *dumpable*: /proc/PID belongs to root, ptrace and core
  dumps are off. An exec would make it dumpable again.
- The sets belong to a thread, not to a process. Here there is one thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import NamedTuple

NAMES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID",
    "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
"""linux/capability.h, in the order of their numbers from 0."""
NUMBERS = {name: number for number, name in enumerate(NAMES)}
"""Name -> number."""

_SETPCAP = 8
_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_AMBIENT_IS_SET, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 1, 2, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc.prctl
_prctl.restype = ctypes.c_int
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class Sets(NamedTuple):
    """The three sets that capget(2) knows, each a bit mask."""

    effective: int
    permitted: int
    inheritable: int


def read() -> Sets:
    """The sets of this thread."""
    words = (_Word * 2)()
    _check(_libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), words))
    low, high = words[0], words[1]
    return Sets(
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def write(sets: Sets) -> None:
    """Replace the sets of this thread.

    Raises:
        OSError: EPERM, something is not in the permitted set (or, for the inheritable set, in
            none of permitted and bounding set).
    """
    words = (_Word * 2)()
    for index in (0, 1):
        part = (mask >> 32 * index & 0xFFFFFFFF for mask in sets)
        words[index] = _Word(*part)
    _check(_libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), words))


def keep_over_setuid() -> None:
    """Let the permitted set survive the next change from root to another user."""
    _check(_prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))


def set_dumpable() -> None:
    """Make this process dumpable again, as an exec after a change of user would.

    See: PR_SET_DUMPABLE(2const).
    """
    _check(_prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0))


def bounding() -> frozenset[int]:
    """Numbers in the bounding set."""
    found = []
    number = 0
    while (there := _prctl(_PR_CAPBSET_READ, number, 0, 0, 0)) >= 0:
        if there:
            found.append(number)
        number += 1
    return frozenset(found)


def drop_bounding(number: int) -> None:
    """Let nothing from here on gain this capability, by exec of whatever.

    Raises:
        OSError: EPERM, without CAP_SETPCAP.
    """
    _check(_prctl(_PR_CAPBSET_DROP, number, 0, 0, 0))


def set_ambient(mask: int) -> None:
    """Make this the ambient set: what a plain exec keeps.

    Raises:
        OSError: EPERM, one is not both permitted and inheritable.
    """
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)  # EINVAL: a kernel that has no such set
    for number in range(len(NAMES)):
        if mask >> number & 1:
            _check(_prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0))


def confine(numbers: Iterable[int]) -> None:
    """Keep these capabilities, in all five sets, and give up every other for ever.

    The bounding set is left alone where CAP_SETPCAP is missing: it cannot be changed then.

    Raises:
        OSError: EPERM, one of them is not in our permitted set; EINVAL, no such capability.
    """
    wanted = tuple(numbers)
    mask = 0
    for number in wanted:
        mask |= 1 << number
    permitted = read().permitted
    if mask & ~permitted:
        raise OSError(1, os.strerror(1))
    _prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)  # EINVAL: a kernel that has no such set
    if permitted >> _SETPCAP & 1:
        write(Sets(permitted, permitted, mask))
        # Up to the first that this kernel does not know. No set is made: workers pay for it.
        number = 0
        while mask >> number & 1 or _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
            number += 1
    write(Sets(mask, mask, mask))
    for number in wanted:
        _check(_prctl(_PR_CAP_AMBIENT, _AMBIENT_RAISE, number, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
