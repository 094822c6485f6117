"""A packet socket of our own, read by the loop: filtered in the kernel, bounded in every way.

Beyond the kernel's buffer packets are dropped there, and counted. A flood costs at most
`packets_per_second`: when they are used up, the socket is left alone until the next slice.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Mapping

from decnet.packets import bpf

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_MR_PROMISC = 263, 1, 6, 1
SO_TIMESTAMPNS = 35
BUFFER = 4 << 20
"""Asked of the kernel; it gives what net.core.rmem_max allows."""
AT_ONCE = 64
"""Packets in one turn of the loop: others want their turn too."""
SLICE = 0.1
"""Seconds over which the rate is counted."""
Handler = Callable[[bytes, float], None]


class CannotCapture(Exception):
    """No packets from this interface now; the text says what is missing, the hint what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


class Capture:
    """Packets of an interface, from `start` to `close`. Make it after the fork.

    Args:
        interface: its name.
        ports: TCP ports of which either end may be one.
        packets_per_second: given to the handler at most.
    Raises:
        CannotCapture: a capability, or the interface, is missing.
    """

    def __init__(
        self, interface: str, ports: Mapping[int, object], packets_per_second: int
    ) -> None:
        self._sock = _open(interface, ports)
        self._per_slice = max(1, int(packets_per_second * SLICE))
        self._left = self._per_slice
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.broken: asyncio.Future[OSError] | None = None
        """Done when the interface went away."""
        self.received = 0
        self.dropped = 0

    def start(self, handle: Handler) -> None:
        """Call `handle(packet, time)` for each packet: bytes from the IP header on, epoch."""
        self._loop = asyncio.get_running_loop()
        self.broken = self._loop.create_future()
        self._handle = handle
        self._loop.add_reader(self._sock, self._read)
        self._timer = self._loop.call_later(SLICE, self._next_slice)

    def close(self) -> None:
        """Stop. Safe to call twice."""
        if self._loop is not None:
            self._loop.remove_reader(self._sock)
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()
        self._loop = self._timer = None

    def count_drops(self) -> int:
        """Packets that the kernel dropped so far, because we were too slow or paused."""
        try:
            data = self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        except OSError:
            return self.dropped
        self.dropped += struct.unpack("II", data)[1]  # reading it sets it to zero
        return self.dropped

    # -- below

    def _read(self) -> None:
        for _ in range(AT_ONCE):
            if self._left <= 0:
                assert self._loop is not None
                self._loop.remove_reader(self._sock)
                return
            try:
                data, extra, _, _ = self._sock.recvmsg(bpf.SNAP, 64)
            except BlockingIOError:
                return
            except OSError as error:  # ENETDOWN: set down, or gone
                self._break(error)
                return
            self.received += 1
            self._left -= 1
            self._handle(data, _time_of(extra))

    def _next_slice(self) -> None:
        assert self._loop is not None
        if self._left <= 0:
            self._loop.add_reader(self._sock, self._read)
        self._left = self._per_slice
        self._timer = self._loop.call_later(SLICE, self._next_slice)

    def _break(self, error: OSError) -> None:
        assert self._loop is not None and self.broken is not None
        self._loop.remove_reader(self._sock)
        if not self.broken.done():
            self.broken.set_result(error)


def _open(interface: str, ports: Mapping[int, object]) -> socket.socket:
    loopback = interface == "lo"
    try:
        # Protocol 0: nothing comes in until the filter is there and the socket bound.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    except PermissionError:
        raise CannotCapture(
            "CAP_NET_RAW", "run the fleet as root, or give the manager CAP_NET_RAW"
        ) from None
    except OSError as error:
        raise CannotCapture(f"packet sockets ({error.strerror})", "see: packet(7)") from error
    try:
        bpf.attach(sock, bpf.tcp_ports(ports, outgoing=not loopback))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((interface, ETH_P_ALL))
        if not loopback:
            # A decky's packets may carry a hardware address that is not the interface's.
            index = socket.if_nametoindex(interface)
            member = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
            sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, member)
    except OSError as error:
        sock.close()
        raise CannotCapture(
            f"the interface {interface!r} ({error.strerror})",
            "see: ip -brief link; set DECNET_SNIFFER_IFACE",
        ) from error
    return sock


def _time_of(extra: list[tuple[int, int, bytes]]) -> float:
    """When the kernel saw it: our own turn may come later."""
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(data) >= 16:
            seconds, nanoseconds = struct.unpack("qq", data[:16])
            return float(seconds + nanoseconds / 1e9)
    return time.time()
