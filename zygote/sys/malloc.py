"""glibc's allocator: how many arenas it may make, giving free memory back, filling its holes.

Facts about mallopt(3) and malloc_trim(3):

- Each thread that allocates may get an arena of its own, 64 MiB of address space, whose touched
  pages stay when the thread ends. Left from a warm-up they are half empty, and every clone that
  starts a thread allocates from them: pages that were shared are copied.
- M_ARENA_MAX = 1 keeps all threads on the main heap. 0 restores the default (8 per core). glibc
  reads the limit when a second thread first allocates and keeps *that* value for the process's
  life: so the restoration counts only where no thread ran in between.
- mallopt consolidates the main arena, that is, it writes to the heap. It belongs before the
  freeze, never into a clone.
- Chunks of the main heap lie between the program and sbrk(2)'s break; large ones (from 128 KiB,
  more once one of these was freed) and those of other arenas are mapped elsewhere.
- musl has no mallopt and no malloc_trim: the functions then do nothing and say so.
"""

from __future__ import annotations

import ctypes
import mmap
import os

_ARENA_MAX = -8
_FILL_LIMIT = 256 << 20
_FILL_SIZES = [1 << bits for bits in range(17, 9, -1)] + [*range(1024, 16, -16), 24]
"""Large chunks first, so that they are not eaten up by small ones."""
_CACHED_MOST = 1032
"""A smaller block that is freed is kept aside and handed out next, out of order."""

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.restype = None
_libc.free.argtypes = [ctypes.c_void_p]
_libc.sbrk.restype = ctypes.c_void_p
_libc.sbrk.argtypes = [ctypes.c_ssize_t]


def limit_arenas(count: int) -> bool:
    """Let malloc make at most `count` arenas; 0 is its own default.

    Returns:
        False where libc cannot, or where the environment sets the limit (MALLOC_ARENA_MAX,
        GLIBC_TUNABLES): that is somebody's decision and is left alone.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "MALLOC_ARENA_MAX" in os.environ or "malloc.arena_max" in tunables:
        return False
    try:
        return bool(_libc.mallopt(_ARENA_MAX, count))
    except AttributeError:
        return False


def trim() -> bool:
    """Give all whole free pages of all arenas back to the kernel; False if libc cannot."""
    try:
        _libc.malloc_trim(0)
    except AttributeError:
        return False
    return True


def fill() -> int:
    """Take every free chunk inside malloc's main heap, for good; 0 where libc is not glibc.

    What is asked for afterwards comes from the end of the heap, from fresh pages.

    Returns:
        Bytes taken. No more than 256 MB are.
    """
    if not hasattr(_libc, "gnu_get_libc_version") or not trim():
        return 0
    # Trimmed, the heap ends within a page after its last chunk: whatever lies beyond was no hole.
    end = (_libc.sbrk(0) or 0) - 2 * mmap.PAGESIZE
    taken = 0
    for size in _FILL_SIZES:
        while taken < _FILL_LIMIT:
            address = _libc.malloc(size) or 0
            if not 0 < address < end:
                if size > _CACHED_MOST:
                    _libc.free(address)
                break
            taken += size
    return taken
