"""The decoys' protocols without a network: HTTP, who is let in, recordings."""

from __future__ import annotations

import base64
import datetime as dt
import json
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
