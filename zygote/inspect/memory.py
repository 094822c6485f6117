"""Read another process's memory, without a trace in it.

Facts this rests on (proc_pid_mem(5), ptrace(2) "Ptrace access mode checking"):

- /proc/PID/mem is read by address. Reading takes a page as it is: nothing is copied, no count
  rises; only a page that was swapped out comes back.
- Opening it needs PTRACE_MODE_ATTACH: the same user and a process that may be dumped (one that has
  changed its uid may not), or CAP_SYS_PTRACE; and what the Yama module adds: with
  kernel.yama.ptrace_scope = 1 only an ancestor may, which we are not, 2 asks for the capability,
  3 refuses everybody.
- Addresses where nothing is mapped give EIO, those above 2^63 EINVAL.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from zygote.errors import Exit, ZygoteError
from zygote.sys.pagemap import PAGE

_KEPT = 1 << 14
"""Pages that are kept: 64 MiB."""
_BLANK = bytes(PAGE)


class Memory:
    """The memory of a process, read page by page and kept.

    Raises:
        ZygoteError: codes gone, not-allowed; on opening.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        with explained(pid):
            self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._pages: dict[int, bytes] = {}

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """Drop the pages that are kept."""
        self._pages.clear()

    def page(self, address: int) -> bytes:
        """The page that begins at this address; zeros where nothing can be read."""
        found = self._pages.get(address)
        if found is None:
            if len(self._pages) >= _KEPT:
                self._pages.clear()
            try:
                found = os.pread(self._fd, PAGE, address)
            except (OSError, OverflowError):
                found = _BLANK
            self._pages[address] = found
        return found

    def read(self, address: int, size: int) -> bytes:
        """So many bytes from an address on; zeros where nothing can be read."""
        begin = address & -PAGE
        if address + size <= begin + PAGE:
            return self.page(begin)[address - begin : address - begin + size]
        parts = [self.page(at) for at in range(begin, address + size, PAGE)]
        return b"".join(parts)[address - begin : address - begin + size]

    def slab(self, address: int, size: int) -> bytes:
        """The same for much at once, which is not kept; shorter where it cannot be read."""
        try:
            return os.pread(self._fd, size, address)
        except (OSError, OverflowError):
            return b""

    def word(self, address: int) -> int:
        """The 8 bytes at an address, as a number; 0 where nothing can be read."""
        raw = self.page(address & -PAGE)
        at = address & (PAGE - 1)
        if at > PAGE - 8:
            raw, at = self.read(address, 8), 0
        return int.from_bytes(raw[at : at + 8], "little")

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """So many words from an address on."""
        return struct.unpack(f"<{count}Q", self.read(address, count * 8))

    def text(self, address: int, most: int = 200) -> str:
        """The C string at an address; "" if there is none of printable ASCII."""
        if address < PAGE:
            return ""
        raw = self.read(address, most).partition(b"\0")[0]
        return raw.decode() if raw.isascii() and raw.decode("ascii").isprintable() else ""


@contextlib.contextmanager
def explained(pid: int) -> Iterator[None]:
    """Say in plain words why a process's memory cannot be looked at.

    Raises:
        ZygoteError: codes gone, not-allowed.
    """
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise ZygoteError(
            f"no process {pid}",
            code="gone",
            hint="it has ended meanwhile, or never was",
            exit_code=Exit.NOT_RUNNING,
        ) from None
    except PermissionError as error:
        raise ZygoteError(
            f"the memory of process {pid} may not be read: {error.strerror}",
            code="not-allowed",
            errno=error.errno or 0,
            hint=_way_out(pid),
            exit_code=Exit.NOT_ALLOWED,
        ) from None


def _way_out(pid: int) -> str:
    scope = _yama()
    if scope >= 3:
        return "kernel.yama.ptrace_scope is 3: nobody may, until the machine starts anew"
    with contextlib.suppress(OSError):
        owner = Path(f"/proc/{pid}").stat().st_uid
        if owner != os.geteuid():
            return f"it belongs to uid {owner}, we are uid {os.geteuid()}: use sudo"
    if scope:
        return (
            f"kernel.yama.ptrace_scope is {scope}: use sudo, or for now: "
            "sudo sysctl kernel.yama.ptrace_scope=0"
        )
    return "it may not be looked at by its own user (it cannot be dumped): use sudo"


def _yama() -> int:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return 0
