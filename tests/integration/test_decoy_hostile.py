"""What no honest program does to a decoy: none dies of it, none grows, no line is broken."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from pathlib import Path

import pytest

from tests.support.bus import DEADLINE, until
from tests.support.visitors import Decoy, decoy

KINDS = ("telnet", "ftp", "smtp", "redis", "mysql", "tcp")
FLOOD = 10 << 20


async def talk(port: int, *pieces: bytes, half_closes: bool = True) -> bytes:
    """Send the pieces, then read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_closes:
            writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


async def is_well(running: Decoy) -> bool:
    """Whether it still answers a polite visitor."""
    words = {
        "telnet": b"",
        "ftp": b"QUIT\r\n",
        "smtp": b"QUIT\r\n",
        "redis": b"PING\r\n",
        "mysql": b"",
        "tcp": b"",
    }
    kind = running.name.partition("@")[2]
    return bool(await talk(running.port, words[kind]))


NONSENSE: tuple[bytes, ...] = (
    b"",
    b"\n" * 50,
    b"\r\n\x00\r\n",
    b"\x00" * 5000,
    b"\xff" * 5000,
    bytes(range(256)) * 20,
    b"\x1b[2J\x1b]0;owned\x07\xe2\x80\xae\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"' OR 1=1; DROP TABLE logs; --\r\n<script>alert(1)</script>\r\n",
    b"USER " + b"A" * 3000 + b"\r\nPASS " + b"%n%s" * 400 + b"\r\n",
    b"*999999999\r\n$-5\r\n",
    b"*1\r\n$99999999999\r\n",
    b"\xff\xff\xff\x00" + b"A" * 5000,
    b"\x20\x00\x00\x01" + b"\x85\xa6\x3f\x00" + b"\xff" * 28,
    b"root\r\n" * 400,
    "überall\u202e\U0001f600\r\n".encode() * 30,
)


@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_bytes_kill_no_decoy_and_break_no_line(tmp_path: Path, kind: str) -> None:
    async with decoy(tmp_path, kind) as running:
        for data in NONSENSE:
            await talk(running.port, data)
            # And as a half of what an honest client says, cut off in the middle.
            with socket.create_connection(("127.0.0.1", running.port)) as sock:
                sock.sendall(data[: len(data) // 2])
        assert await is_well(running)
        assert not running.events("internal_error"), running.process.log.read_text()
        raw = (tmp_path / "spool" / f"decoy@{kind}.log").read_text()
        assert all(line.isprintable() for line in raw.split("\n"))
        assert "Traceback" not in running.process.log.read_text()


@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_line_without_end_is_cut_off(tmp_path: Path, kind: str) -> None:
    async with decoy(tmp_path, kind) as running:
        await talk(running.port, b"warm\r\n")
        before = running.private_kib()
        chunk = b"A" * (64 << 10)
        await talk(running.port, *[chunk] * (FLOOD // len(chunk)))
        assert await is_well(running)
        assert running.private_kib() - before < 8_000
        assert running.private_kib() < 60_000, "within the worker's memory_max"


@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_silence_starves_nobody(tmp_path: Path, kind: str) -> None:
    async with decoy(tmp_path, kind) as running:
        silent: list[socket.socket] = []
        try:
            for _ in range(900):
                silent.append(socket.create_connection(("127.0.0.1", running.port)))
            assert await is_well(running)
            assert running.private_kib() < 70_000, "within the worker's memory_max"
        finally:
            for sock in silent:
                sock.close()
        await until(lambda: len(running.events("disconnect")) >= 901)


@pytest.mark.parametrize("kind", KINDS)
async def test_hostile_stop_ends_every_visit_and_tells_it(tmp_path: Path, kind: str) -> None:
    async with decoy(tmp_path, kind) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as sock:
            sock.sendall(b"root\r\nx\r\nid\r\n")
            # A session is recorded from its log-in on.
            begun = "command" if kind == "telnet" else "connect"
            await until(lambda: running.events(begun))
            running.process.signal(signal.SIGTERM)
            assert await running.process.ended() == 0
    kinds = [e.type for e in running.events("connect", "disconnect", "shutdown")]
    assert kinds == ["connect", "disconnect", "shutdown"]
    if kind == "telnet":
        assert running.events("session_recorded")


async def test_hostile_visitor_who_does_not_read_is_not_read_either(tmp_path: Path) -> None:
    async with decoy(tmp_path, "redis") as running:
        await talk(running.port, b"PING\r\n")
        before = running.private_kib()
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"INFO\r\n" * 400_000)
        await asyncio.sleep(1)
        assert running.private_kib() - before < 6_000
        assert await is_well(running)
        writer.transport.abort()
        await until(lambda: len(running.events("disconnect")) == 3)


async def test_hostile_commands_in_a_row_are_all_answered(tmp_path: Path) -> None:
    async with decoy(tmp_path, "smtp") as running:
        mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: %d\r\n\r\nx\r\n.\r\n"
        row = b"EHLO x\r\n" + b"".join(mail % n for n in range(3)) + b"NOOP\r\nQUIT\r\n"
        assert (await talk(running.port, row)).endswith(b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")
        subjects = [e.fields["subject"] for e in running.events("message_accepted")]
        assert subjects == ["0", "1", "2"]
        slow = [bytes([byte]) for byte in b"HELO y\r\n" + mail % 3 + b"QUIT\r\n"]
        assert (await talk(running.port, *slow)).endswith(b"221 2.0.0 Bye\r\n")
        assert running.events("message_accepted")[-1].fields["subject"] == "3"
    async with decoy(tmp_path, "ftp") as running:
        row = b"USER a\r\nPASS b\r\nPWD\r\nCWD pub\r\nPWD\r\nQUIT\r\n"
        answer = await talk(running.port, row)
        assert answer.splitlines()[-2:] == [
            b'257 "/pub" is the current directory',
            b"221 Goodbye.",
        ]


async def test_hostile_mail_of_nested_parts_and_bombs_costs_little(tmp_path: Path) -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(2000)
    )
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + (
        b'--b\r\nContent-Disposition: attachment; filename="a.zip"\r\n\r\nPK\r\n' * 5000
    )
    head = b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    async with decoy(tmp_path, "smtp") as running:
        await is_well(running)
        before = running.private_kib()
        for body in (nested, many, b"A" * 4_000_000, b"Subject: =?utf-8?b?" + b"=" * 9000):
            assert b"2.0.0 Ok: queued" in await talk(running.port, head, body, b"\r\n.\r\nQUIT\r\n")
        told = running.events("message_accepted")
        assert [t.fields["attachment_count"] for t in told] == ["0", "64", "0", "0"]
        assert running.private_kib() - before < 20_000
        over = b"A" * (9 << 20)
        assert b"552" in await talk(running.port, head, over) or running.events("protocol_error")
        assert await is_well(running)


async def test_hostile_ftp_data_port_is_for_its_visitor_alone(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ftp") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"USER a\r\nPASS b\r\nEPSV\r\nLIST\r\n")
        answer = b""
        while b"150 " not in answer:
            answer += await reader.readline()
        port = int(answer.partition(b"(|||")[2].partition(b"|")[0])
        stranger, _w = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.9", 0))
        assert await stranger.read() == b""
        _w.close()
        own, own_writer = await asyncio.open_connection("127.0.0.1", port)
        assert b"incoming" in await own.read()
        own_writer.close()
        assert (await reader.readline()).startswith(b"226")
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_hostile_disk_that_is_full_costs_the_copy_and_not_the_event(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    (artifacts / "decky-01").write_text("a file where a folder should be")
    async with decoy(tmp_path, "smtp") as running:
        mail = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\nQUIT\r\n"
        assert b"queued" in await talk(running.port, b"EHLO x\r\n", mail)
        told = running.events("message_accepted")[0].fields
        assert "stored_as" not in told
        assert (told["size_bytes"], told["cut_short"]) == ("17", "true")
