"""Memory that can go back to how it was: a private mapping of a file that nobody can write to.

Facts about memfd_create(2), mmap(2) and madvise(2):

- A private mapping of a file shares the file's pages until it is written to; a page that is written
  to is copied first, as after a fork. MADV_DONTNEED drops the copies: the next look finds the
  file's page again. (Of anonymous memory it would make zeros.)
- MAP_FIXED puts one mapping in the place of another in one step. Code that lies there may run on.
- With F_SEAL_WRITE nobody writes to the file any more, root included, by whatever way he came to
  it; private mappings of it are still written to, as copies.
- The file has no name and lives as long as it is mapped. Its pages count as shared memory (`Shmem`
  in /proc/meminfo), once for all, and are charged to who wrote the file.
- A fork copies page table entries of such a mapping only where its process has written to it.
- A page that one process alone has mapped counts as that one's own. So the process that all others
  are forked from maps all of them once more, only to read: MADV_POPULATE_READ (22; Linux 5.14). It
  may write to its copies then.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os

NAME, LOOKUPS = "zygote-code", "zygote-lookups"
PATH, LOOKUPS_PATH = (f"/memfd:{name} (deleted)" for name in (NAME, LOOKUPS))
"""In /proc/PID/maps."""

_DONTNEED, _POPULATE_READ = 4, 22
_FIXED = 0x10
_RIGHTS = mmap.PROT_READ | mmap.PROT_WRITE
_FAILED = ctypes.c_void_p(-1).value
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL

_libc = ctypes.CDLL(None, use_errno=True)
_mmap, _write = _libc.mmap, _libc.write
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
]  # fmt: skip
_write.restype = ctypes.c_ssize_t
_write.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
# With the GIL kept: no other thread of Python is in the middle of anything that lies there.
_madvise = ctypes.PyDLL(None)["madvise"]
_madvise.restype = ctypes.c_int
_madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

_kept: dict[str, dict[int, tuple[int, int]]] = {}


def take(size: int) -> int:
    """Memory of our own, never given back; the address of its first page. It is not kept yet.

    Raises:
        OSError: ENOMEM.
    """
    return _map(None, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1)


def keep(address: int, size: int, name: str = NAME, *, clears: int = 0) -> int:
    """Whatever is in this memory now is what `restore` brings back, here and in clones.

    Args:
        address: of whole pages of private memory.
        name: of the file.
        clears: address of four bytes elsewhere that are set to zero with each `restore`.
    Returns:
        The address at which it can be read from now on, too.
    Raises:
        OSError: ENOSYS (no memfd), EINVAL (no seals), ENOMEM, ENOSPC. Nothing has changed then.
    """
    file = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        done = 0
        while done < size:
            # Straight from there: a copy on the heap would be another hole.
            count = _write(file, address + done, size - done)
            if count < 0:
                raise _error()
            done += count
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        again = _map(None, size, mmap.MAP_PRIVATE, file, mmap.PROT_READ)
        _map(address, size, mmap.MAP_PRIVATE | _FIXED, file)
    finally:
        os.close(file)
    _madvise(again, size, _POPULATE_READ)  # before 5.14 the first reader has them as its own
    _kept.setdefault(name, {})[address] = size, clears
    return again


def forget(name: str) -> None:
    """Let `restore` do nothing for this name."""
    _kept.pop(name, None)


def restore(name: str = NAME) -> bool:
    """Bring back what was kept, and give our copies to the kernel; whether there was any."""
    kept = _kept.get(name, {})
    for address, (size, clears) in kept.items():
        _madvise(address, size, _DONTNEED)
        if clears:
            ctypes.c_uint32.from_address(clears).value = 0
    return bool(kept)


def _map(address: int | None, size: int, flags: int, file: int, rights: int = _RIGHTS) -> int:
    found = _mmap(address, size, rights, flags, file, 0)
    if found in (None, _FAILED):
        raise _error()
    return int(found)


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
