"""Landlock: a process gives up access to all files and ports but those it names.

Facts about landlock(7), as far as they matter here:

- No privilege is needed, only no_new_privs. A domain is inherited and can never be left.
- A rule grants rights on a file, or on a folder and all below it. What the ruleset *handles* and no
  rule grants is refused (EACCES). Descriptors that are open already go on as they are.
- A process in a domain may trace (ptrace, /proc/PID/mem and environ) only processes of its own
  domain, whatever the uids.
- Connecting to a UNIX socket by its path is not covered, nor is UDP.
- ABI 1 came with Linux 5.13; 2 (5.19): rename and link across folders; 3 (6.2): truncate; 4 (6.7):
  TCP ports; 5 (6.10): ioctl of devices; 6 (6.12): signals and abstract sockets beyond the domain.
- The system calls have the same numbers on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_VERSION = 1
_PATH, _PORT = 1, 2

(
    EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR,
    MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV,
) = (1 << bit for bit in range(16))  # fmt: skip
"""LANDLOCK_ACCESS_FS_…"""
BIND, CONNECT = 1, 2
"""LANDLOCK_ACCESS_NET_…_TCP"""
SCOPE_ABSTRACT, SCOPE_SIGNAL = 1, 2

READ = READ_FILE | READ_DIR
WRITE = (
    READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO
    | MAKE_SYM | REFER | TRUNCATE
)  # fmt: skip
RUN = EXECUTE | READ_FILE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What can be granted on something that is no folder."""
_ALL = (1 << 16) - 1
_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""ABI -> file rights that it knows; from 5 on all."""

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The kernel's version of landlock; 0: it has none, or it is switched off."""
    found = _libc.syscall(ctypes.c_long(_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))
    return max(0, int(found))


class Ruleset:
    """What stays allowed. Make one, grant, then `enforce`.

    Args:
        version: as `abi` says.
        ports: TCP ports are handled as well, binding and connecting: BIND, CONNECT or both.
    Raises:
        OSError: ENOSYS, EOPNOTSUPP: no landlock here.
    """

    def __init__(self, version: int, ports: int = 0) -> None:
        self._files = _HANDLED.get(version, _ALL)
        scopes = SCOPE_ABSTRACT | SCOPE_SIGNAL if version >= 6 else 0
        parts = (self._files, ports if version >= 4 else 0, scopes)
        size = 24 if version >= 6 else 16 if version >= 4 else 8
        attributes = struct.pack("=QQQ", *parts)[:size]
        self._fd = _check(
            _libc.syscall(
                ctypes.c_long(_CREATE), attributes, ctypes.c_size_t(size), ctypes.c_uint(0)
            )
        )

    def grant(self, path: str, rights: int) -> None:
        """Allow rights on a file, or on a folder and what is below.

        Raises:
            OSError: ENOENT, EACCES: it cannot be opened.
        """
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            error.filename = path
            raise
        try:
            rights &= self._files
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= _OF_FILES
            self._add(_PATH, struct.pack("=Qi", rights, descriptor))
        finally:
            os.close(descriptor)

    def grant_port(self, port: int, rights: int) -> None:
        """Allow BIND or CONNECT on a TCP port; 0: a port that the kernel chooses."""
        self._add(_PORT, struct.pack("=QQ", rights, port))

    def enforce(self) -> None:
        """Give up everything else, for good.

        Raises:
            OSError: EPERM, no_new_privs is not set; E2BIG, sixteen domains deep.
        """
        try:
            _check(
                _libc.syscall(ctypes.c_long(_RESTRICT), ctypes.c_long(self._fd), ctypes.c_uint(0))
            )
        finally:
            self.close()

    def close(self) -> None:
        """Drop it, used or not."""
        descriptor, self._fd = self._fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _add(self, kind: int, attributes: bytes) -> None:
        _check(
            _libc.syscall(
                ctypes.c_long(_ADD_RULE), ctypes.c_long(self._fd), ctypes.c_long(kind),
                attributes, ctypes.c_long(0),
            )
        )  # fmt: skip


def grant_each(rules: Ruleset, paths: Iterable[str], rights: int) -> None:
    """Grant on those that are there, and leave out those that are not."""
    for path in paths:
        try:
            rules.grant(path, rights)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
