"""The listener and senders that are strangers, broken, silent, or twice there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from pathlib import Path

from decnet.ship.frames import frame
from tests.integration.test_ship import numbers
from tests.support.bus import until
from tests.support.ship import (
    LINE,
    authority,
    bundle,
    lines,
    listener,
    raw,
    received,
    tls_client,
)


async def test_ship_strangers_are_refused(tmp_path: Path) -> None:
    ship, other = authority(tmp_path, "agent-1"), authority(tmp_path / "other", "agent-1")
    # The right CA, a server's certificate: not for sending.
    key, nameless = tmp_path / "key.pem", tmp_path / "nameless"
    for name, subject in ((nameless, "/O=nobody"), (tmp_path / "odd", "/CN=..%2fx")):
        name.mkdir()
        make_certificate(ship, name, key, subject)
    async with listener(tmp_path / "master", ship) as (running, port):

        async def is_refused(certificate: Path | None, authority: Path = ship) -> bool:
            try:
                async with tls_client(port, certificate, verify_mode=ssl.CERT_NONE) as (
                    reader,
                    writer,
                ):
                    writer.write(frame(LINE.format("d", 0).encode()))
                    await writer.drain()
                    return await reader.read() == b""
            except (ssl.SSLError, ConnectionError):
                return True

        assert await is_refused(None), "no certificate"
        assert await is_refused(bundle(other, "agent-1")), "another CA"
        assert await is_refused(ship / "master"), "a server's"
        assert await is_refused(nameless), "no name"
        assert await is_refused(tmp_path / "odd"), "a name that is none"
        async with tls_client(port, bundle(ship, "agent-1")) as (_, writer):
            writer.write(frame(LINE.format("good", 0).encode()))
            await until(lambda: received(tmp_path / "master"))
        assert running.process.returncode is None
    assert [record["decky"] for record in received(tmp_path / "master")] == ["good"]


def make_certificate(ship: Path, target: Path, key: Path, subject: str) -> None:
    """A client's certificate of our CA with any subject, by openssl."""
    ca = ship / "ca"
    request = target / "request.pem"
    config = target / "ext.cnf"
    config.write_text("extendedKeyUsage=clientAuth\n")
    new = ("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", subject)
    subprocess.run(
        [*new, "-keyout", target / "worker.key", "-out", request], check=True, capture_output=True
    )
    sign = ("openssl", "x509", "-req", "-CAcreateserial", "-CAserial", target / "serial")
    subprocess.run(
        [
            *(*sign, "-in", request, "-CA", ca / "ca.crt", "-CAkey", ca / "ca.key"),
            *("-extfile", config, "-out", target / "worker.crt"),
        ],
        check=True,
        capture_output=True,
    )
    shutil.copy(ca / "ca.crt", target / "ca.crt")


async def test_ship_bad_frames_end_only_their_own_connection(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1", "agent-2")
    master = tmp_path / "master"
    good = LINE.format("d", 1).encode()
    async with listener(master, ship) as (running, port):
        async with tls_client(port, bundle(ship, "agent-2")) as (_, patient):
            half = frame(good)
            patient.write(half[:20])
            for bad in (
                b"10485760 " + b"A" * (10 << 20),
                b"-5 hello",
                b"05 hello",
                b"99999999999999999999",
                b"<134>1 no length at all\n",
                b" ",
            ):
                async with tls_client(port, bundle(ship, "agent-1")) as (reader, writer):
                    with contextlib.suppress(ConnectionError, ssl.SSLError):
                        writer.write(frame(good) + bad)
                        await writer.drain()
                        assert await reader.read() == b"", bad[:20]
            async with tls_client(port, bundle(ship, "agent-1")) as (_, writer):
                writer.write(frame(good)[:-3])
                await writer.drain()
            hostile = good + b"\n<134>1 - forged x - - - \x1b[2J \xff\xfe \xe2\x80\xae"
            async with tls_client(port, bundle(ship, "agent-1")) as (_, writer):
                writer.write(frame(hostile) + frame(b"no syslog"))
                await until(lambda: len(received(master)) >= 8)
            patient.write(half[20:])
            await until(lambda: len(received(master)) == 9)
        assert running.process.returncode is None
        rss = Path(f"/proc/{running.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
        assert int(rss) < 120_000, "a frame of 10 MB was never held"
    found = raw(master)
    assert len(found) == 9
    assert all(line.isprintable() for line in found), "no line feed, no escape, no direction"
    assert {record["source_worker"] for record in received(master)} == {"agent-1", "agent-2"}
    assert not [record for record in received(master) if record["decky"] == "forged"]
    assert [r["event_type"] for r in received(master)].count("parse_error") == 1


async def test_ship_silent_strangers_keep_nobody_out(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1")
    master = tmp_path / "master"
    async with listener(master, ship) as (running, port), contextlib.AsyncExitStack() as stack:
        # With a place each for as long as a handshake may take they would fill half a minute.
        for _ in range(450):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
        async with tls_client(port, bundle(ship, "agent-1")) as (_, writer):
            writer.write(frame(LINE.format("d", 0).encode()))
            await until(lambda: received(master))
        # The strangers were shown out.
        await until(lambda: len(list(Path(f"/proc/{running.pid}/fd").iterdir())) < 120)


async def test_ship_a_second_connection_of_a_sender_takes_over(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1")
    master = tmp_path / "master"
    stream = b"a" * 32
    texts = [line.encode() for line in lines(4)]
    async with listener(master, ship) as (_, port):
        async with tls_client(port, bundle(ship, "agent-1"), alpn=True) as (reader, old):
            old.write(frame(b"HELLO %b 0" % stream) + frame(texts[0]) + frame(texts[1]))
            assert await reader.readline() == b"ACK 0\n"
            while await reader.readline() != b"ACK 2\n":
                pass
            async with tls_client(port, bundle(ship, "agent-1"), alpn=True) as (again, new):
                # As after a kill: it knows of one acknowledged line only.
                new.write(frame(b"HELLO %b 1" % stream))
                assert await again.readline() == b"ACK 2\n"
                with contextlib.suppress(ConnectionError):
                    old.write(frame(texts[2]))
                    assert await reader.read() == b""
                new.write(frame(texts[2]) + frame(texts[3]))
                while await again.readline() != b"ACK 4\n":
                    pass
        async with tls_client(port, bundle(ship, "agent-1"), alpn=True) as (reader, writer):
            writer.write(frame(texts[0]))  # no HELLO
            assert await reader.read() == b""
    assert numbers(master) == [0, 1, 2, 3]
