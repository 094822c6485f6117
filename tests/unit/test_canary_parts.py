"""Canaries without a process: slugs, addresses, fingerprints, DNS packets, the journal, bait."""

from __future__ import annotations

import base64
import datetime as dt
import io
import ipaddress
import json
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.canary import bait, instrument
from decnet.canary.bell import Bell
from decnet.canary.dns import answer
from decnet.canary.fingerprint import PAYLOAD_MOST, Assembler, Rate, decode, judge
from decnet.canary.hit import Hit, client_address, slug_of_name, slug_of_path
from decnet.canary.journal import QUEUE_MOST, Journal
from decnet.canary.settings import CanarySettings
from decnet.canary.store import Known, make_slug
from decnet.settings import SettingsError

SLUG = "abcdefghijklmnop2345"
CALL = bait.Call(f"http://192.0.2.7:8088/c/{SLUG}", f"{SLUG}.canary.test", "nonce", "mint")
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        (f"/c/{SLUG}", SLUG),
        (f"/c/{SLUG.upper()}", SLUG),
        (f"/c/{SLUG}.gif", SLUG),
        (f"/c/{SLUG}/bucket/key", SLUG),
        (f"/c/{SLUG}x", ""),
        ("/c/short", ""),
        (f"/d/{SLUG}", ""),
        ("", ""),
    ],
)
def test_canary_slug_of_a_path(path: str, slug: str) -> None:
    assert slug_of_path(path) == slug


def test_canary_slug_of_a_name() -> None:
    assert slug_of_name(f"{SLUG.upper()}.Canary.Test.", "canary.test") == SLUG
    assert slug_of_name(f"data.{SLUG}.canary.test", "canary.test") == SLUG
    assert slug_of_name(f"{SLUG}.canary.test.evil", "canary.test") == ""
    assert slug_of_name(f"{SLUG}.xcanary.test", "canary.test") == ""
    assert slug_of_path(f"/c/{make_slug()}")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "203.0.113.5", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.5, 10.9.9.9", "203.0.113.5"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),
        ("::ffff:10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
    ],
)
def test_canary_believes_trusted_proxies_only(
    peer: str, forwarded: str | None, address: str
) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


def payload(**more: object) -> str:
    groups = {"nav": {"ua": "x\x1b[2J"}, "screen": [1, 2], "tz": {"off": 0}}
    raw = json.dumps({"nonce": "nonce", "mint": "mint", **groups, **more})
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def test_canary_fingerprint_whole_and_in_pieces() -> None:
    assembler, data = Assembler(), payload()
    assert assembler.take(SLUG, "ip", f"d={data}") == data
    assert assembler.take(SLUG, "ip", f"o={data}") == data
    half = len(data) // 2
    assert assembler.take(SLUG, "ip", f"s=1&i=1&n=2&d={data[half:]}") is None
    assert assembler.take(SLUG, "other", f"s=1&i=0&n=2&d={data[:half]}") is None
    assert assembler.take(SLUG, "ip", f"s=1&i=0&n=2&d={data[:half]}") == data
    found = decode(data)
    assert found is not None
    judged = judge(found, "nonce", "mint")
    assert judged is not None and judged["nav"]["ua"] == "x\\x1b[2J"


@pytest.mark.parametrize(
    "query",
    [
        *("", "d=", "d=" + "A" * (PAYLOAD_MOST + 1), "s=1&d=AA", "s=1&i=2&n=2&d=A"),
        *("s=1&i=x&n=1&d=A", "s=1&i=0&n=99&d=A", "a=1&" * 50 + "d=A"),
    ],
)
def test_canary_fingerprint_pieces_that_are_none(query: str) -> None:
    assert Assembler().take(SLUG, "ip", query) is None


def test_canary_fingerprint_together_too_long_is_dropped() -> None:
    assembler = Assembler()
    for number in range(16):
        assert assembler.take(SLUG, "ip", f"s=1&i={number}&n=16&d={'A' * 1000}") is None


def test_canary_fingerprint_must_be_the_tokens_and_have_the_shape() -> None:
    found = decode(payload())
    assert found is not None
    assert judge(found, "other", "mint") is None
    assert judge(found, "nonce", "other") is None
    assert judge({**found, "tz": None}, "nonce", "mint") is None
    assert decode("!!") is decode("W10") is decode("A") is None


@settings(max_examples=60)
@given(st.text(max_size=200))
def test_canary_fingerprint_reads_anything(text: str) -> None:
    whole = Assembler().take(SLUG, "ip", text)
    found = decode(whole if whole is not None else text)
    if found is not None:
        judge(found, "nonce", "mint")


def test_canary_rate_forgets_with_time() -> None:
    now = [0.0]
    rate = Rate(2, 60, clock=lambda: now[0])
    assert [rate.allows("s", "ip") for _ in range(3)] == [True, True, False]
    assert rate.allows("s", "other")
    now[0] = 61
    assert rate.allows("s", "ip")


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_canary_dns_reads_anything(data: bytes) -> None:
    reply, slug, _ = answer(data, "canary.test", "192.0.2.1")
    assert slug == ""
    assert reply is None or (reply[:2] == data[:2] and reply[2] & 0x80)


@settings(max_examples=150)
@given(st.integers(0, 60), st.integers(0, 255))
def test_canary_dns_survives_a_changed_byte(at: int, value: int) -> None:
    wire = bytearray(dns.message.make_query(f"{SLUG}.canary.test", "A").to_wire())
    wire[at % len(wire)] = value
    reply, _, _ = answer(bytes(wire), "canary.test", "192.0.2.1")
    assert reply is None or len(reply) < 200


def test_canary_dns_answers_are_the_same_for_all_slugs() -> None:
    rows = []
    for slug in (SLUG, make_slug()):
        query = dns.message.make_query(f"{slug}.canary.test", "A")
        reply, asked, _ = answer(query.to_wire(), "canary.test", "192.0.2.1")
        assert asked == slug and reply is not None
        got = dns.message.from_wire(reply)
        rows.append((got.rcode(), [r.to_text() for r in got.answer[0]], got.answer[0].ttl))
    assert rows[0] == rows[1] == (dns.rcode.NOERROR, ["192.0.2.1"], 0)
    response = dns.message.make_response(dns.message.make_query("canary.test", "A")).to_wire()
    assert answer(response, "canary.test", "192.0.2.1")[0] is None, "no loop between two servers"


def hit(number: int = 0, **more: str) -> Hit:
    return Hit(slug=SLUG, src_ip=f"192.0.2.{number % 250}", at=NOW, **more)


def journal(folder: Path, most: int = 1 << 20) -> Journal:
    made = Journal(folder / "hits.jsonl", most)
    made.open()
    return made


def drain(made: Journal) -> list[Hit]:
    found = []
    while hits := made.take(300):
        found += hits
        made.stored()
    made.stored()
    return found


def test_canary_journal_is_empty_when_all_is_stored(tmp_path: Path) -> None:
    made = journal(tmp_path)
    hits = [hit(n) for n in range(5)]
    for one in hits:
        made.add(one)
    assert made.size > 0
    assert drain(made) == hits
    assert made.size == 0 == made.path.stat().st_size
    made.close()


def test_canary_journal_of_a_killed_worker_is_read_again(tmp_path: Path) -> None:
    made = journal(tmp_path)
    hits = [hit(n, path="/c/\udce4\n") for n in range(5)]
    for one in hits:
        made.add(one)
    made.take(2)  # and killed: nothing was told to be stored
    with made.path.open("ab") as file:
        file.write(b'{"slug": "cut')
    again = journal(tmp_path)
    assert drain(again) == hits
    assert again.bad_lines == 1 and again.size == 0


def test_canary_journal_takes_more_than_memory(tmp_path: Path) -> None:
    made = journal(tmp_path, 64 << 20)
    hits = [hit(n) for n in range(2 * QUEUE_MOST + 50)]
    for one in hits:
        made.add(one)
    assert len(made) == QUEUE_MOST and made.spilled
    first = made.take(100)
    made.stored()
    made.add(hit(7))  # behind all others
    found = first + drain(made)
    assert found[:-1] == hits and found[-1].src_ip == "192.0.2.7"
    assert made.size == 0 and not made.lost


def test_canary_journal_that_is_full_leaves_memory(tmp_path: Path) -> None:
    made = journal(tmp_path, 1024)
    for number in range(3 * QUEUE_MOST):
        made.add(hit(number))
    assert made.unwritten and made.size <= 1024
    kept = drain(made)
    assert len(kept) + made.lost == 3 * QUEUE_MOST
    assert len(kept) >= QUEUE_MOST


@settings(max_examples=60)
@given(st.binary(max_size=400))
def test_canary_journal_reads_anything(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    (folder / "hits.jsonl").write_bytes(data)
    made = journal(folder)
    one = hit()
    made.add(one)
    assert drain(made)[-1:] == [one]
    assert made.size == 0
    made.close()


def test_canary_bell_takes_new_tokens_and_counts_the_rest(tmp_path: Path) -> None:
    made, rang = journal(tmp_path), []
    bell = Bell(made, lambda: rang.append(1))
    bell.http(SLUG, "192.0.2.1", f"/c/{SLUG}", "", {"user-agent": "a\x1bb", "cookie": "secret"})
    bell.dns(make_slug(), "192.0.2.1", "x")
    assert not rang and not len(made)
    bell.renew({SLUG: Known("mint", "nonce", False)})
    (first,) = drain(made)
    assert first.user_agent == "a\\x1bb" and first.headers["cookie"] == "(sent)"
    assert bell.counts == {"taken": 1, "unknown": 1}
    bell.http(SLUG, "192.0.2.1", f"/c/{SLUG}", f"d={payload()}", {})
    assert drain(made)[0].fingerprint is not None
    for _ in range(40):
        bell.http(SLUG, "192.0.2.1", f"/c/{SLUG}", "d=bad", {})
    assert bell.counts["fingerprints_bad"] == 29 and bell.counts["fingerprints_too_many"] == 11
    for _ in range(200):
        bell.dns(SLUG, "192.0.2.1", "x")
    assert bell.counts["too_many"] > 0
    bell.renew({SLUG: Known("mint", "nonce", True)})
    bell.dns(SLUG, "192.0.2.9", "x")
    assert bell.counts["after_revoked"] == 1


@pytest.mark.parametrize("kind", list(bait.GENERATORS))
def test_canary_bait_calls_home_and_is_the_same_twice(kind: str) -> None:
    made = bait.generate(kind, CALL)
    assert CALL.url.encode() in made.data or CALL.name.encode() in made.data
    if kind == "ssh":
        key = made.data[made.data.index(b"-----BEGIN") :]
        assert load_ssh_private_key(key, None) is not None
    else:
        assert bait.generate(kind, CALL) == made
    if kind == "svg":
        ET.fromstring(made.data)


def docx(**extra: bytes) -> bytes:
    out = io.BytesIO()
    namespace = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "word/document.xml",
            f"<w:document {namespace}><w:body><w:p/><w:sectPr/></w:body></w:document>",
        )
        archive.writestr(
            "word/_rels/document.xml.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="rId7" Type="t" Target="styles.xml"/></Relationships>',
        )
        for name, data in extra.items():
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def test_canary_docx_gets_a_picture_at_the_url() -> None:
    made = instrument.instrument("docx", docx(picture=b"\x00" * 1000), CALL)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert archive.read("picture") == b"\x00" * 1000
        links = ET.fromstring(archive.read("word/_rels/document.xml.rels"))
        document = ET.fromstring(archive.read("word/document.xml"))
    (mine,) = [link for link in links if link.get("TargetMode") == "External"]
    assert mine.get("Target") == CALL.url + ".png"
    body = document[0]
    assert [child.tag.rpartition("}")[2] for child in body] == ["p", "p", "sectPr"]
    (blip,) = [e for e in body.iter() if e.tag.endswith("}blip")]
    assert mine.get("Id") in blip.attrib.values()


def test_canary_docx_that_is_a_bomb_or_none_is_refused() -> None:
    bomb = docx(zeros=b"\0" * (instrument.UNPACKED_MOST + 1))
    for data in (b"", b"PK\x03\x04", bomb, docx()[:-40]):
        with pytest.raises(instrument.BadFile):
            instrument.instrument("docx", data, CALL)


@settings(max_examples=60)
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=8))
def test_canary_docx_with_changed_bytes_is_baited_or_refused(at: int, noise: bytes) -> None:
    data = bytearray(docx())
    at %= len(data)
    data[at : at + len(noise)] = noise
    try:
        made = instrument.instrument("docx", bytes(data), CALL)
    except instrument.BadFile:
        return
    assert zipfile.is_zipfile(io.BytesIO(made))


def test_canary_html_text_and_svg_keep_what_they_have() -> None:
    page = instrument.instrument("html", b"<html><BODY>hi</BODY></html>", CALL)
    assert page.startswith(b"<html><BODY>hi<img") and page.endswith(b"</BODY></html>")
    text = instrument.instrument("text", b"notes\r\n", CALL)
    assert text.startswith(b"notes\r\n") and text.count(b"\r\n") == 3
    picture = instrument.instrument("svg", b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', CALL)
    ET.fromstring(picture)
    with pytest.raises(instrument.BadFile):
        instrument.instrument("text", b"\0\1", CALL)
    with pytest.raises(instrument.BadFile):
        instrument.instrument("text", b"x" * (instrument.FILE_MOST + 1), CALL)


@pytest.mark.parametrize(
    "env",
    [
        {"DECNET_CANARY_DNS_ZONE": "nodots"},
        {"DECNET_CANARY_HTTP_BASE": "files"},
        {"DECNET_TRUSTED_PROXIES": "10.0.0.0/8 nonsense"},
        {"DECNET_CANARY_DNS_ANSWER": "::1"},
    ],
)
def test_canary_settings_that_are_wrong_name_their_variable(env: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(env))):
        CanarySettings.from_env(Path("/x"), env)
