"""The web decoy as real clients, and unreal ones, meet it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.support.bus import DEADLINE, until
from tests.support.mounts import fill, tmpfs
from tests.support.visitors import Crowd, decoy, run

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


async def curl(port: int, path: str, *options: str) -> str:
    ran = await run("curl", "-sS", "-q", *options, f"http://127.0.0.1:{port}{path}")
    assert ran.code == 0, ran.err
    return ran.out


async def talk(port: int, *pieces: bytes) -> bytes:
    """Send the pieces, then read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), DEADLINE)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


@needs_curl
async def test_http_visit_by_curl(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        page = await curl(running.port, "/", "-A", "curl-test")
        assert '<input name="password" type="password"' in page
        fields = (
            "-d",
            "username=bob",
            "--data-urlencode",
            "password=pä\0ss w&rd".replace("\0", ""),
        )
        assert "Wrong user name" in await curl(running.port, "/login?next=/a", *fields)
        assert "401" in await curl(running.port, "/manager/html", "-i", "-u", "tomcat:s3cret")
        assert "HTTP/1.1 405" in await curl(running.port, "/", "-i", "-X", "PROPFIND")
        assert "HTTP/1.1 200" in await curl(running.port, "/", "-I")
        chunked = ("-H", "Transfer-Encoding: chunked", "-d", "user=a&pass=b")
        assert "Wrong user name" in await curl(running.port, "/login", *chunked)
        logins = [e.fields for e in running.events("login_attempt")]
        requests = [e.fields for e in running.events("request")]
    assert [(f["principal"], base64.b64decode(f["secret_b64"]).decode()) for f in logins] == [
        ("bob", "päss w&rd"),
        ("tomcat", "s3cret"),
        ("a", "b"),
    ]
    assert [f["method"] for f in logins] == ["form", "basic", "form"]
    assert (requests[0]["user_agent"], requests[0]["src_ip"]) == ("curl-test", "127.0.0.1")
    assert (requests[1]["path"], requests[1]["query"]) == ("/login", "next=/a")
    assert "body" not in requests[1], "a password is a credential, and in no other field"
    assert [f["status"] for f in requests] == ["200", "200", "401", "405", "200", "200"]


BROKEN: tuple[tuple[tuple[bytes, ...], int], ...] = (
    ((b"\x16\x03\x01\x02\x00\x01\x00",), 400),
    ((b"nonsense\n",), 400),
    ((b"GET / FTP/1.1\r\n\r\n",), 400),
    ((b"GET / HTTP/2.0\r\n\r\n",), 505),
    ((b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",), 414),
    ((b"GET / HTTP/1.1\r\n", *[b"A: " + b"b" * 4000 + b"\r\n"] * 8), 431),
    ((b"GET / HTTP/1.1\r\nA: " + b"b" * 100_000,), 431),
    ((b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",), 413),
    ((b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",), 400),
    ((b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",), 400),
    ((b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
      *[b"4000\r\n" + b"a" * 0x4000 + b"\r\n"] * 8), 413),
    ((b"\r\n" * 20,), 400),
)  # fmt: skip
"""What is sent, and the status of the answer."""


async def test_http_what_breaks_the_rules_is_answered_told_and_ended(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        for told, (pieces, status) in enumerate(BROKEN):
            answer = await talk(running.port, *pieces)
            # A flood may be cut off before its answer is read; it is told all the same.
            whole = b"".join(pieces)
            assert answer.startswith(b"HTTP/1.1 %d " % status) or len(whole) > 20_000, whole[:80]
            await until(lambda told=told: len(running.events("protocol_error")) > told)
            assert b"200 OK" in await talk(running.port, b"GET / HTTP/1.0\r\n\r\n")


async def test_http_requests_may_come_in_a_row_and_byte_by_byte(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        row = b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.0\r\n\r\n"
        assert (await talk(running.port, row)).count(b"HTTP/1.1 404") == 3
        slow = [bytes([b]) for b in b"GET /d HTTP/1.0\r\nHost: x\r\n\r\n"]
        assert (await talk(running.port, *slow)).startswith(b"HTTP/1.1 404")
        assert [e.fields["path"] for e in running.events("request")] == ["/a", "/b", "/c", "/d"]


async def test_http_hostile_text_stays_in_its_field(tmp_path: Path) -> None:
    evil = b'/"]\x1b[2J\xff\xe2\x80\xae'
    line = b"\r\n<134>1 - x - - startup\r\n"
    async with decoy(tmp_path, "http") as running:
        for target, status in ((evil, 404), (evil + line, 400)):
            head = b"GET " + target + b" HTTP/1.0\r\nUser-Agent: a\x00b\x1b]0;x\x07\r\n\r\n"
            answer = await talk(running.port, head)
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"[2J" not in answer, "nothing that was sent is shown"
        fields = running.events("request")[0].fields
        assert fields["path"] == '/"]\\x1b[2J\\xff\\u202e'
        assert fields["user_agent"] == "a\\x00b\\x1b]0;x\\x07"
    assert len(running.events("startup")) == 1


async def test_http_silent_connections_starve_nobody(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        silent: list[socket.socket] = []
        try:
            for _ in range(2000):
                silent.append(socket.create_connection(("127.0.0.1", running.port)))
            slow = socket.create_connection(("127.0.0.1", running.port))
            slow.sendall(b"GET / HT")
            silent.append(slow)
            assert b"200 OK" in await talk(running.port, b"GET / HTTP/1.0\r\n\r\n")
            assert running.private_kib() < 60_000
        finally:
            for sock in silent:
                sock.close()
        await until(lambda: len(running.events("connect")) == 2002)


async def test_http_killed_under_load_has_told_of_every_answer(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        crowd = Crowd(running.port)
        storm = asyncio.create_task(crowd.storm(60, 50))
        await until(lambda: len(crowd.answered) > 300)
        running.process.signal(signal.SIGKILL)
        await running.process.ended()
        await storm
    told = [e.fields["path"] for e in running.events("request")]
    assert len(told) == len(set(told))
    assert {f"/visit/{n}" for n in crowd.answered} <= set(told)
    async with decoy(tmp_path, "http") as running:
        assert b"404" in await talk(running.port, b"GET /again HTTP/1.0\r\n\r\n")
    assert running.events("request")[-1].fields["path"] == "/again"


async def test_http_full_disk_costs_no_event_and_no_visitor(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "state", "1m") as state:
        async with decoy(state, "http") as running:
            filler = fill(state)
            crowd = Crowd(running.port)
            await crowd.storm(10, 20)
            assert len(crowd.answered) == 200, "visitors notice nothing"
            log = running.process.log
            await until(lambda: "No space left" in log.read_text())
            filler.unlink()
            await until(lambda: len(running.events("request")) == 200)
            told = [e.fields["path"] for e in running.events("request")]
            assert sorted(told) == sorted(f"/visit/{n}" for n in range(200))
            assert len(running.events("connect")) == 10
            await until(lambda: "can be written again; 0 events" in log.read_text())


async def test_http_stop_ends_open_connections_quietly(tmp_path: Path) -> None:
    async with decoy(tmp_path, "http") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\nGET /unfinished")
        await reader.readuntil(b"\r\n\r\n")
        running.process.signal(signal.SIGTERM)
        assert await running.process.ended() == 0
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        assert running.events("shutdown")
        told = running.process.log.read_text()
        assert "Traceback" not in told and "ERROR" not in told, told
