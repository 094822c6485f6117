"""Old syslog lines, other programs' files over rotation, what a syslog socket takes."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.collect import follow, rfc3164, tail
from decnet.collect.inlet import MESSAGE_MOST, Inlet
from decnet.collect.noise import NoiseLimit
from decnet.collect.only import SpoolTaken, only_reader
from decnet.collect.options import CollectOptions
from decnet.collect.record import read_line
from decnet.collect.rfc5424 import SyntaxFault
from decnet.collect.tail import Cursor
from decnet.settings import Settings, SettingsError

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)


def local(*parts: int) -> dt.datetime:
    return dt.datetime(*parts).astimezone(dt.UTC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "host", "tag", "pid", "text"),
    [
        ("<13>Nov 24 20:21:35 tag[19192]: hello", "", "tag", "19192", "hello"),
        ("<13>Nov 24 20:21:35 vm tag[19194]: hello: x", "vm", "tag", "19194", "hello: x"),
        ("Nov  4 20:21:35 vm sshd[1]: Failed", "vm", "sshd", "1", "Failed"),
        ("2026-11-24T20:21:35.18+01:00 vm CRON[3]: x", "vm", "CRON", "3", "x"),
        ("<13>Nov 24 20:21:35 only words here", "", "", "", "only words here"),
        ("<13>Nov 24 20:21:35 2001:db8::1 sshd[2]: x", "2001:db8::1", "sshd", "2", "x"),
        ("<13>Nov 24 20:21:35 ", "", "", "", ""),
    ],
)
def test_rfc3164_as_it_is_seen(line: str, host: str, tag: str, pid: str, text: str) -> None:
    message = rfc3164.decode(line, NOW)
    assert (message.hostname, message.app_name, message.procid) == (host, tag, pid)
    assert message.msg == text


def test_rfc3164_year_is_the_nearest() -> None:
    january = dt.datetime(2027, 1, 1, 12, tzinfo=dt.UTC)
    assert rfc3164.decode("Dec 31 23:59:58 h t: x", january).timestamp == local(
        2026, 12, 31, 23, 59, 58
    )
    december = dt.datetime(2026, 12, 31, 12, tzinfo=dt.UTC)
    assert rfc3164.decode("Jan  1 00:00:01 h t: x", december).timestamp == local(
        2027, 1, 1, 0, 0, 1
    )
    leap = dt.datetime(2028, 3, 1, tzinfo=dt.UTC)
    assert rfc3164.decode("Feb 29 00:00:60 h t: x", leap).timestamp == local(2028, 2, 29, 0, 0, 59)


@pytest.mark.parametrize(
    "line",
    [
        *("", "hello", "<13>", "<999>Nov 24 20:21:35 x", "Feb 30 20:21:35 h t: x"),
        *("Nov 24 25:21:35 h t: x", "Xyz 24 20:21:35 h t: x", "2026-13-24T20:21:35Z h t: x"),
    ],
)
def test_rfc3164_refuses_what_has_no_time(line: str) -> None:
    with pytest.raises(SyntaxFault):
        rfc3164.decode(line, NOW)


@given(st.text(max_size=300), st.sampled_from(["", "<13>", "<13>Nov 24 20:21:35 ", "Nov 24 "]))
def test_rfc3164_of_anything_is_a_message_or_a_refusal(text: str, before: str) -> None:
    try:
        message = rfc3164.decode(before + text, NOW)
    except SyntaxFault:
        return
    assert message.timestamp is not None
    assert message.timestamp.tzinfo is not None


@given(
    st.datetimes(dt.datetime(2026, 7, 1), dt.datetime(2027, 4, 1)),
    st.from_regex(r"[a-z][a-z0-9.]{0,20}", fullmatch=True),
    st.from_regex(r"[a-z/-]{1,20}", fullmatch=True),
    st.integers(1, 1 << 22),
    st.text(st.characters(exclude_categories=["C", "Z"]), max_size=50),
)
def test_rfc3164_written_and_read_again(
    time: dt.datetime, host: str, tag: str, pid: int, text: str
) -> None:
    time = time.replace(microsecond=0)
    line = f"<38>{time:%b} {time.day:2} {time:%H:%M:%S} {host} {tag}[{pid}]: {text}"
    message = rfc3164.decode(line, NOW)
    assert message.timestamp == time.astimezone(dt.UTC)
    assert (message.hostname, message.app_name, message.procid) == (host, tag, str(pid))
    assert (message.msg, message.facility, message.severity) == (text, 4, 6)


@given(st.binary(max_size=500))
def test_record_of_any_bytes_is_clean(data: bytes) -> None:
    for line in (data, b'{"log":"' + data, b"<13>Nov 24 20:21:35 h t: " + data):
        record = read_line(line, "ship@agent-1", NOW)
        assert record.raw_line.isprintable()
        assert record.fields["source_worker"] == "agent-1"
        assert all(value.isprintable() for value in record.fields.values())


def test_record_of_a_container_and_of_a_real_shell() -> None:
    inner = '<134>1 2026-11-24T03:00:00Z d ssh - command [relay@55555 src_ip="192.0.2.7"] x'
    wrapped = json.dumps({"log": inner + "\n", "stream": "stdout", "time": "x"}).replace(" ", "")
    wrapped = '{"log":' + json.dumps(inner + "\n") + ',"stream":"stdout"}'
    record = read_line(wrapped.encode(), "x", NOW)
    assert (record.decky, record.event_type, record.attacker_ip) == ("d", "command", "192.0.2.7")
    typed = "uid=0 user=root src=192.0.2.9 pwd=/root cmd=echo uid=7 src=10.0.0.1"
    record = read_line(f"<13>Nov 24 20:21:35 d bash[7]: {typed}".encode(), "x", NOW)
    assert record.event_type == "command"
    assert record.attacker_ip == "192.0.2.9", "what was typed names nobody"
    assert record.fields["command"] == "echo uid=7 src=10.0.0.1"
    assert record.fields["uid"] == "0"


def test_noise_of_daemons_by_any_of_their_names() -> None:
    limit = NoiseLimit()
    for daemon in ("sshd", "CRON", "sshd-session", "systemd"):
        assert not limit.passes("192.0.2.1", "d", daemon, "command", NOW)
    assert limit.passes("192.0.2.1", "d", "ssh", "command", NOW)


class Follower:
    """Reads all that is new, as collect and the forwarder do."""

    def __init__(self, *patterns: Path) -> None:
        self.patterns = [str(pattern) for pattern in patterns]
        self.cursors: dict[str, Cursor] = {}

    def all(self) -> list[str]:
        lines: list[str] = []
        moved = True
        while moved:
            moved = False
            sight = follow.look(self.patterns, self.cursors)
            for key in sight.forgotten(self.cursors):
                del self.cursors[key]
            for file in sight.files:
                chunk = tail.read(file, self.cursors.get(file.key), 3)
                if chunk is not None:
                    self.cursors[file.key] = chunk.cursor
                    lines += [line.data.decode() for line in chunk.lines]
                    moved = True
                    break
        return lines


def add(path: Path, *texts: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{text}\n" for text in texts))


def test_follow_over_rotations_that_happened_while_away(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    add(tmp_path / "app.log.9", "history")
    add(log, "1", "2")
    reader = Follower(log)
    assert reader.all() == ["1", "2"], "what was rotated away before the first look is not read"
    add(log, "3")
    for name, texts in (("app.log.3", ()), ("app.log.2", ("4", "5")), ("app.log.1", ("6",))):
        add(log, *texts)
        log.rename(tmp_path / name)
        time.sleep(0.01)  # the order is by the time of the last write
    add(log, "7")
    add(tmp_path / "app.log.1.gz", "no text")
    assert reader.all() == ["3", "4", "5", "6", "7"]
    assert reader.all() == []
    (tmp_path / "app.log.3").unlink()
    assert reader.all() == []
    assert len(reader.cursors) == 3, "the removed file is forgotten"


def test_follow_half_line_of_a_renamed_file_waits_but_holds_nobody_back(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("1\nha")
    reader = Follower(log)
    assert reader.all() == ["1"]
    old = log.rename(tmp_path / "app.log-20261124")
    add(log, "2")
    assert reader.all() == ["2"]
    add(old, "lf")
    assert reader.all() == ["half"]
    with old.open("a") as file:
        file.write("last words")
    assert reader.all() == []
    os.utime(old, (1, 1))  # long ago: nobody will end that line
    assert reader.all() == ["last words"]


def test_follow_keeps_its_place_where_a_folder_is_empty_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    add(folder / "a.log", "1")
    reader = Follower(folder / "*.log")
    assert reader.all() == ["1"]
    moved = folder.rename(tmp_path / "away")
    folder.mkdir()  # a mount point without its file system
    assert reader.all() == []
    folder.rmdir()
    moved.rename(folder)
    add(folder / "a.log", "2")
    assert reader.all() == ["2"]


def test_follow_takes_no_links_and_not_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path / "secret", "x")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "link.log").symlink_to(tmp_path / "secret")
    (tmp_path / "logs" / "dir.log").mkdir()
    assert follow.look([f"{tmp_path}/logs/*.log"], {}).files == []
    for number in range(5):
        add(tmp_path / "logs" / f"{number}.log", "x")
    monkeypatch.setattr(follow, "FILES_MOST", 3)
    sight = follow.look([f"{tmp_path}/logs/*.log", f"{tmp_path}/logs/1.log"], {})
    assert len(sight.files) == 3
    assert sight.left_out == 2


def test_options_refuse_relative_patterns(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_COLLECT_FILES": "/var/log/a:b.log"}
    settings = Settings.from_env(env)
    with pytest.raises(SettingsError, match=r"b\.log"):
        CollectOptions.from_env(settings, env)
    off = CollectOptions.from_env(settings, {"DECNET_COLLECT_SOCKET": "off"})
    assert off.socket is off.stream_socket is None


def test_only_one_reader_of_a_spool(tmp_path: Path) -> None:
    with only_reader(tmp_path):
        with pytest.raises(SpoolTaken) as caught, only_reader(tmp_path):
            pass
        assert caught.value.exit_code == 73
    with only_reader(tmp_path):
        pass


async def sent(folder: Path, *pieces: bytes) -> list[str]:
    """What a stream of these pieces leaves in the spool."""
    spool = folder / "spool"
    spool.mkdir(exist_ok=True)
    inlet = Inlet(folder / "d.sock", folder / "s.sock", spool, lambda: None)
    await inlet.open()
    try:
        _, writer = await asyncio.open_unix_connection(folder / "s.sock")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(30):
            while inlet.health()["inlet"]["connections"] or not inlet.received:
                await asyncio.sleep(0.005)
    finally:
        inlet.close()
    return (spool / "syslog.log").read_text().splitlines()


async def test_inlet_stream_ends_messages_as_senders_do(tmp_path: Path) -> None:
    found = await sent(
        tmp_path,
        b"<13>one\n<13>two\0<13>th",
        b"ree\n7 <13>a\nb14 <13>",
        b"cut in two<13>last without end",
    )
    assert found == [
        *("<13>one", "<13>two", "<13>three", "<13>a\\x0ab"),
        *("<13>cut in two", "<13>last without end"),
    ]


async def test_inlet_cuts_what_is_too_long_and_goes_on(tmp_path: Path) -> None:
    long = b"<13>" + b"A" * (1 << 20)
    found = await sent(tmp_path, long + b"\n<13>x\n", b"%d " % len(long) + long + b"<13>y\n")
    assert [len(line) for line in found] == [MESSAGE_MOST, 5, MESSAGE_MOST, 5]


async def test_inlet_refuses_a_live_socket_and_what_is_no_socket(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    first = Inlet(tmp_path / "d.sock", tmp_path / "s.sock", spool, lambda: None)
    await first.open()
    try:
        second = Inlet(tmp_path / "d.sock", tmp_path / "s.sock", spool, lambda: None)
        with pytest.raises(OSError, match="live program"):
            await second.open()
    finally:
        first.close()
    assert not (tmp_path / "d.sock").exists()
    (tmp_path / "d.sock").write_text("precious")
    with pytest.raises(OSError, match="no socket"):
        await second.open()
    assert (tmp_path / "d.sock").read_text() == "precious"
