"""Tell the interpreter that it finishes, as `Py_FinalizeEx` does, and do no more of it.

From then on no other thread of the interpreter gets the interpreter lock again: daemon threads
stop where they are, before the names that they use are taken away. `sys.is_finalizing()` says so,
and new threads and forks are refused, all as under `python`.

There is no call for it. The flag is a pointer in the interpreter's runtime structure, whose place
Python itself publishes for debuggers from 3.13 on and which had one fixed place in 3.11 and 3.12.
The place is believed only if it holds no pointer, and the effect is asked of the interpreter;
where it fails, threads that are still running may be seen running a moment longer.
"""

from __future__ import annotations

import ctypes
import sys

_COOKIE = b"xdebugpy"
_PLACE_IN_OFFSETS = 32
"""cookie, version, free-threaded, size of the runtime state, then `finalizing`: 8 bytes each."""
_PLACE_BEFORE = 24
"""3.11 and 3.12: five ints come first."""

_runtime = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
_this_thread = ctypes.pythonapi.PyThreadState_Get
_this_thread.restype = ctypes.c_void_p
_this_thread.argtypes = []


def _place() -> int:
    """Offset of the flag, or 0 where it is not known."""
    if sys.implementation.name != "cpython":
        return 0
    if sys.version_info < (3, 13):
        return _PLACE_BEFORE
    if ctypes.string_at(_runtime, len(_COOKIE)) != _COOKIE:
        return 0
    return ctypes.c_uint64.from_address(_runtime + _PLACE_IN_OFFSETS).value


_offset = _place()


def begin() -> bool:
    """Set the flag, for good.

    Returns:
        False if this interpreter is not known; nothing was changed then.
    """
    if not _offset:
        return False
    flag = ctypes.c_void_p.from_address(_runtime + _offset)
    if flag.value is not None:
        return False
    flag.value = _this_thread()
    if sys.is_finalizing():
        return True
    flag.value = None
    return False
