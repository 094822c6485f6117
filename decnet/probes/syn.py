"""A TCP stack by its answer to one raw SYN: made and read by scapy, never completed.

The SYN leaves from a port that is bound for the while, so it is nobody else's; the kernel answers
the SYN-ACK with a RST, as it is its habit where no connection is. IPv4 only: a raw IPv6 socket
does not show the headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time

from decnet.packets import bpf
from decnet.packets.dissect import ACK, RST, SYN, Segment, dissect
from decnet.packets.light import IP, TCP
from decnet.packets.stack import stack_print
from decnet.probes.talk import Closed, Result, Silent, Wire

OPTIONS = [
    ("MSS", 1460),
    ("SAckOK", b""),
    ("Timestamp", (0x10000, 0)),
    ("NOP", None),
    ("WScale", 8),
]
WINDOW = 64_240


class NotAllowed(Exception):
    """CAP_NET_RAW is missing."""


async def read_stack(wire: Wire) -> Result:
    """The fingerprint of the stack behind a port.

    Raises:
        NotAllowed: no raw sockets for us.
        Closed: refused, or no answer. Silent: an IPv6 address.
    """
    if ":" in wire.ip:
        raise Silent("IPv6 is not probed by raw SYN")
    await asyncio.sleep(wire.gap)
    with contextlib.ExitStack() as stack:
        source, port = _reserve(wire, stack)
        sock = stack.enter_context(_raw({port}))
        sock.connect((wire.ip, 0))
        seq = random.getrandbits(32)
        packet = IP(src=source, dst=wire.ip) / TCP(
            sport=port, dport=wire.port, flags="S", seq=seq, window=WINDOW, options=OPTIONS
        )
        try:
            async with asyncio.timeout(wire.timeout):
                # The kernel makes the IP header; the checksum was made with these addresses.
                await asyncio.get_running_loop().sock_sendall(sock, bytes(packet)[20:])
                answer = await _answer(sock, wire, port, seq)
        except (OSError, TimeoutError) as error:
            raise Closed(str(error) or "no answer to a SYN") from None
    found = stack_print(answer)
    return Result(
        "tcpfp",
        "tcpfp_fingerprint",
        found.hash,
        {
            "tcpfp": found.hash,
            "tcpfp_raw": found.signature,
            "os_guess": found.os_guess,
            "ttl": str(answer.ttl),
            "window": str(found.window),
            "mss": str(found.mss),
            "options": found.layout,
        },
    )


async def _answer(sock: socket.socket, wire: Wire, port: int, seq: int) -> Segment:
    loop = asyncio.get_running_loop()
    while True:
        segment = dissect(await loop.sock_recv(sock, bpf.SNAP), time.time())
        if segment is None or (segment.src, segment.sport) != (wire.ip, wire.port):
            continue
        if segment.dport != port or segment.ack != (seq + 1) % (1 << 32):
            continue
        if segment.flags & RST:
            raise Closed("refused")
        if segment.flags & (SYN | ACK) == SYN | ACK:
            return segment


def _reserve(wire: Wire, stack: contextlib.ExitStack) -> tuple[str, int]:
    """Our address towards the target, and a port that nobody else gets meanwhile."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as towards:
            towards.connect((wire.ip, wire.port))
            source = towards.getsockname()[0]
        sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        sock.bind((source, 0))
    except OSError as error:
        raise Closed(str(error)) from None
    return source, int(sock.getsockname()[1])


def _raw(ports: set[int]) -> socket.socket:
    try:
        sock = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_TCP
        )
    except PermissionError:
        raise NotAllowed("CAP_NET_RAW") from None
    try:
        bpf.attach(sock, bpf.tcp_ports(ports))
    except BaseException:
        sock.close()
        raise
    return sock
