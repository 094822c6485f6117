"""The kernel's filter: TCP from or to some ports, as a classic BPF program made by hand.

libpcap would compile it, but is not always there, and all that we want is one question. The
program is for a packet socket of type SOCK_DGRAM: its data begins with the IP header. Fragments
and IPv6 packets with extension headers do not pass: no port is to be found at a fixed place.

See: https://docs.kernel.org/networking/filter.html
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from typing import NamedTuple

SNAP = 16 << 10
"""Bytes of a packet that are copied; loopback packets may have 64 KiB."""
SO_ATTACH_FILTER = 26

# linux/bpf_common.h: class | size | mode, class | operation | source
LD_H_IND, LD_B_ABS, LD_H_ABS = 0x48, 0x30, 0x28
LDX_IMM, LDX_MSH = 0x01, 0xB1
AND_K, RET_K = 0x54, 0x06
JA, JEQ, JGT, JGE, JSET = 0x05, 0x15, 0x25, 0x35, 0x45
PACKET_TYPE = 0xFFFFF000 + 4
"""SKF_AD_OFF + SKF_AD_PKTTYPE: an address at which the kernel has the packet's type."""
OUTGOING = socket.PACKET_OUTGOING


class Step(NamedTuple):
    """One instruction: code, jump if true, jump if false, constant."""

    code: int
    jt: int
    jf: int
    k: int


def tcp_ports(ports: Iterable[int], *, outgoing: bool = True) -> list[Step]:
    """Let TCP segments from or to these ports pass, IPv4 and IPv6.

    Args:
        ports: none: nothing passes.
        outgoing: False leaves out what this host sends: on `lo` each packet is seen twice.
    """
    spans = _spans(ports)
    tests: list[Step] = []
    for offset in (0, 2):
        tests.append(Step(LD_H_IND, 0, 0, offset))
        for low, high in spans:
            tests += _test(low, high)
    program: list[Step] = []
    if not outgoing:
        program += [Step(LD_B_ABS, 0, 0, PACKET_TYPE), Step(JEQ, 0, 1, OUTGOING), _ret(0)]
    v6 = [Step(LD_B_ABS, 0, 0, 6), Step(JEQ, 1, 0, socket.IPPROTO_TCP), _ret(0)]
    v6 += [Step(LDX_IMM, 0, 0, 40)]
    v4 = [Step(LD_B_ABS, 0, 0, 9), Step(JEQ, 1, 0, socket.IPPROTO_TCP), _ret(0)]
    v4 += [Step(LD_H_ABS, 0, 0, 6), Step(JSET, 0, 1, 0x1FFF), _ret(0)]
    v4 += [Step(LDX_MSH, 0, 0, 0), Step(JA, 0, 0, len(v6))]
    program += [Step(LD_B_ABS, 0, 0, 0), Step(AND_K, 0, 0, 0xF0)]
    # The version is in A: to v4, to v6 behind it, or to the end.
    program += [Step(JEQ, 2, 0, 0x40), Step(JEQ, 1 + len(v4), 0, 0x60), _ret(0)]
    program += v4
    program += [*v6, *tests, _ret(0)]
    return program


def attach(sock: socket.socket, program: list[Step]) -> None:
    """Make it the socket's filter.

    Raises:
        OSError: the kernel refuses it.
    """
    code = b"".join(struct.pack("HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: a length, padding, a pointer.
    fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


def _test(low: int, high: int) -> list[Step]:
    """Return at once where the port in A is in the range: no jump is ever long."""
    if low == high:
        return [Step(JEQ, 0, 1, low), _ret(SNAP)]
    return [Step(JGE, 0, 2, low), Step(JGT, 1, 0, high), _ret(SNAP)]


def _ret(size: int) -> Step:
    return Step(RET_K, 0, 0, size)


def _spans(ports: Iterable[int]) -> list[tuple[int, int]]:
    """Ports as ranges without gaps."""
    spans: list[tuple[int, int]] = []
    for port in sorted(set(ports)):
        if spans and spans[-1][1] == port - 1:
            spans[-1] = (spans[-1][0], port)
        else:
            spans.append((port, port))
    return spans
