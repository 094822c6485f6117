"""The DNS side: authoritative for one zone, an address for every slug, known or not."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Any

from dnslib import QTYPE, RCODE, RR, SOA, A, DNSHeader, DNSRecord  # type: ignore[import-untyped]

from decnet.canary.bell import Bell
from decnet.canary.hit import slug_of_name
from zygote import sockets

QUERY_MOST = 1232
"""Bytes; more is no question that we answer."""
TTL, SOA_TTL = 0, 60
_MORE = {"A", "ANY"}


def answer(data: bytes, zone: str, address: str) -> tuple[bytes | None, str, str]:
    """The answer to a packet: bytes (None: say nothing), the slug that was asked for, the name.

    Never raises. An answer is hardly longer than its question: of no use to amplify a flood.
    """
    if not 12 <= len(data) <= QUERY_MOST:
        return None, "", ""
    try:
        query = DNSRecord.parse(data)
        if query.header.qr:
            return None, "", ""
        if query.header.opcode or len(query.questions) != 1:
            return _short(query.header.id, RCODE.NOTIMP if query.header.opcode else RCODE.FORMERR)
        return _answer(query, zone, address)
    except Exception:  # dnslib raises what it likes on broken packets
        if data[2] & 0x80:
            return None, "", ""
        return _short(int.from_bytes(data[:2], "big"), RCODE.FORMERR)


class Server(asyncio.DatagramProtocol):
    """Answers on a UDP socket."""

    def __init__(self, bell: Bell, zone: str, address: str, counts: Counter[str]) -> None:
        self._bell = bell
        self._zone = zone
        self._address = address
        self._counts = counts
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._counts["queries"] += 1
        reply, slug, name = answer(data, self._zone, self._address)
        if slug:
            self._bell.dns(slug, str(addr[0]), name)
        if reply is not None:
            self._transport.sendto(reply, addr)
        else:
            self._counts["bad_queries"] += 1

    def error_received(self, exc: Exception) -> None:
        self._counts["send_errors"] += 1  # a port that is closed by now


def bind(host: str, port: int) -> socket.socket:
    """A UDP socket, non-blocking: of the process before this one, or a new one.

    Raises:
        OSError: taken, not allowed, no such address.
    """
    name = f"udp-{host}-{port}".replace(":", ".")
    sock = sockets.listener(name, lambda: _bind(host, port))
    sock.setblocking(False)
    return sock


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def _answer(query: DNSRecord, zone: str, address: str) -> tuple[bytes | None, str, str]:
    question = query.q
    labels = [label.decode("ascii", "backslashreplace") for label in question.qname.label]
    name = ".".join(labels)
    reply = query.reply(ra=0, aa=1)
    lower = name.lower()
    if lower != zone and not lower.endswith("." + zone):
        reply.header.aa, reply.header.rcode = 0, RCODE.REFUSED
        return bytes(reply.pack()), "", name
    slug = slug_of_name(name, zone)
    kind = QTYPE.get(question.qtype)
    if slug and kind in _MORE:
        reply.add_answer(RR(question.qname, QTYPE.A, rdata=A(address), ttl=TTL))
        return bytes(reply.pack()), slug, name
    soa = SOA(f"ns.{zone}", f"hostmaster.{zone}", (1, 3600, 600, 86400, SOA_TTL))
    if lower == zone and kind in ("SOA", "ANY"):
        reply.add_answer(RR(zone, QTYPE.SOA, rdata=soa, ttl=SOA_TTL))
    else:
        reply.add_auth(RR(zone, QTYPE.SOA, rdata=soa, ttl=SOA_TTL))
        if not slug and lower != zone:
            reply.header.rcode = RCODE.NXDOMAIN
    return bytes(reply.pack()), slug, name


def _short(number: int, code: int) -> tuple[bytes, str, str]:
    return bytes(DNSRecord(DNSHeader(id=number, qr=1, ra=0, rcode=code)).pack()), "", ""
