"""From a packet's bytes to a TCP segment, by scapy; None for whatever is not one."""

from __future__ import annotations

from typing import Any, NamedTuple

from decnet.packets.light import IP, TCP, IPv6

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
HEADERS_MOST = 60 + 60
"""Bytes of the longest IPv4 header with the longest TCP header."""


class Segment(NamedTuple):
    """One TCP segment. `payload` may be shorter than `length`: a capture cuts long packets."""

    time: float
    version: int
    src: str
    sport: int
    dst: str
    dport: int
    flags: int
    seq: int
    ack: int
    window: int
    ttl: int
    ip_id: int
    dont_fragment: bool
    options: tuple[tuple[str, Any], ...]
    length: int
    payload: bytes


def dissect(data: bytes, time: float) -> Segment | None:
    """The segment in a packet that begins with its IP header. Never raises.

    Args:
        data: bytes of any kind.
        time: when it was seen, epoch seconds.
    """
    try:
        return _dissect(data, time)
    except Exception:  # scapy on bytes that an attacker made: whatever it is, it is no segment
        return None


def _dissect(data: bytes, time: float) -> Segment | None:
    version = data[0] >> 4 if data else 0
    # Headers only: the payload is sliced from the bytes, not taken apart.
    if version == 4:
        packet: Any = IP(data[:HEADERS_MOST])
        ip_header, total = packet.ihl * 4, packet.len
        ttl, ip_id, whole = packet.ttl, packet.id, bool(packet.flags.DF)
    elif version == 6:
        packet = IPv6(data[:HEADERS_MOST])
        ip_header, total = 40, packet.plen + 40
        ttl, ip_id, whole = packet.hlim, 0, True
    else:
        return None
    tcp = packet.payload
    if not isinstance(tcp, TCP) or tcp.dataofs < 5:
        return None
    start = ip_header + tcp.dataofs * 4
    if total < start or len(data) < start:
        return None
    return Segment(
        time=time,
        version=version,
        src=packet.src,
        sport=tcp.sport,
        dst=packet.dst,
        dport=tcp.dport,
        flags=int(tcp.flags),
        seq=tcp.seq,
        ack=tcp.ack,
        window=tcp.window,
        ttl=ttl,
        ip_id=ip_id,
        dont_fragment=whole,
        options=tuple(tcp.options) if tcp.dataofs > 5 else (),
        length=total - start,
        payload=data[start:total],
    )
