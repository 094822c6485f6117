"""Putting memory that is there already into huge pages.

Facts about madvise(2) with MADV_COLLAPSE (25; Linux 6.1):

- It copies the pages of each aligned 2 MiB of the range into one huge page, at once and whatever
  /sys/kernel/mm/transparent_hugepage/enabled says, but not where PR_SET_THP_DISABLE is in force.
  Pages that were never touched become touched.
- EINVAL: the kernel does not know it, or the range is not one mapping that may have huge pages.
  ENOMEM, EAGAIN, EBUSY: not now; what was done stays done.
- fork(2) copies one entry for a huge page, where 512 small ones take 512.
- A write to a huge page that a clone shares splits it and copies 4 KiB (Linux 5.8): it costs no
  more memory than a write to a small one.
"""

from __future__ import annotations

import ctypes
import os

SIZE = 2 << 20
_COLLAPSE = 25
_PRESENT_ALONE = 0x81
"""Bits 63 and 56 of an entry of pagemap."""

_libc = ctypes.CDLL(None, use_errno=True)
_madvise = _libc["madvise"]
_madvise.restype = ctypes.c_int
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def collapse(begin: int) -> int:
    """Put the 2 MiB from an aligned address into a huge page; 0, or the errno."""
    return 0 if _madvise(begin, SIZE, _COLLAPSE) == 0 else ctypes.get_errno()


def blocks() -> list[int]:
    """Addresses of the aligned 2 MiB that lie wholly in private, writable, anonymous memory."""
    found: list[int] = []
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            # begin-end perms offset device inode [path]
            words = line.split(maxsplit=5)
            if words[1] != b"rw-p" or (len(words) > 5 and words[5].strip() != b"[heap]"):
                continue
            begin, end = (int(word, 16) for word in words[0].split(b"-"))
            found += range(-(-begin // SIZE) * SIZE, end - SIZE + 1, SIZE)
    return found


def page_size() -> int:
    """Bytes of a huge page here; 0 where the kernel has none for anonymous memory."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "rb") as size:
            return int(size.read())
    except (OSError, ValueError):
        return 0


def resident(address: int) -> int:
    """Small pages, of the 512 from an address, that are in memory and mapped by nobody else.

    One that a zygote shares with a branch would be copied. See proc_pid_pagemap(5).
    """
    count = SIZE // os.sysconf("SC_PAGESIZE")
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(address // os.sysconf("SC_PAGESIZE") * 8)
        entries = pagemap.read(count * 8)
    return sum(byte & _PRESENT_ALONE == _PRESENT_ALONE for byte in entries[7::8])
