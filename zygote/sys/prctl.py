"""Settings of the calling process that only prctl(2) reaches.

Facts about prctl(2), for the operations used here:

- The name (PR_SET_NAME) is the calling thread's, 15 bytes at most; it is what `ps -o comm` and
  /proc/PID/comm show. A clone inherits it.
- PR_GET_TID_ADDRESS gives the address that glibc handed to set_tid_address(2): the word in its
  thread descriptor where it keeps the thread's id. EINVAL where the kernel has no
  CONFIG_CHECKPOINT_RESTORE.
- PR_SET_PDEATHSIG is sent when the thread that made us ends; a clone does not inherit it, and exec
  keeps it.
- PR_SET_CHILD_SUBREAPER (3.4) is not inherited; orphans below us become our children.
- PR_SET_THP_DISABLE (3.15) is inherited by clones and kept across exec.
- PR_SET_NO_NEW_PRIVS (3.5) is inherited and can never be taken back.
- It is variadic in C; the kernel wants unused arguments to be 0 for some operations, so all five
  are always passed.
"""

from __future__ import annotations

import ctypes
import os

_PR_GET_SECUREBITS, _PR_SET_SECUREBITS = 27, 28
_SET_DEATH_SIGNAL = 1
_SET_NAME = 15
_SET_CHILD_SUBREAPER = 36
_GET_CHILD_SUBREAPER = 37
_SET_NO_NEW_PRIVS = 38
_GET_TID_ADDRESS = 40
_SET_THP_DISABLE = 41

_libc = ctypes.CDLL(None, use_errno=True)
_prctl = _libc["prctl"]
_prctl.restype = ctypes.c_int
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
# A buffer would be a new ctypes type for each length, made by each worker that sets its name.
_prctl_text = _libc["prctl"]
_prctl_text.restype = ctypes.c_int
_prctl_text.argtypes = [ctypes.c_int, ctypes.c_char_p, *[ctypes.c_ulong] * 3]


def set_name(name: str) -> None:
    """Name this thread (of a one-threaded process: the process), cut to 15 bytes."""
    _prctl_text(_SET_NAME, name.encode()[:15], 0, 0, 0)  # cannot fail


def set_death_signal(number: int) -> None:
    """Get this signal when our parent ends; a parent that has ended already sends none.

    See: PR_SET_PDEATHSIG(2const).
    """
    _call(_SET_DEATH_SIGNAL, number)


def set_child_subreaper(on: bool = True) -> None:
    """Become the parent of descendants whose own parent ends; undone by False.

    See: PR_SET_CHILD_SUBREAPER(2const).
    """
    _call(_SET_CHILD_SUBREAPER, int(on))


def is_child_subreaper() -> bool:
    """Whether `set_child_subreaper` is in force for this process."""
    word = ctypes.c_int(0)
    _call(_GET_CHILD_SUBREAPER, ctypes.addressof(word))
    return bool(word.value)


def set_no_new_privs() -> None:
    """Let no exec raise privileges any more, here and in all descendants, for ever."""
    _call(_SET_NO_NEW_PRIVS, 1)


def securebits() -> int:
    """How this process treats uid 0 (capabilities(7), "The securebits flags")."""
    return int(_prctl(_PR_GET_SECUREBITS, 0, 0, 0, 0))


def set_securebits(bits: int) -> None:
    """Change them.

    Raises:
        OSError: EPERM, without CAP_SETPCAP, or one is locked.
    """
    _call(_PR_SET_SECUREBITS, bits)


def set_thp_disable(on: bool = True) -> None:
    """Give this process, and what is cloned from it, no transparent huge pages.

    See: PR_SET_THP_DISABLE(2const). Memory that already is in a huge page stays so.
    """
    _call(_SET_THP_DISABLE, int(on))


def tid_address() -> int:
    """Where this thread's id is kept by libc.

    Raises:
        OSError: EINVAL, the kernel was built without CONFIG_CHECKPOINT_RESTORE.
    """
    address = ctypes.c_void_p()
    _call(_GET_TID_ADDRESS, ctypes.addressof(address))
    return address.value or 0


def _call(operation: int, argument: int) -> None:
    if _prctl(operation, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
