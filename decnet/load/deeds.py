"""One deed of an attacker against one decoy: a real conversation that carries a mark.

Every deed puts its mark (a word that occurs nowhere else) where the decoy will record it, and
returns once the decoy has answered, so the decoy has seen the mark. A deed that was not answered
raises, and does not count as done.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import asyncssh

TALK_SECONDS = 30.0
LINE_MOST = 64 << 10

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
Deed = Callable[[str, int, str, str], Awaitable[None]]
"""`deed(host, port, source address, mark)`.

Raises:
    OSError, EOFError, TimeoutError, asyncssh.Error: the decoy did not answer as it should.
"""


class Strange(OSError):
    """The decoy answered something that this protocol does not have."""


async def ssh_guess(host: str, port: int, source: str, mark: str) -> None:
    """A password that is tried."""
    async with _ssh(host, port, source, mark):
        pass


async def ssh_command(host: str, port: int, source: str, mark: str) -> None:
    """A log-in and a command."""
    async with _ssh(host, port, source, "toor") as connection:
        await connection.run(f"echo {mark}", check=False)


async def ssh_session(host: str, port: int, source: str, mark: str) -> None:
    """A person at a terminal: looks around, fetches something, leaves."""
    async with _ssh(host, port, source, "letmein") as connection:
        async with connection.create_process(term_type="xterm") as process:
            for line in ("id", "uname -a", f"cat /etc/passwd # {mark}", "exit"):
                process.stdin.write(line + "\r")
                await asyncio.sleep(0.05)
            await process.wait()


def _ssh(host: str, port: int, source: str, password: str) -> Any:
    return asyncssh.connect(
        host,
        port,
        local_addr=(source, 0),
        username="root",
        password=password,
        known_hosts=None,
        config=None,
        client_keys=None,
        agent_path=None,
        login_timeout=TALK_SECONDS,
    )


async def http_page(host: str, port: int, source: str, mark: str) -> None:
    """A page that is asked for."""
    async with _talk(host, port, source) as (reader, writer):
        writer.write(
            f"GET /{mark} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.4.0\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        await _expect(reader, b"HTTP/")
        await reader.read(LINE_MOST)


async def http_login(host: str, port: int, source: str, mark: str) -> None:
    """A password for a page."""
    token = base64.b64encode(f"admin:{mark}".encode()).decode()
    async with _talk(host, port, source) as (reader, writer):
        writer.write(
            f"GET /admin HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        await _expect(reader, b"HTTP/")
        await reader.read(LINE_MOST)


async def ftp_login(host: str, port: int, source: str, mark: str) -> None:
    """A password for files."""
    async with _talk(host, port, source) as (reader, writer):
        await _expect(reader, b"2")
        writer.write(b"USER anonymous\r\n")
        await _expect(reader, b"3")
        writer.write(f"PASS {mark}\r\n".encode())
        await _expect(reader, b"")
        writer.write(b"QUIT\r\n")
        await _expect(reader, b"")


async def smtp_mail(host: str, port: int, source: str, mark: str) -> None:
    """A mail to relay."""
    text = f"Subject: {mark}\r\n\r\nPlease open the file.\r\n.\r\n"
    async with _talk(host, port, source) as (reader, writer):
        await _expect(reader, b"2")
        for line, wanted in (
            ("EHLO probe.example\r\n", b"2"),
            ("MAIL FROM:<a@probe.example>\r\n", b"2"),
            ("RCPT TO:<b@target.example>\r\n", b"2"),
            ("DATA\r\n", b"3"),
            (text, b"2"),
            ("QUIT\r\n", b""),
        ):
            writer.write(line.encode())
            await _expect(reader, wanted, last=b"-")


async def redis_key(host: str, port: int, source: str, mark: str) -> None:
    """A key that is set."""
    async with _talk(host, port, source) as (reader, writer):
        words = ("SET", "backup", mark)
        parts = [f"*{len(words)}\r\n", *(f"${len(w)}\r\n{w}\r\n" for w in words)]
        writer.write("".join(parts).encode())
        await _expect(reader, b"")


async def telnet_login(host: str, port: int, source: str, mark: str) -> None:
    """A name and a password at a terminal."""
    async with _talk(host, port, source) as (reader, writer):
        await _until(reader, b"ogin:")
        writer.write(b"admin\r\n")
        await _until(reader, b"assword:")
        writer.write(f"{mark}\r\n".encode())
        if not await reader.read(LINE_MOST):
            raise Strange("hung up after the password")


async def banner(host: str, port: int, source: str, mark: str) -> None:
    """What a scanner sends to a port that it does not know."""
    async with _talk(host, port, source) as (reader, writer):
        await reader.readuntil(b"\n")
        writer.write(f"{mark}\r\n".encode())
        await reader.readuntil(b"\n")


@contextlib.asynccontextmanager
async def _talk(host, port, source):  # type: ignore[no-untyped-def]
    async with asyncio.timeout(TALK_SECONDS):
        reader, writer = await asyncio.open_connection(
            host, port, local_addr=(source, 0), limit=LINE_MOST
        )
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _expect(reader: Reader, start: bytes, last: bytes = b"") -> None:
    """A line that begins so; with `last`, lines whose fourth byte is this are not the last one."""
    line = await reader.readuntil(b"\n")
    while last and line[3:4] == last:
        line = await reader.readuntil(b"\n")
    if not line.startswith(start):
        raise Strange(f"wanted {start!r}…, got {line[:80]!r}")


async def _until(reader: Reader, text: bytes) -> None:
    seen = b""
    while text not in seen:
        more = await reader.read(512)
        if not more or len(seen) > LINE_MOST:
            raise Strange(f"wanted {text!r}, got {seen[-80:]!r}")
        seen += more


GUESSES: dict[str, Deed] = {
    "ssh": ssh_guess,
    "http": http_login,
    "ftp": ftp_login,
    "telnet": telnet_login,
}
LOOKS: dict[str, Deed] = {
    "http": http_page,
    "redis": redis_key,
    "smtp": smtp_mail,
    "tcp": banner,
    "ftp": ftp_login,
    "telnet": telnet_login,
    "ssh": ssh_guess,
}
