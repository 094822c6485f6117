"""File descriptors: which are open, closing the others, and sending them over a UNIX socket.

Facts about SCM_RIGHTS (unix(7)) and /proc/self/fd:

- The receiver gets *new* numbers for the same open files; offsets, flags and flock locks are
  shared with the sender. MSG_CMSG_CLOEXEC sets close-on-exec on arrival, atomically.
- What does not fit into the receiver's ancillary buffer is closed by the kernel and MSG_CTRUNC is
  set. One message carries at most 253 descriptors.
- A SEQPACKET socket keeps packets whole; one that is longer than the buffer is cut and MSG_TRUNC
  is set. A packet of 0 bytes looks like the end of the connection: nobody here sends one.
- The listing of /proc/self/fd holds the descriptor that reads it.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_INT = array.array("i").itemsize
_LAST = 2**31 - 1
spared: set[int] = set()
"""Not to be closed by us: a library trusts in them."""


class Received(NamedTuple):
    """What one `receive_into` brought.

    Attributes:
        size: bytes now in the buffer; 0 at the end of the connection.
        fds: new descriptors, close-on-exec; the caller owns them.
        whole: nothing of the packet and none of its descriptors was cut off.
        fds_lost: descriptors were cut off: there was no number left for them (RLIMIT_NOFILE), or
            there were more than `max_fds`.
    """

    size: int
    fds: tuple[int, ...]
    whole: bool
    fds_lost: bool


def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """Send one packet with descriptors, which stay the caller's.

    Raises:
        OSError: BrokenPipeError when the other end is gone; EMSGSIZE for a packet larger than the
            socket's send buffer; ETOOMANYREFS when too many descriptors are in flight.
    """
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive_into(sock: socket.socket, buffer: memoryview, max_fds: int) -> Received:
    """Receive one packet into a buffer of the caller's, allocating nothing that stays.

    Raises:
        OSError: BlockingIOError on a non-blocking socket with nothing to read; EMFILE does not
            come: the kernel then cuts off descriptors, and `whole` is False.
    """
    size, ancillary, flags, _ = sock.recvmsg_into(
        [buffer], socket.CMSG_SPACE(max_fds * _INT), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % _INT])
    cut = flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
    return Received(size, tuple(fds), not cut, bool(flags & socket.MSG_CTRUNC))


def close(fds: Iterable[int]) -> None:
    """Close descriptors that the caller owns."""
    for descriptor in fds:
        os.close(descriptor)


def spare(numbers: Iterable[int]) -> None:
    """From now on `close_others` leaves these alone, too, here and in clones."""
    spared.update(numbers)


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor but those in `keep`, and those that `spare` named.

    See: close_range(2), which os.closerange uses where the kernel has it (5.9).
    """
    start = 0
    for descriptor in sorted({*keep, *spared}):
        if start < descriptor:  # os.closerange takes an empty range for one without end
            os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, _LAST)


def open_fds() -> dict[int, str]:
    """Every open descriptor and what it is: a path, "socket:[INODE]", "anon_inode:[eventpoll]"."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 (twice a module while a floor bakes)
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found
