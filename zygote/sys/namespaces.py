"""A mount and a network namespace of one's own: unshare(2), mount(2), mount_setattr(2).

Facts:

- unshare needs CAP_SYS_ADMIN; or CLONE_NEWUSER with it, which needs no privilege where the kernel
  lets users make user namespaces (user.max_user_namespaces, and switches of distributions'). In
  the new user namespace the process has all capabilities *over that namespace only*; files keep
  their owners, and the uid is mapped to itself (user_namespaces(7)).
- A new mount namespace is a copy. Its mounts still get what is mounted outside (MS_SLAVE), and
  nothing goes out.
- In a new network namespace only lo exists, and it is down.
- mount_setattr (5.12) changes a whole tree of mounts at once; on an older kernel a remount changes
  the top alone.
- One thread may do this, and only a process that has no other (CLONE_NEWUSER).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_SLAVE = (
    *(1, 2, 4, 32, 4096, 16384, 1 << 19),
)
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = -100, 0x8000, 1
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int, *, as_user: bool = False) -> None:
    """Leave namespaces for new ones.

    Args:
        as_user: without privilege: in a new user namespace, with our own ids mapped into it.
    Raises:
        OSError: EPERM, not allowed; ENOSPC, no more namespaces for this user; EINVAL.
    """
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc.unshare(ctypes.c_int(flags | (NEWUSER if as_user else 0))))
    if as_user:
        for name, text in (
            ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1"),
        ):  # fmt: skip
            _write(f"/proc/self/{name}", text)
    if flags & NEWNS:
        _mount("none", "/", "", _MS_REC | _MS_SLAVE, "")


def lo_up() -> None:
    """Switch the loopback interface of a new network namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        asked = struct.pack("16sH22x", b"lo", 0)
        name, flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | _IFF_UP))


def empty(path: str, mode: int) -> None:
    """Put an empty folder, in memory, over this one; half of the machine's memory at most.

    Raises:
        OSError: ENOENT, no such folder; EPERM.
    """
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode={mode:o}")


def show(source: int, path: str) -> None:
    """Let an open folder or file be seen at a path, with what is mounted in it."""
    _mount(f"/proc/self/fd/{source}", path, "", _MS_BIND | _MS_REC, "")


def read_only(path: str) -> None:
    """Make a folder or file, and all below it, read-only.

    Raises:
        OSError: ENOENT; EPERM; EINVAL.
    """
    _mount(path, path, "", _MS_BIND | _MS_REC, "")
    attributes = struct.pack("=QQQQ", _ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(_AT_FDCWD), os.fsencode(path),
        ctypes.c_uint(_AT_RECURSIVE), attributes, ctypes.c_size_t(len(attributes)),
    )  # fmt: skip
    if result != 0:
        number = ctypes.get_errno()
        if number != errno.ENOSYS:
            raise OSError(number, os.strerror(number), path)
        _mount("none", path, "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY, "")


def _mount(source: str, path: str, kind: str, flags: int, data: str) -> None:
    result = _libc.mount(
        source.encode(), os.fsencode(path), kind.encode() or None, ctypes.c_ulong(flags),
        data.encode() or None,
    )  # fmt: skip
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
