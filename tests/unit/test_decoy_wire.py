"""The decoys' parsers without a network: whatever comes is read or refused, and has a bound."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys import mysql_parse, redis_parse, telnet_parse
from decnet.decoys.ftp_data import plain_address, wanted_address
from decnet.decoys.ftp_files import Shelf
from decnet.decoys.looks import LOOKS
from decnet.decoys.mime import PARTS_MOST
from decnet.decoys.redis_store import ALL_BYTES_MOST, KEYS_MOST, VISIT_BYTES_MOST, Room, Store
from decnet.decoys.smtp_parse import MessageReader, base64_line, domain, path, plain, told_of
from decnet.decoys.tcp import looks_like
from decnet.decoys.telnet_parse import DO, IAC, SB, SE, WILL, Telnet

pieces = st.lists(st.binary(max_size=40), max_size=20)


# -- telnet


@given(pieces)
def test_telnet_pieces_make_no_difference(parts: list[bytes]) -> None:
    one, many = Telnet(), Telnet()
    whole = one.feed(b"".join(parts))
    split = [many.feed(part) for part in parts]
    assert whole.keys == b"".join(done.keys for done in split)
    assert (one.terminal, one.size, one.options) == (many.terminal, many.size, many.options)
    assert len(one.options) <= telnet_parse.ANSWERS_MOST


@given(st.binary(max_size=200))
def test_telnet_keys_come_through(keys: bytes) -> None:
    assert Telnet().feed(keys.replace(b"\xff", b"\xff\xff")).keys == keys


def test_telnet_options_are_answered_once_and_told() -> None:
    telnet = Telnet()
    ask = bytes((IAC, WILL, 24, IAC, DO, 1, IAC, DO, 39, IAC, WILL, 32))
    answer = telnet.feed(ask).answer
    assert answer == bytes(
        (IAC, SB, 24, 1, IAC, SE, IAC, telnet_parse.WONT, 39, IAC, telnet_parse.DONT, 32)
    )
    assert telnet.feed(ask * 100).answer == b""
    assert telnet.options == ["will-24", "do-1", "do-39", "will-32"]
    telnet.feed(bytes((IAC, SB, 24, 0)) + b"XTERM" + bytes((IAC, SE)))
    telnet.feed(bytes((IAC, SB, 31, 0, 200, 0, 50, IAC, SE)))
    telnet.feed(bytes((IAC, SB)) + b"x" * 100_000 + bytes((IAC, SE)) + b"id")
    assert (telnet.terminal, telnet.size) == ("XTERM", (200, 50))


# -- redis


@given(st.binary(max_size=100))
def test_redis_any_line_is_read_or_refused(line: bytes) -> None:
    for read in (redis_parse.count_of, redis_parse.length_of):
        try:
            assert 0 <= read(line) <= redis_parse.BULK_MOST
        except redis_parse.ProtocolError as error:
            assert str(error).isprintable()
    assert all(len(word) <= redis_parse.KEPT_MOST for word in redis_parse.inline(line))


def test_redis_inline_words_may_be_quoted() -> None:
    assert redis_parse.inline(b"set 'a b' \"c d\"  e") == [b"set", b"a b", b"c d", b"e"]


@given(st.lists(st.lists(st.binary(max_size=64), min_size=1, max_size=5), max_size=40))
def test_redis_any_command_is_answered_and_nothing_grows(commands: list[list[bytes]]) -> None:
    room = Room()
    store = Store(LOOKS[0], room)
    for line in commands:
        name = line[0] if len(line[0]) % 2 else b"SET"
        reply = redis_parse.encode(store.run([name, *line[1:]]))
        assert reply.endswith(b"\r\n")
    store.close()
    assert room.used == 0


def test_redis_store_has_a_bound_for_one_and_for_all() -> None:
    room = Room()
    one = Store(LOOKS[0], room)
    said = [one.run([b"SET", b"%d" % n, b"x" * 8000]) for n in range(100)]
    assert str(said[-1]).startswith("-OOM")
    assert one.used <= VISIT_BYTES_MOST
    many = [Store(LOOKS[0], room) for _ in range(200)]
    for store in many:
        for n in range(KEYS_MOST):
            store.run([b"SET", b"%d" % n, b"x" * 8000])
    assert room.used <= ALL_BYTES_MOST
    for store in (one, *many):
        store.run([b"FLUSHALL"])
        store.close()
        store.close()
    assert room.used == 0


def test_redis_answers_what_attackers_try() -> None:
    store = Store(LOOKS[1], Room())
    assert store.run([b"PING"]) == "+PONG"
    assert b"redis_version:6.0.16" in store.run([b"info"])  # type: ignore[operator]
    assert store.run([b"CONFIG", b"GET", b"dir"]) == [b"dir", b"/var/lib/redis"]
    assert store.run([b"config", b"set", b"dir", b"/root/.ssh"]) == "+OK"
    assert store.run([b"CONFIG", b"GET", b"d*r"]) == [b"dir", b"/root/.ssh"]
    assert store.run([b"SET", b"k", b"v"]) == "+OK"
    assert store.run([b"GET", b"k"]) == b"v"
    assert b"k" in store.run([b"KEYS", b"*"])  # type: ignore[operator]
    assert store.run([b"KEYS", b"*" * 200 + b"x"]) == []
    assert store.run([b"DEL", b"k", b"nothing"]) == 1
    assert str(store.run([b"GET"])).startswith("-ERR wrong number")
    assert str(store.run([b"\xff\r\n"])).startswith("-ERR unknown command")
    assert b"\n" not in redis_parse.encode(store.run([b"\xff\r\n+OK"]))[:-2]


# -- mysql


def login(user: bytes, response: bytes, database: bytes = b"") -> bytes:
    capabilities = mysql_parse.CAPABILITIES & ~0x100000
    head = capabilities.to_bytes(4, "little") + bytes(28)
    proof = bytes((len(response),)) + response
    return head + user + b"\0" + proof + database + b"\0" + mysql_parse.NATIVE.encode() + b"\0"


@given(
    st.binary(max_size=60).filter(lambda b: b"\0" not in b),
    st.binary(max_size=32),
    st.binary(max_size=20).filter(lambda b: b"\0" not in b),
)
def test_mysql_login_is_read(user: bytes, response: bytes, database: bytes) -> None:
    found = mysql_parse.parse_login(login(user, response, database))
    assert (found.user, found.response, found.database) == (user, response, database)
    assert found.plugin == mysql_parse.NATIVE


@given(st.binary(max_size=300), st.booleans())
def test_mysql_any_packet_is_read_or_refused(data: bytes, whole: bool) -> None:
    packet = login(b"root", b"x" * 20)[:32] + data if whole else data
    try:
        mysql_parse.parse_login(packet)
    except mysql_parse.BadPacket:
        return


def test_mysql_greeting_has_the_salt_in_two_parts() -> None:
    salt = bytes(range(0x21, 0x35))
    data = mysql_parse.greeting("8.0.36", 7, salt)
    assert int.from_bytes(data[:3], "little") == len(data) - 4
    assert data[4:12] == b"\x0a8.0.36\0"
    assert salt[:8] in data
    assert data.endswith(salt[8:] + b"\0mysql_native_password\0")


# -- smtp


def message_of(parts: list[bytes]) -> tuple[bytes, bytes, bool]:
    reader = MessageReader()
    text = b""
    for number, part in enumerate(parts):
        text += reader.feed(part)
        if reader.is_over:
            return text, reader.rest + b"".join(parts[number + 1 :]), True
    return text, b"", False


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b".").replace(b"\r", b".."))),
    st.binary(max_size=20),
    st.lists(st.integers(1, 8), max_size=60),
)
def test_smtp_message_comes_out_as_it_was_however_it_is_cut(
    lines: list[bytes], behind: bytes, cuts: list[int]
) -> None:
    original = b"".join(line + b"\r\n" for line in lines)
    stuffed = b"".join((b"." + ln if ln.startswith(b".") else ln) + b"\r\n" for ln in lines)
    wire, parts, at = stuffed + b".\r\n" + behind, [], 0
    for cut in cuts:
        parts.append(wire[at : at + cut])
        at += cut
    parts.append(wire[at:])
    assert message_of(parts) == (original, behind, True)


@pytest.mark.parametrize(
    ("rest", "found"),
    [
        (b"FROM:<a@b.example> SIZE=12", "a@b.example"),
        (b"from: <>", ""),
        (b"TO:a@b", "a@b"),
        (b"TO:<\xff\x1b@b>", "\udcff\x1b@b"),
        (b"SIDEWAYS:<a>", None),
        (b"", None),
    ],
)
def test_smtp_addresses(rest: bytes, found: str | None) -> None:
    assert path(rest) == found


def test_smtp_credentials() -> None:
    assert base64_line(b"AGJvYgBwdw==") == b"\0bob\0pw"
    assert base64_line(b"*") is None
    assert base64_line(b"\xff\xfe") is None
    found = plain(b"\0bob\0p\0w")
    assert found is not None
    assert (found.user, found.secret) == (b"bob", b"p\0w")
    assert plain(b"bob") is None
    assert (domain("a@B.Example"), domain("nobody")) == ("b.example", "")


@given(st.binary(max_size=2000))
def test_smtp_any_message_is_told(data: bytes) -> None:
    told = told_of(data, len(data))
    assert told["attachment_count"] <= PARTS_MOST
    json.dumps(told)


def test_smtp_list_of_attachments_is_whole_whatever_their_names() -> None:
    name = "=?utf-8?q?" + "=E2=80=AE" * 80 + "?="
    part = f'--b\r\nContent-Disposition: attachment; filename="{name}"\r\n\r\nx\r\n'
    message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 30
    told = told_of(message.encode(), len(message))
    listed = json.loads(told["attachments"])
    assert len(told["attachments"]) <= 3500
    assert told["attachment_count"] == 30
    assert {"\u202e" * 80} == {item["filename"] for item in listed}


# -- ftp


@pytest.mark.parametrize(
    ("verb", "rest", "found"),
    [
        ("PORT", b"192,0,2,66,4,1", ("192.0.2.66", 1025)),
        ("PORT", b"256,0,2,66,4,1", None),
        ("PORT", b"1,2,3", None),
        ("EPRT", b"|1|192.0.2.66|25|", ("192.0.2.66", 25)),
        ("EPRT", b"|2|2001:db8::1|25|", ("2001:db8::1", 25)),
        ("EPRT", b"|1|x|25", None),
    ],
)
def test_ftp_where_a_client_wants_to_be_called(
    verb: str, rest: bytes, found: tuple[str, int] | None
) -> None:
    assert wanted_address(verb, rest) == found


@given(st.binary(max_size=60))
def test_ftp_any_address_is_read_or_refused(rest: bytes) -> None:
    for verb in ("PORT", "EPRT"):
        wanted_address(verb, rest)


def test_ftp_addresses_compare_as_addresses() -> None:
    assert plain_address("::ffff:192.0.2.1") == plain_address("192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"
    assert plain_address("nonsense") == "nonsense"


@given(st.lists(st.tuples(st.sampled_from("pmrsl"), st.text(max_size=30)), max_size=30))
def test_ftp_shelf_takes_any_path(steps: list[tuple[str, str]]) -> None:
    shelf = Shelf(LOOKS[0])
    for what, text in steps:
        full = shelf.resolve(text)
        assert full.startswith("/")
        assert "/../" not in f"{full}/"
        if what == "p" and shelf.may_put(full):
            shelf.put(full, 7)
        elif what == "m":
            shelf.mkdir(full)
        elif what == "r":
            shelf.remove(full)
        else:
            shelf.size(full)
            shelf.listing(full)
            shelf.facts(full)


def test_ftp_shelf_shows_uploads_by_size_and_gives_none_back() -> None:
    shelf = Shelf(LOOKS[0])
    assert shelf.may_put("/incoming/x")
    assert not shelf.may_put("/nowhere/x")
    assert not shelf.may_put("/pub")
    shelf.put("/incoming/x", 123)
    assert shelf.listing("/incoming").split()[4] == "123"
    assert shelf.read("/incoming/x") is None
    assert shelf.remove("/incoming/x")
    assert not shelf.remove("/incoming/x")


# -- tcp


@pytest.mark.parametrize(
    ("data", "name"),
    [(b"\x16\x03\x01", "tls"), (b"GET / ", "http"), (b"SSH-2.0-x", "ssh"), (b"hello", "")],
)
def test_tcp_first_bytes_look_like_a_protocol(data: bytes, name: str) -> None:
    assert looks_like(data) == name
