"""The seccomp filters of another process, out of the kernel: SystemCallFilter= and its kin.

ptrace(PTRACE_SECCOMP_GET_FILTER) gives each filter's program as it was loaded (Linux 4.4, with
CONFIG_CHECKPOINT_RESTORE; it takes CAP_SYS_ADMIN, and a caller that is under no filter itself).
The process is stopped for that moment and goes on; it is waiting for our answer meanwhile.
"""

from __future__ import annotations

import ctypes
import errno
import os

from zygote.errors import ZygoteError, describe_errno

_SEIZE, _INTERRUPT, _DETACH, _GET_FILTER = 0x4206, 0x4207, 17, 0x420C
_INSTRUCTION = 8
_WALL = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def read(pid: int, mode: int) -> list[bytes]:
    """The programs, the first one loaded first.

    Args:
        mode: `Seccomp:` of its status; 0: it has none, and nothing is done.
    Raises:
        ZygoteError: code unit-setting: there are some, and the kernel does not give them out.
    """
    if mode == 0:
        return []
    try:
        return _read(pid)
    except OSError as error:
        raise ZygoteError(
            "the unit filters system calls (SystemCallFilter=, Restrict…=), and the kernel does "
            f"not give the filters out: {describe_errno(error.errno or 0)}",
            code="unit-setting",
            step="unit",
            errno=error.errno or 0,
            hint="it takes CONFIG_CHECKPOINT_RESTORE, and a zygote's unit that is root's and has "
            "no filter; or leave these settings out and use seccomp in the fleet file",
        ) from None


def _read(pid: int) -> list[bytes]:
    _ptrace(_SEIZE, pid, None, None)
    try:
        _ptrace(_INTERRUPT, pid, None, None)
        os.waitpid(pid, _WALL)
        found: list[bytes] = []
        while True:
            try:
                count = _ptrace(_GET_FILTER, pid, len(found), None)
                room = ctypes.create_string_buffer(count * _INSTRUCTION)
                _ptrace(_GET_FILTER, pid, len(found), ctypes.addressof(room))
            except OSError as error:
                if error.errno == errno.ENOENT and found:
                    return found[::-1]  # the kernel numbers them from the last one loaded
                raise
            found.append(room.raw)
    finally:
        _libc.ptrace(_DETACH, pid, None, None)


def _ptrace(request: int, pid: int, address: int | None, data: int | None) -> int:
    result: int = _libc.ptrace(request, pid, address, data)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
