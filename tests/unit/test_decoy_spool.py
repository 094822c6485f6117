"""A decoy's spool: short writes, full disks, rotation, and never a torn line."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from decnet.decoys import spool as spooling
from decnet.decoys.doorman import Doorman
from decnet.decoys.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "decoy@ssh", lambda: None)


async def test_spool_appends_lines(spool: Spool) -> None:
    spool.append(b"one")
    spool.append(b"two")
    assert spool.path.read_bytes() == b"one\ntwo\n"
    assert spool.path.stat().st_mode & 0o777 == 0o600
    spool.close()


async def test_spool_completes_a_short_write_before_the_next_line(spool: Spool) -> None:
    really_write = os.write
    room = 5

    def write(handle: int, data: bytes) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = really_write(handle, data[:room])
        room -= done
        return done

    with mock.patch.object(spooling.os, "write", write):
        for line in (b"one", b"two", b"three"):
            spool.append(line)
        assert spool.path.read_bytes() == b"one\nt"
        assert spool.health()["spool_error"] == "No space left on device"
        assert spool.health()["queued"] == 2
        room = 1000
        assert spool.flush()
    assert spool.path.read_bytes() == b"one\ntwo\nthree\n"
    assert spool.health() == {"events": 3, "queued": 0, "events_dropped": 0}
    spool.close()


def test_spool_ends_a_half_line_that_a_dead_process_left(tmp_path: Path) -> None:
    (tmp_path / "decoy@ssh.log").write_bytes(b"whole\nhal")
    spool = Spool(tmp_path, "decoy@ssh", lambda: None)
    spool.append(b"next")
    assert spool.path.read_bytes() == b"whole\nhal\nnext\n"
    spool.close()


async def test_spool_keeps_so_many_and_counts_the_rest(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "away", "decoy@ssh", lambda: None)
    for n in range(spooling.QUEUE_LINES + 10):
        spool.append(b"%d" % n)
    assert spool.health()["queued"] == spooling.QUEUE_LINES
    assert spool.health()["events_dropped"] == 10
    (tmp_path / "away").mkdir()
    assert spool.flush()
    assert len(spool.path.read_bytes().splitlines()) == spooling.QUEUE_LINES
    spool.close()


async def test_spool_bounds_the_queue_by_bytes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "away", "decoy@ssh", lambda: None)
    for _ in range(200):
        spool.append(b"x" * 32_000)
    assert spool.health()["queued"] * 32_001 <= spooling.QUEUE_BYTES
    assert spool.health()["events_dropped"] > 0
    spool.close()
    assert spool.dropped == 200, "what could not be written at the end is counted as well"


def test_spool_begins_a_new_file_when_it_is_large(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "decoy@ssh", lambda: None)
    for n in range(300):
        spool.append(b"%03d" % n + b"x" * 30_000)
    spool.close()
    files = sorted(tmp_path.iterdir(), key=lambda p: (p.name == "decoy@ssh.log", p.name))
    assert len(files) == 3
    lines = [line[:3] for file in files for line in file.read_bytes().splitlines()]
    assert lines == [b"%03d" % n for n in range(300)]


async def test_spool_stops_where_nobody_reads(tmp_path: Path) -> None:
    spool = Spool(tmp_path, "decoy@ssh", lambda: None)
    with (
        mock.patch.object(spooling, "SEGMENTS_MOST", 2),
        mock.patch.object(spooling, "SEGMENT_BYTES", 100),
    ):
        for _ in range(10):
            spool.append(b"x" * 101)
        assert len(list(tmp_path.iterdir())) == 3
        assert "nobody reads" in spool.health()["spool_error"]
        for file in tmp_path.glob("*.log.*"):
            file.unlink()
        spool.flush()
        assert len(list(tmp_path.iterdir())) == 3
    spool.close()


def test_spool_follows_when_its_file_is_moved_away(spool: Spool, tmp_path: Path) -> None:
    spool.append(b"one")
    spool.path.rename(tmp_path / "elsewhere")
    spool.append(b"two")
    assert (tmp_path / "elsewhere").read_bytes() == b"one\n"
    assert spool.path.read_bytes() == b"two\n"
    spool.close()


async def test_spool_hints_once_for_many_lines(tmp_path: Path) -> None:
    hinted = asyncio.Event()
    count = 0

    def hint() -> None:
        nonlocal count
        count += 1
        hinted.set()

    spool = Spool(tmp_path, "decoy@ssh", hint)
    for _ in range(50):
        spool.append(b"x")
    await hinted.wait()
    assert count == 1
    spool.close()


def test_doorman_shows_out_the_silent_first() -> None:
    doorman, out = Doorman(most=8), []
    for n in range(8):
        doorman.admit(n, lambda n=n: out.append(n))
    for n in (0, 1, 2):
        doorman.heard(n)
    for n in range(8, 20):
        doorman.admit(n, lambda n=n: out.append(n))
    assert len(doorman) == 8
    assert not {0, 1, 2} & set(out), "those who talk stay while there are silent ones"
    assert out == [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    assert doorman.health() == {"visitors": 8, "admitted": 20, "evicted": 12}


def test_doorman_shows_out_the_one_that_has_been_quiet_for_longest() -> None:
    doorman, out = Doorman(most=8), []
    for n in range(8):
        doorman.admit(n, lambda n=n: out.append(n))
        doorman.heard(n)
    doorman.heard(0)
    doorman.admit(8, lambda: None)
    assert out == [1]
    doorman.leave(0)
    doorman.leave(0)
    assert len(doorman) == 7
    doorman.close_all()
    assert len(doorman) == 0


def test_doorman_tells_when_the_last_one_has_left() -> None:
    doorman, told = Doorman(most=8), []
    doorman.when_empty = lambda: told.append(len(doorman))
    for n in range(2):
        doorman.admit(n, lambda: None)
    doorman.heard(0)
    doorman.leave(0)
    assert told == []
    doorman.leave(1)
    doorman.leave(1)
    assert told == [0], "once, and not again for one who is gone"
