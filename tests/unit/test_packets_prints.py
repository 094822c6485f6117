"""Fingerprints against published values, and against other implementations."""

from __future__ import annotations

import hashlib
import os
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.packets import ja, ssh, tls
from decnet.packets.rehearsal import client_hello, server_hello, ssh_offer
from decnet.packets.request import HEADERS_MOST, header_print, parse_head
from decnet.packets.tls import ClientHello, Malformed, ServerHello
from decnet.probes import jarm

# From the JA3 project's description.
JA3 = {
    "769,47-53-5-10-49161-49162-49171-49172-50-56-19-4,0-10-11,23-24-25,0": (
        "ada70206e40642a3e4461f35503241d5"
    ),
    "769,4-5-10-9-100-98-3-6-19-18-99,,,": "de350869b8c85de67a350c8d186f11e6",
}
# From the JA4 project's description: as sent, and its hash.
JA4_CIPHERS = "1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035"
JA4_EXTENSIONS = "001b 0000 0033 0010 4469 0017 002d 000d 0005 0023 0012 002b ff01 000b 000a 0015"
JA4_SIGNATURES = "0403 0804 0401 0503 0805 0501 0806 0601"
# From the HASSH project's description: the client Cyberduck 6.7.1.
CYBERDUCK = "8a8ae540028bf433cd68356c1b9e8d5b"
GROUPS = "diffie-hellman-group"
CYBERDUCK_KEX = ",".join(
    (
        "curve25519-sha256@libssh.org",
        f"{GROUPS}-exchange-sha256",
        *(f"ecdh-sha2-nistp{n}" for n in (521, 384, 256)),
        *(f"{GROUPS}{n}" for n in ("-exchange-sha1", "1-sha1", "14-sha1", "14-sha256")),
        *(f"{GROUPS}{n}-sha512" for n in (15, 16, 17, 18)),
        *(f"{GROUPS}{n}" for n in ("14-sha256@ssh.com", "15-sha256", "15-sha256@ssh.com")),
        *(f"{GROUPS}{n}" for n in ("15-sha384@ssh.com", "16-sha256", "16-sha384@ssh.com")),
        *(f"{GROUPS}{n}-sha512@ssh.com" for n in (16, 18)),
    )
)
CYBERDUCK_CIPHERS = ",".join(
    [f"aes{n}-{m}" for n in (128, 192, 256) for m in ("cbc", "ctr")]
    + [f"{c}-{m}" for c in ("blowfish", "cast128", "idea") for m in ("cbc", "ctr")]
    + [f"serpent{n}-{m}" for n in (128, 192, 256) for m in ("cbc", "ctr")]
    + ["3des-cbc", "3des-ctr"]
    + [f"twofish{n}-{m}" for n in (128, 192, 256) for m in ("cbc", "ctr")]
    + ["twofish-cbc", "arcfour", "arcfour128", "arcfour256"]
)
CYBERDUCK_MACS = "hmac-sha1,hmac-sha1-96,hmac-md5,hmac-md5-96,hmac-sha2-256,hmac-sha2-512"
# A scan as shown by a public search engine's manual.
JARM_ANSWERS = (
    "c013|0303|h2|ff01-0000-0001-000b-0023-0010-0017",
    "00c0|0303|h2|ff01-0000-0001-0023-0010-0017",
    "|||",
    "c013|0303||ff01-0000-0001-000b-0023-0017",
    "c013|0303||ff01-0000-0001-000b-0023-0017",
    "c013|0302|h2|ff01-0000-0001-000b-0023-0010-0017",
    "c013|0303|h2|ff01-0000-0001-000b-0023-0010-0017",
    "00c0|0303|h2|ff01-0000-0001-0023-0010-0017",
    "c013|0303|h2|ff01-0000-0001-000b-0023-0010-0017",
    "c013|0303|h2|ff01-0000-0001-000b-0023-0010-0017",
)
JARM = "21d19d00021d21d21c21d19d21d21da1a818a999858855445ec8a8fdd38eb5"


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize("text", JA3)
def test_prints_ja3_of_published_hellos(text: str) -> None:
    parts = [[int(n) for n in part.split("-") if n] for part in text.split(",")]
    # GREASE, wherever it is, changes nothing.
    lists = [(0x2A2A, *part) for part in parts[1:4]]
    hello = ClientHello(parts[0][0], lists[0], lists[1], lists[2], tuple(parts[4]))
    assert ja.ja3_text(hello) == text
    assert ja.md5(ja.ja3_text(hello)) == JA3[text]


def test_prints_ja4_of_the_published_example() -> None:
    hello = ClientHello(
        version=0x0303,
        ciphers=(0x0A0A, *numbers(JA4_CIPHERS)),
        extensions=(0x1A1A, *numbers(JA4_EXTENSIONS), 0xFAFA),
        signatures=numbers(JA4_SIGNATURES),
        alpn=(b"h2", b"http/1.1"),
        versions=(0x2A2A, 0x0304, 0x0303),
    )
    assert ja.ja4(hello) == "t13d1516h2_8daaf6152771_e5627efa2ab1"
    bare = ClientHello(0x0301, (), ())
    assert ja.ja4(bare) == "t10i000000_000000000000_000000000000"


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("ab", "ab"),
        ("20", "20"),
        ("abcd", "ad"),
        ("2061", "21"),
        ("30ab", "3b"),
        ("6120", "60"),
        ("3031abcd", "3d"),
        ("30abcd31", "01"),
    ],
)
def test_prints_ja4_protocol_ends_as_published(name: str, ends: str) -> None:
    assert ja.alpn_ends(bytes.fromhex(name)) == ends


def test_prints_ja3s_by_hand() -> None:
    hello = ServerHello(0x0303, 0x1301, (0x0033, 0x002B), chosen_version=0x0304)
    assert ja.ja3s_text(hello) == "771,4865,51-43"


def test_prints_headers_by_name_and_order_alone() -> None:
    def of(head: bytes) -> str:
        request = parse_head(head + b"\r\n")
        assert request is not None
        return header_print(request)

    one = of(b"GET /x HTTP/1.1\r\nHost: a\r\nAccept: b\r\n")
    assert one == hashlib.sha256(b"1.1:Host,Accept").hexdigest()[:24]
    assert one == of(b"POST /y HTTP/1.1\r\nHost: c\r\nAccept: d\r\n")
    assert one != of(b"GET /x HTTP/1.1\r\nAccept: b\r\nHost: a\r\n")
    assert one != of(b"GET /x HTTP/1.1\r\nhost: a\r\nAccept: b\r\n")


def test_prints_hello_read_as_scapy_reads_it() -> None:
    """The same bytes by scapy's own TLS dissector."""
    from scapy.layers.tls.record import TLS

    record = client_hello()
    ((kind, body),) = tls.messages(record)
    ours = tls.client_hello(body)
    theirs: Any = TLS(record).msg[0]
    assert kind == tls.CLIENT_HELLO
    assert list(ours.ciphers) == theirs.ciphers
    assert list(ours.extensions) == [extension.type for extension in theirs.ext]
    assert ours.session_id == theirs.sid
    by_type = {extension.type: extension for extension in theirs.ext}
    assert list(ours.groups) == by_type[tls.GROUPS].groups
    assert list(ours.signatures) == by_type[tls.SIGNATURES].sig_algs
    assert list(ours.versions) == by_type[tls.VERSIONS].versions
    assert ours.server_name == "warm.invalid"


def test_prints_hassh_of_a_published_client() -> None:
    offer = ssh.Offer(
        CYBERDUCK_KEX,
        "ssh-ed25519",
        (CYBERDUCK_CIPHERS, "x"),
        (CYBERDUCK_MACS, "y"),
        ("zlib@openssh.com,zlib,none", "z"),
    )
    assert offer.hassh == CYBERDUCK
    assert offer.hassh_server != CYBERDUCK


def test_prints_jarm_of_published_answers() -> None:
    assert jarm.fingerprint(JARM_ANSWERS) == JARM
    assert jarm.fingerprint(["|||"] * 10) == jarm.EMPTY


def test_prints_jarm_hellos_are_the_originals(monkeypatch: pytest.MonkeyPatch) -> None:
    """With chance taken out, byte for byte: the digest is of the original program's ten hellos."""
    monkeypatch.setattr(os, "urandom", lambda count: b"R" * count)
    monkeypatch.setattr(random, "choice", lambda values: 0x0A0A)
    sent = b"".join(jarm.build(hello, "10.0.0.1") for hello in jarm.HELLOS)
    assert (
        hashlib.sha256(sent).hexdigest()
        == "3abf476b5bc85d0d7828fa358ec7b55416a0039ee478a27e0d50af482c8e96e3"
    )


def test_prints_jarm_hellos_read_as_hellos() -> None:
    for hello in jarm.HELLOS:
        ((_, body),) = tls.messages(jarm.build(hello, "192.0.2.1"))
        read = tls.client_hello(body)
        assert read.server_name == "192.0.2.1"
        assert len([c for c in read.ciphers if not ja.is_grease(c)]) in (64, 69, 35, 34)


def test_prints_jarm_answer() -> None:
    assert jarm.answer(server_hello()) == "c02f|0303||ff01"
    assert jarm.answer(b"\x15\x03\x03\x00\x02\x02\x28") == jarm.NO_ANSWER
    assert jarm.answer(b"HTTP/1.1 400 Bad Request") == jarm.NO_ANSWER


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 600), st.integers(0, 255))
def test_prints_no_bytes_raise_anything_but_malformed(junk: bytes, at: int, byte: int) -> None:
    for good in (client_hello(), server_hello()):
        bad = bytearray(good + junk)
        bad[at % len(bad)] = byte
        for data in (junk, bytes(bad), bytes(bad[: at % len(bad)])):
            jarm.answer(data)
            try:
                for kind, body in tls.messages(data):
                    {1: tls.client_hello, 2: tls.server_hello}.get(kind, tls.leaf_certificate)(body)
            except Malformed:
                pass


@given(st.binary(max_size=200), st.integers(0, 300), st.integers(0, 255))
def test_prints_no_ssh_bytes_raise_anything_but_malformed(junk: bytes, at: int, byte: int) -> None:
    bad = bytearray(b"SSH-2.0-x\r\n" + ssh_offer() + junk)
    bad[at % len(bad)] = byte
    for data in (junk, bytes(bad), bytes(bad[: at % len(bad)])):
        try:
            split = ssh.split_banner(data)
            if split:
                ssh.first_offer(split[1])
        except Malformed:
            pass


@given(st.binary(max_size=300))
def test_prints_no_http_bytes_raise(junk: bytes) -> None:
    for data in (junk, b"GET / HTTP/1.1\r\n" + junk + b"\r\n\r\n"):
        request = parse_head(data)
        if request is not None:
            assert len(header_print(request)) == 24
    assert parse_head(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (HEADERS_MOST + 1) + b"\r\n") is None
