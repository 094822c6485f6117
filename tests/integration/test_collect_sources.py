"""collect fed by `logger`, by other programs' files and by decoys; killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import logging.handlers
import shutil
import signal
import smtplib
import threading
from email.message import EmailMessage
from pathlib import Path

import pytest

from decnet.bus import topics
from decnet.models import EmailReceived, SmtpProbePending
from decnet.workers import collect
from decnet.workers import listener as shipping
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker
from tests.support.visitors import decoy, run, ssh

COLLECT = "decnet.workers.collect"
needs_logger = pytest.mark.skipif(
    shutil.which("logger") is None, reason="needs logger: apt install bsdutils"
)


def stored(folder: Path) -> int:
    return int(query(folder / "decnet.db", "SELECT count(*) FROM logs")[0][0])


def messages(folder: Path) -> list[str]:
    return [msg for (msg,) in query(folder / "decnet.db", "SELECT msg FROM logs ORDER BY id")]


@needs_logger
async def test_collect_takes_what_logger_sends(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false") as running:
        await until(lambda: (tmp_path / "collect.stream.sock").exists())
        hostile = "login from 192.0.2.66 \n<134>1 - forged x - - - \x1b[2J"
        sent = 0
        for socket in ("collect.sock", "collect.stream.sock"):
            to = ("logger", "-u", str(tmp_path / socket), "-t", "tag")
            new = ("--rfc5424", "--msgid", "command", "--sd-id", "relay@55555")
            for words in (
                ("old format from 192.0.2.5",),
                ("--octet-count", hostile),
                (*new, "--sd-param", 'src_ip="192.0.2.6"', "new format é"),
            ):
                assert (await run(*to, *words)).code == 0
                sent += 1  # one by one: of several connections none is the first
                await until(lambda sent=sent: stored(tmp_path) == sent)
        # Several seconds' worth of nothing: what arrives next is still taken at once.
        handler = logging.handlers.SysLogHandler(str(tmp_path / "collect.sock"))
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "by python", (), None))
        handler.close()
        await until(lambda: stored(tmp_path) == 7)
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
    rows = query(
        tmp_path / "decnet.db",
        "SELECT service, event_type, attacker_ip, raw_line FROM logs ORDER BY id",
    )
    assert [row[2] for row in rows[:6]] == ["192.0.2.5", "192.0.2.66", "192.0.2.6"] * 2
    assert [row[1] for row in rows[:6]] == ["unknown", "unknown", "command"] * 2
    assert {row[0] for row in rows[:6]} == {"tag"}
    assert all(row[3].isprintable() for row in rows)
    assert not (tmp_path / "collect.sock").exists()


async def test_collect_killed_while_a_stream_pours_in_loses_nothing_that_it_read(
    tmp_path: Path,
) -> None:
    """What the kernel had not handed over is the sender's to send again; nothing is doubled."""
    await asyncio.to_thread(migrated, tmp_path)
    for turn in range(4):
        async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false") as running:
            await pour(tmp_path, turn * 500, 500)
            if turn < 3:
                running.signal(signal.SIGKILL)
            else:
                await until(lambda: stored(tmp_path) == 2000)
    assert [int(text) for text in messages(tmp_path)] == list(range(2000))


async def pour(folder: Path, first: int, count: int) -> None:
    """Send numbered lines; return when some are stored and all are in the spool."""
    socket, spool = folder / "collect.stream.sock", folder / "spool" / "syslog.log"
    writer = None
    while writer is None:
        # The one before was killed: its socket is there, and nobody answers.
        with contextlib.suppress(ConnectionRefusedError, FileNotFoundError):
            _, writer = await asyncio.open_unix_connection(socket)
        await asyncio.sleep(0.01)
    for number in range(first, first + count):
        writer.write(f"<13>Nov 24 20:21:35 h t: {number}\n".encode())
    await writer.drain()
    await until(lambda: stored(folder) >= first + 100)
    await until(lambda: spool.read_bytes().count(b"\n") == first + count)
    writer.close()


async def test_collect_follows_other_programs_files_over_rotation_and_kills(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    logs = tmp_path / "var"
    logs.mkdir()
    env = {"DECNET_COLLECT_FILES": f"{logs}/*.log", "DECNET_BUS_ENABLED": "false"}

    def add(first: int, count: int) -> None:
        with (logs / "auth.log").open("a") as file:
            for number in range(first, first + count):
                file.write(f"Nov 24 20:21:35 vm sshd[1]: {number} from 192.0.2.9 port 22\n")

    add(0, 500)
    async with worker(tmp_path, COLLECT, DECNET_BATCH_SIZE="50", **env) as running:
        await until(lambda: stored(tmp_path) >= 100)
        running.signal(signal.SIGKILL)
    add(500, 300)
    (logs / "auth.log").rename(logs / "auth.log.2")
    add(800, 200)
    (logs / "auth.log").rename(logs / "auth.log.1")
    add(1000, 100)
    async with worker(tmp_path, COLLECT, **env):
        await until(lambda: stored(tmp_path) == 1100)
        add(1100, 10)
        await until(lambda: stored(tmp_path) == 1110)
        log = tmp_path / "decnet.log"
        await until(lambda: len(log.read_text().splitlines()) == 1110)
    assert [int(text.split()[0]) for text in messages(tmp_path)] == list(range(1110))
    found = query(tmp_path / "decnet.db", "SELECT DISTINCT service, attacker_ip, decky FROM logs")
    assert found == [("sshd", "192.0.2.9", "vm")]
    assert sorted(path.name for path in logs.iterdir()) == ["auth.log", "auth.log.1", "auth.log.2"]
    assert not (tmp_path / "decnet.json").read_text(), "a daemon's chatter is not for followers"


async def test_collect_is_there_once(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false"):
        await until(lambda: (tmp_path / "collect.stream.sock").exists())
        async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false") as second:
            assert await second.ended() == 73
            assert "another collect" in second.log.read_text()
    relative = {"DECNET_COLLECT_FILES": "x.log", "DECNET_BUS_ENABLED": "false"}
    async with worker(tmp_path, COLLECT, cold=True, **relative) as wrong:
        assert await wrong.ended() == 78


async def test_collect_tells_of_mails_relay_probes_and_keeps_what_they_brought(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
        decoy(tmp_path, "smtp") as running,
    ):
        mails = bus.subscribe(topics.EMAIL_RECEIVED)
        probes = bus.subscribe(topics.SMTP_PROBE_PENDING)
        beats = bus.subscribe(topics.health("collect"))
        await bus.flush()
        async with worker(tmp_path, COLLECT):
            async with asyncio.timeout(DEADLINE):
                await anext(beats)  # what it tells before it is on the bus nobody hears
            await asyncio.to_thread(send_mail, running.port)
            async with asyncio.timeout(DEADLINE):
                mail = EmailReceived.model_validate((await anext(mails)).payload)
                probe = SmtpProbePending.model_validate((await anext(probes)).payload)
    assert mail.rcpt_domains == ["gmail.example"]
    assert mail.attachments[0].extension == ".exe"
    assert (probe.rcpt_to, probe.attacker_ip) == ("me@gmail.example", "127.0.0.1")
    assert Path(probe.stored_as).read_bytes()
    file = tmp_path / "decnet.db"
    rows = query(file, "SELECT sha256, observation_count, first_subject FROM observed_attachments")
    assert rows == [(mail.attachments[0].sha256, 1, "relay test")]
    kinds = query(file, "SELECT DISTINCT bounty_type FROM bounty ORDER BY 1")
    assert kinds == [("artifact",), ("probe_relay",)]


def send_mail(port: int) -> None:
    message = EmailMessage()
    message["Subject"] = "relay test"
    message["From"], message["To"] = "x@evil.example", "me@gmail.example"
    message.set_content("does it?")
    message.add_attachment(b"MZ", maintype="application", subtype="octet-stream", filename="a.EXE")
    with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE) as client:
        client.send_message(message)


async def test_collect_restarted_in_a_session_gives_all_its_commands(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    now = "2026-11-24T03:00:{:02}Z"
    line = '<134>1 {} d ssh - {} [relay@55555 src_ip="192.0.2.7" session_id="s1" {}]\n'
    spool = tmp_path / "spool"
    spool.mkdir()
    begun = [line.format(now.format(n), "command", f'command="c{n}"') for n in range(3)]
    (spool / "x.log").write_text("".join(begun))
    async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false") as running:
        await until(lambda: stored(tmp_path) == 3)
        running.signal(signal.SIGKILL)
    ended = [line.format(now.format(n), "command", f'command="c{n}"') for n in range(3, 5)]
    ended.append(line.format(now.format(6), "session_recorded", 'duration_s="6.5"'))
    with (spool / "x.log").open("a") as file:
        file.write("".join(ended))
    async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false"):
        await until(lambda: stored(tmp_path) == 6)
    ((commands,),) = query(tmp_path / "decnet.db", "SELECT commands FROM session_recordings")
    assert [c["command_text"] for c in json.loads(commands)] == [f"c{n}" for n in range(5)]


async def test_collect_makes_bounties_of_a_visit_once(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with decoy(tmp_path, "ssh") as running, worker(tmp_path, COLLECT):
        for _ in range(2):
            assert (await ssh(tmp_path, running.port, "id")).code == 0
        ended = "SELECT count(*) FROM session_recordings"
        await until(lambda: query(tmp_path / "decnet.db", ended) == [(2,)])
    rows = query(tmp_path / "decnet.db", "SELECT bounty_type, payload FROM bounty ORDER BY id")
    kinds = [kind for kind, _ in rows]
    assert kinds.count("credential") == 1
    assert kinds.count("fingerprint") == 1
    client = next(json.loads(payload) for kind, payload in rows if kind == "fingerprint")
    assert client["client_version"].startswith("SSH-2.0-")
    assert client["fingerprint_type"] == "ssh_client_version"


async def test_collect_rehearsal_stores_some_of_everything_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    await collect.rehearse(tmp_path)
    rows = query(tmp_path / "decnet.db", "SELECT bounty_type, count(*) FROM bounty GROUP BY 1")
    assert dict(rows).keys() == {"artifact", "fingerprint", "ip_leak", "probe_relay"}
    seen = query(tmp_path / "decnet.db", "SELECT observation_count FROM observed_attachments")
    assert seen == [(24,)]

    def left() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        ours = ("_connection_worker", "aiosqlite", "ledger")
        return [name for name in names if any(part in name for part in ours)]

    await until(lambda: not left())  # a thread ends a moment after it has said so


async def test_ship_rehearsal_leaves_each_line_once(tmp_path: Path) -> None:
    await shipping.rehearse(tmp_path)
    assert len((tmp_path / "master.log").read_text().splitlines()) == shipping.ROUNDS
