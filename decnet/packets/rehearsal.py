"""Prepared packets of every kind, through a sensor into a spool: for a zygote's warm-up.

scapy builds its field tables and our functions are specialised by the interpreter as they run:
done here, the sniffer shares that. No socket, no loop.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from decnet.decoys.journal import Journal
from decnet.decoys.spool import Spool
from decnet.packets.light import IP, TCP, IPv6
from decnet.packets.sensor import Sensor
from decnet.packets.settings import Place, SnifferSettings
from zygote.warming import rounds

ROUNDS = 16
"""So often must a function run before the interpreter has specialised it."""
PORT = 2222
_NAMES = b"curve25519-sha256", b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2


def exercise(folder: Path) -> None:
    """Visits over SSH, TLS, HTTP and nothing, on IPv4 and IPv6; events go to `folder`."""
    spool = Spool(folder, "warm-packets", lambda: None)
    journal = Journal(spool, "warm", "warm")
    settings = SnifferSettings(places={PORT: Place("warm", "ssh")})
    sensor = Sensor(settings, lambda kind, place, fields: journal.event(kind, fields))
    try:
        for number in range(rounds(ROUNDS)):
            for at, (client, server) in enumerate(conversations()):
                for packet in visit(number * 10 + at, client, server, v6=number % 4 == 3):
                    sensor.packet(packet, 1e9 + number * 400)
            sensor.packet(b"\x45\x00", 1e9)
            sensor.sweep(1e9 + number * 400)
        sensor.health()
        sensor.close()
    finally:
        spool.close()


def conversations() -> Iterator[tuple[bytes, bytes]]:
    """What client and server say, of each protocol."""
    yield client_hello(), server_hello()
    yield b"SSH-2.0-warm\r\n" + ssh_offer(), b"SSH-2.0-warm\r\n"
    yield (
        b"GET / HTTP/1.1\r\nHost: warm\r\nUser-Agent: warm\r\nCookie: a=b\r\n\r\n",
        b"HTTP/1.1 200",
    )
    yield b"hello\r\n", b"220 warm\r\n"


def visit(number: int, client: bytes, server: bytes, *, v6: bool = False) -> Iterator[bytes]:
    """The packets of one connection, from its SYN to its FINs, IP header first."""
    here, there = ("2001:db8::1", f"2001:db8::2:{number}") if v6 else ("192.0.2.1", "192.0.2.9")
    ip: Any = IPv6 if v6 else IP
    up: dict[str, Any] = {"sport": 40_000 + number, "dport": PORT}
    down: dict[str, Any] = {"sport": PORT, "dport": 40_000 + number}
    options: Any = [
        ("MSS", 1460),
        ("SAckOK", b""),
        ("Timestamp", (1, 0)),
        ("NOP", None),
        ("WScale", 7),
    ]
    half = len(client) // 2
    end_up, end_down = 101 + len(client), 501 + len(server)
    segments = (
        (True, TCP(**up, flags="S", seq=100, window=64240, options=options), b""),
        (False, TCP(**down, flags="SA", seq=500, ack=101, options=options), b""),
        (True, TCP(**up, flags="A", seq=101, ack=501), b""),
        # In two parts, the second first.
        (True, TCP(**up, flags="PA", seq=101 + half, ack=501), client[half:]),
        (True, TCP(**up, flags="PA", seq=101, ack=501), client[:half]),
        (False, TCP(**down, flags="PA", seq=501, ack=end_up), server),
        (True, TCP(**up, flags="FA", seq=end_up, ack=end_down), b""),
        (False, TCP(**down, flags="FA", seq=end_down, ack=end_up + 1), b""),
    )
    for is_up, segment, payload in segments:
        ends = {"src": there, "dst": here} if is_up else {"src": here, "dst": there}
        yield bytes(ip(**ends) / segment / payload)


def client_hello() -> bytes:
    """The record that this Python's TLS begins with."""
    context = ssl.create_default_context()
    sent = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="warm.invalid").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return sent.read()


def server_hello() -> bytes:
    """A ServerHello of TLS 1.2 and a certificate of four bytes."""
    hello = b"\x03\x03" + bytes(32) + b"\x00" + b"\xc0\x2f" + b"\x00"
    hello += b"\x00\x05" + b"\xff\x01\x00\x01\x00"
    certificate = b"\x00\x00\x07" + b"\x00\x00\x04" + b"warm"
    body = b"\x02" + len(hello).to_bytes(3, "big") + hello
    body += b"\x0b" + len(certificate).to_bytes(3, "big") + certificate
    return b"\x16\x03\x03" + len(body).to_bytes(2, "big") + body


def ssh_offer() -> bytes:
    """A KEXINIT packet."""
    lists = (*_NAMES, b"none", b"none", b"", b"")
    body = b"\x14" + bytes(16) + b"".join(len(n).to_bytes(4, "big") + n for n in lists) + bytes(5)
    padding = 8
    return (len(body) + padding + 1).to_bytes(4, "big") + bytes([padding]) + body + bytes(padding)
