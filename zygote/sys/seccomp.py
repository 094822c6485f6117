"""Hand a filter program to seccomp(2).

Facts:

- A filter stays for ever, also over exec, and every process and thread made later has it. More
  filters may be added; the strictest answer of all counts.
- It needs no_new_privs, or CAP_SYS_ADMIN.
- The kernel copies the program, so that it costs the process no memory that is its own; from 5.11
  on it remembers which calls always pass and does not run it for those.
- `struct sock_fprog` is a count of instructions, 8 bytes each, and a pointer to them; 4096 at most.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_PR_GET_SECCOMP = 21
_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_INSTRUCTION = 8

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc["prctl"]
_prctl.restype = ctypes.c_int
_prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_ulong]


def load(program: bytes) -> None:
    """Put this thread, and what it makes, under a filter.

    Raises:
        OSError: EACCES, neither no_new_privs nor privileged; EINVAL, no program, or a kernel
            without filters; ENOMEM, it and its forerunners are too long.
    """
    pointer = ctypes.cast(ctypes.c_char_p(program), ctypes.c_void_p).value or 0
    structure = struct.pack("@HP", len(program) // _INSTRUCTION, pointer)
    if _prctl(_PR_SET_SECCOMP, _MODE_FILTER, structure, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def available() -> bool:
    """Whether this kernel has filters. See: PR_SET_SECCOMP(2const)."""
    if _prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0) == 0:
        return True
    return ctypes.get_errno() == errno.EFAULT  # it wanted to read the program
