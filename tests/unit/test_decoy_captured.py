"""What decoys keep of what they are sent: parts of mails and forms, and files by their hash."""

from __future__ import annotations

import base64
import binascii
import hashlib
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys import captures as captures_module
from decnet.decoys.captures import Captures, captures_folder
from decnet.decoys.http_parse import form_login
from decnet.decoys.mime import DEPTH_MOST, PARTS_MOST, headers_of, parts_of, words


def test_mime_finds_attachments_as_a_mail_program_does() -> None:
    files = {"a.zip": b"PK\x03\x04" * 99, "b\u00e4r.pdf": b"%PDF\n\r\n--x", "c.exe": b"MZ\0"}
    message = EmailMessage()
    message["Subject"] = "Gr\u00fc\u00dfe " * 20
    message.set_content("text")
    message.add_alternative("<p>text</p>", subtype="html")
    for name, data in files.items():
        message.add_attachment(data, maintype="application", subtype="x", filename=name)
    headers, body = headers_of(message.as_bytes())
    found = [part for part in parts_of(headers, body) if part.is_attachment]
    assert {p.filename: p.sha256 for p in found} == {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items()
    }
    assert words(headers["subject"]).split() == ["Gr\u00fc\u00dfe"] * 20


def test_mime_form_fields_may_carry_a_password() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nbob\r\n'
        b'--b\r\nContent-Disposition: form-data; name="pass"\r\n\r\np\xffw\r\n--b--\r\n'
    )
    found = form_login("multipart/form-data; boundary=b", body)
    assert found is not None
    assert (found.principal, found.secret) == ("bob", b"p\xffw")


def test_mime_depth_and_number_have_an_end() -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n) for n in range(50)
    )
    (part,) = parts_of(*headers_of(nested))
    assert part.content_type == "multipart/mixed", "what lies deeper is one lump"
    assert nested.count(b"boundary") > DEPTH_MOST
    many = b"--b\r\n\r\nx\r\n" * 1000
    assert len(parts_of({"content-type": "multipart/mixed; boundary=b"}, many)) == PARTS_MOST


@given(st.text(max_size=60), st.binary(max_size=300), st.text(max_size=20))
def test_mime_any_message_has_parts(kind: str, body: bytes, encoding: str) -> None:
    headers = {"content-type": kind, "content-transfer-encoding": encoding}
    assert len(parts_of(headers, body)) <= PARTS_MOST
    headers_of(body)
    words(kind)


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "8bit", "nonsense"])
@given(st.binary(max_size=100))
def test_mime_transfer_encodings(encoding: str, data: bytes) -> None:
    wire = {"base64": base64.encodebytes(data), "quoted-printable": binascii.b2a_qp(data)}
    headers = {"content-type": "a/b", "content-transfer-encoding": encoding}
    (part,) = parts_of(headers, wire.get(encoding, data))
    if encoding == "quoted-printable" and b"\r" in data:
        return  # quoted-printable is for text, and takes liberties with line ends
    assert part.sha256 == hashlib.sha256(data).hexdigest()


def test_captures_are_kept_once_by_their_hash(tmp_path: Path) -> None:
    captures = Captures(captures_folder(tmp_path, "../decky", "ftp"))
    paths = []
    for _ in range(2):
        capture = captures.begin()
        capture.write(b"PK\x03\x04")
        capture.write(b"rest")
        capture.keep()
        capture.drop()
        assert (capture.size_bytes, capture.truncated) == (8, False)
        paths.append(capture.path)
    assert paths[0] == paths[1]
    assert paths[0] is not None
    assert paths[0].read_bytes() == b"PK\x03\x04rest"
    assert paths[0].stem == hashlib.sha256(b"PK\x03\x04rest").hexdigest() == capture.sha256
    assert paths[0].is_relative_to(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [paths[0]]
    assert captures.health() == {"captures": 2, "captures_not_kept": 0}


def test_captures_have_a_bound_each_and_a_day_over_restarts(tmp_path: Path) -> None:
    sizes = []
    for number in range(6):  # a new process each time
        captures = Captures(tmp_path, most=1000, day_most=2500)
        capture = captures.begin()
        for _ in range(3):
            capture.write(bytes([number]) * 700)
        capture.keep()
        assert capture.truncated
        assert capture.size_bytes == 2100
        assert capture.sha256 == hashlib.sha256(bytes([number]) * 2100).hexdigest()
        sizes = [p.stat().st_size for p in tmp_path.rglob("*.bin")]
        assert sum(sizes) <= 2500
    assert sizes.count(1000) == 2


def test_captures_that_are_dropped_leave_nothing(tmp_path: Path) -> None:
    captures = Captures(tmp_path, day_most=1000)
    for _ in range(10):
        capture = captures.begin()
        capture.write(b"x" * 900)
        assert not capture.truncated
        capture.drop()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    assert captures.open == 0


def test_captures_leave_no_draft_of_a_killed_process(tmp_path: Path) -> None:
    captures = Captures(tmp_path)
    dead = captures.begin()
    dead.write(b"half")
    assert [p.name[:7] for p in tmp_path.rglob("*") if p.is_file()] == [".draft-"]
    again = Captures(tmp_path).begin()
    again.drop()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    dead.drop()


def test_captures_that_cannot_be_written_are_hashed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    capture = Captures(tmp_path / "file").begin()
    capture.write(b"x")
    capture.keep()
    assert (capture.path, capture.sha256) == (None, hashlib.sha256(b"x").hexdigest())
    monkeypatch.setattr(captures_module, "OPEN_MOST", 1)
    captures = Captures(tmp_path / "other")
    first, second = captures.begin(), captures.begin()
    for one in (first, second):
        one.write(b"y")
        one.keep()
    assert (first.path is None, second.path is None) == (False, True)
