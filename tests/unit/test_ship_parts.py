"""Frames, names in certificates, the listener's ledger, the forwarder's place in a log."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from decnet.context import WorkerError
from decnet.settings import Settings
from decnet.ship import certs
from decnet.ship.certs import AuthorityError
from decnet.ship.frames import FRAME_MOST, FrameReader, frame
from decnet.ship.ledger import Arrived, Ledger
from decnet.ship.options import ShipOptions
from decnet.ship.sender import Sender
from decnet.ship.tls import client_context, days_left, peer_name, server_context

LINE = b'<134>1 2026-11-24T03:00:00Z d ssh - command [relay@55555 src_ip="192.0.2.7"] %d'


@given(st.lists(st.binary(min_size=1, max_size=300)), st.lists(st.integers(1, 50)))
def test_frames_come_out_however_the_stream_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(message) for message in messages)
    reader, found, at = FrameReader(), [], 0
    for size in [*cuts, len(stream)]:
        found += reader.feed(stream[at : at + size])
        at += size
    assert found == messages
    assert reader.is_empty
    assert reader.fault is None


@given(st.binary(max_size=2000))
def test_frames_of_anything_never_raise_and_never_grow(data: bytes) -> None:
    reader = FrameReader()
    for at in range(0, len(data), 100):
        for message in reader.feed(data[at : at + 100]):
            assert 0 < len(message) <= FRAME_MOST


@pytest.mark.parametrize("bad", [b"0 ", b"05 hello", b" ", b"-1 x", b"65537 ", b"9" * 30, b"<13>x"])
def test_frames_bad_lengths_end_the_stream_behind_the_good_ones(bad: bytes) -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"good") + bad + frame(b"more")) == [b"good"]
    assert reader.fault is not None
    assert reader.feed(frame(b"more")) == []


def test_frames_longest() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"x" * FRAME_MOST)) == [b"x" * FRAME_MOST]
    with pytest.raises(ValueError, match="65537"):
        frame(b"x" * (FRAME_MOST + 1))


def subject(*names: str) -> dict[str, object]:
    return {"subject": tuple((("commonName", name),) for name in names)}


def test_names_only_what_can_be_part_of_a_path() -> None:
    assert peer_name(subject("agent-1")) == "agent-1"
    for bad in ("", " ", "../x", ".x", "a/b", "a b", "a\nb", "x" * 65, "ä"):
        assert peer_name(subject(bad)) == "", bad
    assert peer_name(subject("a", "b")) == "", "two names are none"
    assert peer_name({"subject": ()}) == peer_name(None) == ""
    assert days_left({"notAfter": "Jan  5 09:34:43 2018 GMT"}, 1515144883.0 - 86400 * 3) == 3


def test_certificates_are_what_they_should_be(tmp_path: Path) -> None:
    assert certs.init(tmp_path, with_agent=True)
    key = (tmp_path / "ca" / "ca.key").read_bytes()
    assert not certs.init(tmp_path), "never a second authority over the first"
    assert (tmp_path / "ca" / "ca.key").read_bytes() == key
    folder = certs.issue(tmp_path, "web-7")
    for file, mode in (("worker.key", 0o600), ("worker.crt", 0o644), ("ca.crt", 0o644)):
        assert (folder / file).stat().st_mode & 0o777 == mode
    assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
    authority = x509.load_pem_x509_certificate((tmp_path / "ca" / "ca.crt").read_bytes())
    made = x509.load_pem_x509_certificate((folder / "worker.crt").read_bytes())
    made.verify_directly_issued_by(authority)
    assert (made.not_valid_after_utc - made.not_valid_before_utc).days == 825
    assert (authority.not_valid_after_utc - authority.not_valid_before_utc).days == 3650
    for context in (client_context(folder), server_context(tmp_path / "master")):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.verify_mode == ssl.CERT_REQUIRED
    assert not list(tmp_path.rglob(".*")), "no drafts"


def test_certificates_refusals_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError) as caught:
        certs.issue(tmp_path, "web-7")
    assert "ca init" in caught.value.hint
    certs.init(tmp_path)
    for name in ("", "../x", "a b", "x" * 65):
        with pytest.raises(AuthorityError):
            certs.issue(tmp_path, name)
    (tmp_path / "master" / "worker.crt").write_text("no certificate")
    with pytest.raises(WorkerError) as refused:
        server_context(tmp_path / "master")
    assert refused.value.exit_code == 78


def test_bundle_in_the_folder_itself_is_an_agents(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_SHIP_DIR": str(tmp_path / "etc")}
    options = ShipOptions.from_env(Settings.from_env(env), env)
    assert options.agent_bundle == tmp_path / "etc" / "agent"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "worker.key").touch()
    assert options.agent_bundle == options.master_bundle == tmp_path / "etc"


def ledger(folder: Path, *, ingest: bool = True) -> Ledger:
    (folder / "spool").mkdir(exist_ok=True)
    made = Ledger(folder / "listener.json", folder / "master.log", folder / "spool", ingest=ingest)
    made.open()
    return made


def arrived(*numbers: int, source: str = "a", stream: str = "s") -> list[Arrived]:
    return [Arrived(source, LINE % number, stream, number) for number in numbers]


def texts(folder: Path) -> list[str]:
    return [line.rpartition(" ")[2] for line in (folder / "master.log").read_text().splitlines()]


class Killed(BaseException):
    """Stands for a kill at some system call."""


def test_ledger_killed_at_any_step_holds_each_line_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the step at which it dies, a sender that goes on from `next` completes the file."""
    from decnet.ship import jsonfile
    from decnet.ship import ledger as module

    for step in range(12):
        folder = tmp_path / str(step)
        folder.mkdir()
        first = ledger(folder)
        first.commit(first.prepare(arrived(0, 1)))
        left = [step]

        def count(real: object, left: list[int] = left) -> object:
            def call(*args: object, **kwargs: object) -> object:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return real(*args, **kwargs)  # type: ignore[operator]

            return call

        with monkeypatch.context() as patch:
            for owner, name in (
                (module.Appender, "follow"),
                (module.Appender, "append"),
                (module.Appender, "sync"),
                (jsonfile, "save"),
                (Ledger, "_reveal"),
                (module.Appender, "advance"),
                (Ledger, "_hide"),
            ):
                patch.setattr(owner, name, count(getattr(owner, name)))
            try:
                first.commit(first.prepare(arrived(2, 3, 4)))
            except Killed:
                pass
        first.close()
        second = ledger(folder)
        following = second.next("a", "s")
        assert following in (2, 5)
        # The sender's next batch is of another size than the one that was interrupted.
        for number in range(following, 6):
            second.commit(second.prepare(arrived(number)))
        second.close()
        assert texts(folder) == list("012345"), f"killed at step {step}"
        records = [json.loads(x) for x in (folder / "master.json").read_text().splitlines()]
        assert [record["msg"] for record in records] == list("012345")
        spool = sorted((folder / "spool").iterdir())
        assert all(path.name.startswith("ship@a.log.") for path in spool)
        spooled = b"".join(path.read_bytes() for path in spool).splitlines()
        assert spooled == [LINE % n for n in range(6)], f"killed at step {step}"


def test_ledger_remembers_few_sequences_of_a_source(tmp_path: Path) -> None:
    made = ledger(tmp_path, ingest=False)
    for number in range(20):
        made.commit(made.prepare(arrived(0, stream=f"s{number}")))
    assert made.next("a", "s19") == 1
    assert made.next("a", "s0") == 0
    assert not list((tmp_path / "spool").iterdir())
    made.close()


def test_sender_counts_on_over_restarts(tmp_path: Path) -> None:
    log = tmp_path / "decnet.log"
    log.write_bytes(b"0\n1\n2\nhal")
    sender = Sender(log, tmp_path / "forwarder.json")
    sender.open()
    lines = sender.read(2)
    assert lines is not None
    assert lines.lines == (b"0", b"1")
    sender.advance(lines)
    sender.save()
    again = Sender(log, tmp_path / "forwarder.json")
    again.open()
    assert (again.stream, again.next) == (sender.stream, 2)
    more = again.read(10)
    assert more is not None
    assert more.lines == (b"2",)
    again.advance(more)
    assert again.read(10) is None, "half a line waits"


def test_sender_killed_before_its_first_note_counts_from_the_same_file(tmp_path: Path) -> None:
    log = tmp_path / "decnet.log"
    log.write_bytes(b"0\n1\n")
    first = Sender(log, tmp_path / "forwarder.json")
    first.open()
    assert first.read(10) is not None  # sent, acknowledged, and then killed
    log.rename(tmp_path / "decnet.log.1")
    log.write_bytes(b"2\n")
    second = Sender(log, tmp_path / "forwarder.json")
    second.open()
    lines = second.read(10)
    assert lines is not None
    assert lines.lines == (b"0", b"1"), "the master has these: they are what is to be skipped"


def test_sender_takes_its_path_literally(tmp_path: Path) -> None:
    folder = tmp_path / "odd[name]*"
    folder.mkdir()
    (folder / "decnet.log").write_bytes(b"0\n")
    sender = Sender(folder / "decnet.log", folder / "forwarder.json")
    sender.open()
    lines = sender.read(1)
    assert lines is not None
    assert lines.lines == (b"0",)


def test_sender_puts_a_broken_state_aside(tmp_path: Path) -> None:
    (tmp_path / "forwarder.json").write_text("{half")
    sender = Sender(tmp_path / "decnet.log", tmp_path / "forwarder.json")
    sender.open()
    assert sender.next == 0
    assert (tmp_path / "forwarder.bad").exists()
