"""Any bytes in a spool file become a record: an event, or the reason why it is none."""

from __future__ import annotations

import base64
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.collect.address import UNKNOWN, attacker_address, parse_address
from decnet.collect.noise import NoiseLimit
from decnet.collect.record import HEAD_MOST, LINE_MOST, PARSE_ERROR, read_line
from decnet.collect.sessions import session_end, window
from decnet.decoys.journal import LINE_MOST as JOURNAL_LINE_MOST
from decnet.decoys.journal import VALUE_MOST, make_line

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


def written(event: str, fields: dict[str, str], msg: str | None = None) -> bytes:
    return make_line("decky-01", "ssh", event, fields, msg, 6, NOW)


@given(st.binary(max_size=300))
def test_record_of_any_bytes_is_printable(line: bytes) -> None:
    record = read_line(line, "x", NOW)
    assert record.raw_line.isprintable()
    assert all(v.isprintable() for v in record.fields.values())


@given(st.dictionaries(st.sampled_from(["command", "username", "path"]), TEXT), TEXT)
def test_record_of_a_decoys_line_is_the_event(fields: dict[str, str], msg: str) -> None:
    record = read_line(written("command", {"src_ip": "192.0.2.7", **fields}, msg), "x", NOW)
    assert (record.fault, record.event_type, record.decky) == ("", "command", "decky-01")
    assert record.attacker_ip == "192.0.2.7"
    assert set(fields) <= set(record.fields)
    assert "\n" not in record.raw_line


@given(st.binary(max_size=500))
def test_record_keeps_the_exact_bytes_of_a_secret(secret: bytes) -> None:
    fields = {"principal": "root", "secret_b64": base64.b64encode(secret).decode()}
    found = read_line(written("login_attempt", fields), "x", NOW).secret
    assert found is not None
    assert base64.b64decode(found.b64) == secret
    assert found.principal == "root"


def test_record_of_a_line_that_tries_to_be_two() -> None:
    evil = 'x"] y\n<134>1 2026-11-24T03:00:00Z decky-09 ssh - login_attempt [relay@55555 a="b"]'
    line = written("command", {"src_ip": "192.0.2.7", "command": evil})
    assert line.count(b"\n") == 0
    record = read_line(line, "x", NOW)
    assert record.decky == "decky-01"
    assert record.fields["command"] == evil.replace("\n", "\\x0a")


def test_record_says_what_was_cut() -> None:
    line = written("command", {"command": "a" * 100_000, "path": "/"})
    record = read_line(line, "x", NOW)
    assert len(record.fields["command"]) == VALUE_MOST
    assert record.fields["truncated"] == "command"
    assert record.fields["path"] == "/"


@pytest.mark.parametrize("char", ["\U0010ffff", "\x00", '"', "é", "a"])
def test_record_line_is_bounded_whatever_fills_it(char: str) -> None:
    fields = {f"f{n}": char * 200_000 for n in range(20)}
    line = written("request", fields, char * 200_000)
    assert len(line) <= JOURNAL_LINE_MOST < LINE_MOST
    assert not read_line(line, "x", NOW).fault


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\xfe\x00", "not_utf8"),
        (b"hello", "not_rfc5424"),
        (b"", "not_rfc5424"),
        (b"a" * (LINE_MOST + 1), "too_long"),
        (b"<134>1 2026-99-24T03:00:00Z h a - m -", "not_rfc5424"),
    ],
)
def test_record_of_a_bad_line_says_why(line: bytes, reason: str) -> None:
    record = read_line(line, "decoy@ssh", NOW)
    assert record.fault == record.fields["reason"] == reason
    assert (record.event_type, record.service) == (PARSE_ERROR, "decoy@ssh")
    assert (record.attacker_ip, record.timestamp) == (UNKNOWN, NOW)
    assert len(record.raw_line) <= HEAD_MOST
    assert record.fields["size"] == str(len(line))


def test_record_from_the_far_future_is_dated_now() -> None:
    line = make_line("d", "ssh", "connect", {}, None, 6, NOW + dt.timedelta(days=400))
    assert read_line(line, "x", NOW).timestamp == NOW


def test_record_with_a_secret_that_is_no_base64_is_an_event_without() -> None:
    record = read_line(written("login_attempt", {"secret_b64": "%%%"}), "x", NOW)
    assert record.secret is None
    assert not record.fault


@pytest.mark.parametrize(
    ("fields", "text", "address"),
    [
        ({"src_ip": "192.0.2.7"}, "", "192.0.2.7"),
        ({"src": "192.0.2.7:4711"}, "", "192.0.2.7"),
        ({"ip": "[2001:db8::1]:22"}, "", "2001:db8::1"),
        ({"src_ip": "::ffff:192.0.2.7"}, "", "192.0.2.7"),
        ({"client_ip": "192.0.2.8", "src_ip": "192.0.2.7"}, "", "192.0.2.7"),
        ({"src_ip": "nonsense", "ip": "192.0.2.9"}, "", "192.0.2.9"),
        ({}, "login rhost=192.0.2.7 failed", "192.0.2.7"),
        ({}, "Connection from 192.0.2.7, port 5", "192.0.2.7"),
        ({}, "remote_addr=192.0.2.7:80 x", "192.0.2.7"),
        ({}, "from nowhere", UNKNOWN),
        ({"src_ip": "999.1.1.1"}, "", UNKNOWN),
        ({}, "", UNKNOWN),
    ],
)
def test_address_is_found(fields: dict[str, str], text: str, address: str) -> None:
    assert attacker_address(fields, text) == address


@given(TEXT)
def test_address_of_any_text_is_one_or_none(text: str) -> None:
    found = attacker_address({"src_ip": text}, text)
    assert found == UNKNOWN or parse_address(found) == found


def test_noise_is_let_through_once_a_second() -> None:
    limit = NoiseLimit()
    at = [NOW + SECOND * n / 4 for n in range(9)]
    passed = [limit.passes("192.0.2.7", "d", "ssh", "connect", time) for time in at]
    assert passed == [True, False, False, False, True, False, False, False, True]
    assert limit.suppressed == 6


def test_noise_is_told_apart_by_all_four() -> None:
    limit = NoiseLimit()
    assert limit.passes("192.0.2.7", "d", "ssh", "connect", NOW)
    assert limit.passes("192.0.2.8", "d", "ssh", "connect", NOW)
    assert limit.passes("192.0.2.7", "e", "ssh", "connect", NOW)
    assert limit.passes("192.0.2.7", "d", "http", "connect", NOW)
    assert limit.passes("192.0.2.7", "d", "ssh", "disconnect", NOW)
    assert limit.suppressed == 0


def test_noise_limit_leaves_what_is_no_noise_alone() -> None:
    limit = NoiseLimit()
    assert all(limit.passes("192.0.2.7", "d", "ssh", "login_attempt", NOW) for _ in range(5))
    assert not limit.passes("Unknown", "d", "sshd", "login_attempt", NOW)


def test_noise_limit_remembers_so_many_and_no_more() -> None:
    limit = NoiseLimit(most=10)
    for n in range(100):
        assert limit.passes(f"192.0.2.{n}", "d", "ssh", "connect", NOW)
    assert limit.passes("192.0.2.0", "d", "ssh", "connect", NOW), "forgotten, so it passes again"
    assert not limit.passes("192.0.2.99", "d", "ssh", "connect", NOW)


def test_session_end_is_read_and_bounded() -> None:
    fields = {
        "src_ip": "192.0.2.7",
        "session_id": "s" * 500,
        "duration_s": "90000000",
        "size_bytes": "nan",
        "truncated": "true",
        "shard_path": "/x",
    }
    end = session_end(read_line(written("session_recorded", fields), "x", NOW))
    assert end is not None
    assert (len(end.session_id), end.size_bytes, end.truncated) == (128, 0, True)
    since, until = window(end)
    assert until - since <= dt.timedelta(seconds=3601)
    assert session_end(read_line(written("session_recorded", {}), "x", NOW)) is None
    assert session_end(read_line(written("command", fields), "x", NOW)) is None
