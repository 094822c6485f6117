"""Let a process that was just cloned wait, before it has written to hardly any page.

Facts that it rests on:

- A clone shares all pages with the process that it was cloned from until one of them writes. What
  Python's own fork hooks write (locks, the thread state, `random`) is about 200 KB of pages.
- Whoever makes one clone after the other keeps writing, too, and the pages as they were then stay
  with the clone alone: one more reason to make several in one go (`clone3.make`).
- poll(2) reports the end of the other side (POLLHUP) like something to read.

So the calls here are made before the hooks, straight to the C library. They allocate nothing that
stays, take no lock, and cannot raise but for a signal that Python handles.
"""

from __future__ import annotations

import ctypes
import select

from zygote.sys import fds

_CLOSE_RANGE = 436  # the same on all architectures; kernel 5.9
_SET_NAME = 15
_CLOEXEC = 0o2000000
_LAST = 2**31 - 1

_libc = ctypes.PyDLL(None, use_errno=True)
_poll, _dup3, _setsid = _libc.poll, _libc.dup3, _libc.setsid
_poll.argtypes = [ctypes.c_void_p, ctypes.c_ulong, ctypes.c_int]
_dup3.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
_prctl = _libc.prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] * 4


class _Pollfd(ctypes.Structure):
    """struct pollfd of poll.h."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_waits = _Pollfd(-1, select.POLLIN, 0)
_waits_address = ctypes.addressof(_waits)
_name = ctypes.create_string_buffer(16)
_name_address = ctypes.addressof(_name)
_kept: list[int] = []


def prepare(name: str) -> None:
    """Before the clone: how `ps` shall call it (15 bytes are kept), and what stays open."""
    _name.value = name.encode()[:15]
    _kept[:] = sorted(fds.spared)


def wait(own: int, place: int) -> None:
    """In the clone: lead a session, keep one socket, and wait until that has something to tell.

    Args:
        own: the socket.
        place: the number to put it under; every other descriptor but 0 to 2, and those that are
            spared and have higher numbers, is closed.
    """
    _setsid()
    _dup3(own, place, _CLOEXEC)
    if place > 3:
        _syscall(_CLOSE_RANGE, 3, place - 1, 0)
    start = place + 1
    for spared in _kept:
        if start < spared:
            _syscall(_CLOSE_RANGE, start, spared - 1, 0)
        if start <= spared:
            start = spared + 1
    _syscall(_CLOSE_RANGE, start, _LAST, 0)
    _prctl(_SET_NAME, _name_address, 0, 0, 0)
    _waits.fd = place
    while _poll(_waits_address, 1, -1) < 0:
        pass
