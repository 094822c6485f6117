"""Lifelike traffic from one decky to another's decoy: real connections with bounded talk.

The source address is the sending decky's own in `LIFE_NET`, a corner of the loopback range, so that
nobody takes it for an attacker: see `is_ours`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable

TALK_SECONDS = 10.0
ANSWER_MOST = 64 << 10
LIFE_NET = ipaddress.ip_network("127.77.0.0/16")

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


def address_of(number: int) -> str:
    """The address from which decky `number` speaks."""
    return str(LIFE_NET[number])


def is_ours(address: str) -> bool:
    """Whether an address is a decky's own."""
    # As text: this is asked for each event, and no other text of such an address exists.
    return address.startswith("127.77.")


async def _http(reader: Reader, writer: Writer) -> None:
    writer.write(
        b"GET / HTTP/1.1\r\nHost: intranet\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
        b"Accept: text/html\r\nConnection: close\r\n\r\n"
    )
    await reader.read(ANSWER_MOST)


async def _redis(reader: Reader, writer: Writer) -> None:
    writer.write(b"*1\r\n$4\r\nPING\r\n")
    await reader.readuntil(b"\n")


async def _ftp(reader: Reader, writer: Writer) -> None:
    await reader.readuntil(b"\n")
    writer.write(b"QUIT\r\n")
    await reader.read(ANSWER_MOST)


async def _banner(reader: Reader, writer: Writer) -> None:
    await reader.read(256)


_TALKS: dict[str, Callable[[Reader, Writer], Awaitable[None]]] = {
    "http": _http,
    "redis": _redis,
    "ftp": _ftp,
    "ssh": _banner,
    "telnet": _banner,
    "mysql": _banner,
    "tcp": _banner,
    "smtp": _ftp,
}


async def talk(kind: str, host: str, port: int, source: str) -> str:
    """One conversation; "" where it went as it should, else what was wrong."""
    try:
        async with asyncio.timeout(TALK_SECONDS):
            reader, writer = await _connect(host, port, source)
            try:
                await _TALKS[kind](reader, writer)
            finally:
                await _hang_up(writer)
    except TimeoutError:
        return "no answer in time"
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return str(error) or type(error).__name__
    return ""


async def send_mail(
    host: str, port: int, source: str, sender: str, receiver: str, message: bytes
) -> str:
    """Hand a message to an SMTP decoy; "" where it was taken, else what was wrong."""
    steps = (
        (b"", b"2"),
        (b"EHLO mail.corp.example\r\n", b"2"),
        (f"MAIL FROM:<{sender}>\r\n".encode(), b"2"),
        (f"RCPT TO:<{receiver}>\r\n".encode(), b"2"),
        (b"DATA\r\n", b"3"),
        (message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n.\r\n", b"2"),
        (b"QUIT\r\n", b"2"),
    )
    try:
        async with asyncio.timeout(TALK_SECONDS):
            reader, writer = await _connect(host, port, source)
            try:
                for line, wanted in steps:
                    writer.write(line)
                    answer = await _smtp_answer(reader)
                    if not answer.startswith(wanted):
                        return answer.decode("ascii", "replace").strip()[:200]
            finally:
                await _hang_up(writer)
    except TimeoutError:
        return "no answer in time"
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
        return str(error) or type(error).__name__
    return ""


async def _smtp_answer(reader: Reader) -> bytes:
    for _ in range(64):
        line = await reader.readuntil(b"\n")
        if line[3:4] != b"-":
            return line
    return b"500 it never stops\r\n"


async def _connect(host: str, port: int, source: str) -> tuple[Reader, Writer]:
    local = (source, 0) if "." in host else None  # an IPv6 decoy has no neighbour of ours
    return await asyncio.open_connection(host, port, local_addr=local, limit=ANSWER_MOST)


async def _hang_up(writer: Writer) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
