"""Take bytes out of the front of a file that somebody else is appending to.

Facts about fallocate(2) and lseek(2) on holes:

- FALLOC_FL_COLLAPSE_RANGE takes [offset, offset + length) out and moves the rest down, atomically
  against writers: an O_APPEND writer lands at the new end, nothing is lost. Offset and length must
  be multiples of the file system's block, and the range must end before the end of file (EINVAL).
  ext4 and XFS have it; tmpfs, btrfs, FUSE and NFS answer EOPNOTSUPP.
- FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE frees the blocks and leaves every offset as it was:
  the file stays long and becomes sparse. ext4, XFS, btrfs, tmpfs, FUSE, NFS 4.2.
- SEEK_DATA finds the first byte that is not in a hole, to the page or block; ENXIO where there is
  none. A file system that knows no holes says that all is data.
- A hole reads as zero bytes: who reads a log must start at `data_start`.
"""

from __future__ import annotations

import ctypes
import errno
import os

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_COLLAPSE_RANGE = 0x08

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate64
# off64_t is 64 bits on every machine; an untyped int would be passed as 32.
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_fallocate.restype = ctypes.c_int


def collapse(fd: int, length: int) -> None:
    """Take the first `length` bytes out of the file; what follows moves to the front.

    Raises:
        OSError: EOPNOTSUPP (file system, or fallocate itself: ENOSYS), EINVAL (not a multiple of
            the block, or not before the end), EBADF (not open for writing).
    """
    _call(fd, _COLLAPSE_RANGE, 0, length)


def punch(fd: int, length: int) -> None:
    """Free the blocks of the first `length` bytes; offsets and size stay.

    Raises:
        OSError: EOPNOTSUPP, ENOSYS, EBADF.
    """
    _call(fd, _PUNCH_HOLE | _KEEP_SIZE, 0, length)


def is_unsupported(error: OSError) -> bool:
    """Whether this says "not on this file system", rather than "not this time"."""
    return error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.EPERM, errno.ESPIPE)


def data_start(fd: int) -> int:
    """Offset of the first byte that is not in a leading hole; the size where all is a hole."""
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return os.fstat(fd).st_size
        return 0  # EINVAL: a file system without SEEK_DATA has no holes to skip


def _call(fd: int, mode: int, offset: int, length: int) -> None:
    while _fallocate(fd, mode, offset, length) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
