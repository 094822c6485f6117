"""How the front of a log is taken away while its worker writes to the end of it.

Neither collapsing the range nor punching a hole can lose what is appended meanwhile. Where the file
system can do neither the file is truncated, and a line written in that very moment is lost.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from pathlib import Path

from zygote.sys import fallocate
from zygote.sys.logfile import rotated

_COPY_CHUNK = 1 << 20
_LOCK_TRIES = 50


class Live:
    """An open live log: what is in it, and how to take its front out."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Live:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._start = fallocate.data_start(self._fd)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def length(self) -> int:
        """Bytes of data, a leading hole not counted."""
        return os.fstat(self._fd).st_size - self._start

    def cut(self) -> int:
        """How many bytes of data from the front may go: whole blocks, and not the last one."""
        block = max(os.statvfs(self._path).f_frsize, os.sysconf("SC_PAGE_SIZE"))
        end = (os.fstat(self._fd).st_size - 1) // block * block
        return end - self._start

    async def copy_front(self, goal: Path, length: int) -> None:
        """Copy in chunks, with the event loop served in between."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        out = os.open(goal, flags, 0o640)
        try:
            done = 0
            while done < length:
                step = min(_COPY_CHUNK, length - done)
                sent = os.sendfile(out, self._fd, self._start + done, step)
                if sent == 0:
                    raise OSError(errno.EIO, "the log became shorter while it was copied")
                done += sent
                await asyncio.sleep(0)
        except BaseException:
            os.unlink(goal)  # noqa: PTH108 - ruff takes Path's own for slow
            raise
        finally:
            os.close(out)

    async def lock(self) -> None:
        """Keep readers out while files are renamed and the front is cut; until the file is closed.

        Readers hold it for moments. Somebody who holds it for a second is up to no good (a worker
        can lock its own log), and is passed over: a reader may then see a line twice.
        """
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                await asyncio.sleep(1 / _LOCK_TRIES)
            except OSError:
                return  # a file system without locks

    def drop_front(self, length: int, copy: Path | None) -> str:
        """Take `length` bytes of data out of the front; how it was done.

        Args:
            copy: where the front was copied to; what cannot stay is added to it.
        """
        end = self._start + length
        ways = [("collapse", fallocate.collapse)] if self._start == 0 else []
        for how, take_out in [*ways, ("punch", fallocate.punch)]:
            try:
                take_out(self._fd, end)
                return how
            except OSError as error:
                if not fallocate.is_unsupported(error) and error.errno != errno.EINVAL:
                    raise
        if copy is not None:
            self._append_rest(end, copy)
        os.ftruncate(self._fd, 0)
        return "truncate"

    def _append_rest(self, offset: int, copy: Path) -> None:
        """Copy what came after the cut, too, right up to the truncation."""
        with copy.open("ab", buffering=0) as out:
            while data := os.pread(self._fd, _COPY_CHUNK, offset):
                out.write(data)
                offset += len(data)


def copy_of(path: Path) -> Path:
    """Where the front goes while it is copied."""
    return Path(f"{path}.new")


def shift(path: Path, keep: int) -> Path:
    """NAME.log.1 -> .2 and so on, what is beyond `keep` goes, and the copy becomes NAME.log.1."""
    older = rotated(path)
    for extra in older[keep - 1 :]:
        extra.unlink()
    for number in range(min(len(older), keep - 1), 0, -1):
        Path(f"{path}.{number}").rename(f"{path}.{number + 1}")
    return copy_of(path).rename(f"{path}.1")
