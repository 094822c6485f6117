"""Rotation under the hands of a real writer: nothing lost, nothing twice, in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.support.mounts import fill, tmpfs
from zygote.control.interface import Event
from zygote.manager.events import EventLog
from zygote.manager.logs import Bounds, LogFiles
from zygote.sys import fallocate
from zygote.sys.logfile import Follower, read_tail, rotated

WRITER = """
import os, signal, sys
lines, pause = map(int, sys.argv[1:])
for number in range(lines):
    if number and number % pause == 0:
        os.kill(os.getpid(), signal.SIGSTOP)
    line = b"%08d the quick brown fox jumps over the lazy dog\\n" % number
    while line:
        try:
            line = line[os.write(1, line):]
        except OSError as error:
            if error.errno != 28:
                raise
"""
"""Writes as fast as it can; on a full disk it tries until there is room.

After so many lines it stops, for who rotates to go on with: else it could be done before the first
rotation.
"""
LINES = 40_000
PAUSE = 4000


@pytest.fixture(params=["here", "tmpfs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The machine's own file system (collapse, on ext4), and a tmpfs (punch)."""
    if request.param == "here":
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as where:  # a tmpfs that needs no root
        yield Path(where)


def write_lines(
    logs: LogFiles, name: str, lines: int = LINES, pause: int = LINES
) -> subprocess.Popen[bytes]:
    fd = logs.open(name)
    try:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", WRITER, str(lines), str(pause)], stdout=fd
        )
    finally:
        os.close(fd)


async def rotate_beside(writer: subprocess.Popen[bytes], logs: LogFiles, bound: Bounds) -> None:
    """While it writes; and once more while it has stopped, so at least once for each stop."""
    stopped = os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WNOHANG)  # noqa: ASYNC222
    await logs.rotate_if_long(bound)
    if stopped:
        writer.send_signal(signal.SIGCONT)


def all_numbers(path: Path) -> list[int]:
    """What a person gets who reads all the files, oldest first; a cut first line left out."""
    data = b"".join(p.read_bytes() for p in reversed(rotated(path)))
    with path.open("rb") as live:
        live.seek(fallocate.data_start(live.fileno()))
        data += live.read()
    lines = data.split(b"\n")
    assert lines.pop() == b"", "the last line has its end"
    if len(lines[0]) < 52:
        del lines[0]
    return [int(line[:8]) for line in lines]


def named(events: EventLog, *names: str) -> list[Event]:
    return [e for e in events.since(10_000) if e.event in names]


def ways(events: EventLog) -> set[str]:
    """How the files were cut, by their events."""
    return {e.detail.split("how=")[1].split(";")[0] for e in named(events, "log-rotated")}


async def rotate_while(writer: subprocess.Popen[bytes], logs: LogFiles, bound: Bounds) -> None:
    while writer.poll() is None:
        await rotate_beside(writer, logs, bound)
        await asyncio.sleep(0.005)
    assert writer.returncode == 0


async def test_logs_rotation_loses_and_doubles_no_line(folder: Path) -> None:
    events = EventLog(limit=10_000, stream=None)
    logs = LogFiles(folder, events)
    writer = write_lines(logs, "web", pause=PAUSE)
    await rotate_while(writer, logs, Bounds("web", 16 * 1024, 10_000))
    assert len(rotated(logs.path("web"))) >= 5
    assert all_numbers(logs.path("web")) == list(range(LINES))
    assert len(ways(events)) == 1 and ways(events) <= {"collapse", "punch", "truncate"}


async def test_logs_follower_sees_each_line_once_through_rotations(folder: Path) -> None:
    logs = LogFiles(folder, EventLog(stream=None))
    follower = Follower(logs.path("web"))
    assert follower.read() == []
    writer = write_lines(logs, "web", pause=PAUSE)
    seen: list[str] = []
    while writer.poll() is None:
        await rotate_beside(writer, logs, Bounds("web", 16 * 1024, 50))
        seen += follower.read()
        await asyncio.sleep(0.002)
    seen += follower.read()
    follower.close()
    assert len(rotated(logs.path("web"))) >= 5
    assert [int(line[:8]) for line in seen] == list(range(LINES))


async def test_logs_tail_spans_rotated_files(folder: Path) -> None:
    logs = LogFiles(folder, EventLog(stream=None))
    writer = write_lines(logs, "web", 3000)
    await rotate_while(writer, logs, Bounds("web", 8 * 1024, 100))
    await logs.rotate_if_long(Bounds("web", 8 * 1024, 100))
    assert logs.path("web").stat().st_size > 0
    for count in (1, 7, 250, 2999, 3000, 9999):
        got = [int(line[:8]) for line in read_tail(logs.path("web"), count)]
        assert got == list(range(3000))[-count:]


async def test_logs_keep_bounds_the_number_of_files(folder: Path) -> None:
    logs = LogFiles(folder, EventLog(stream=None))
    writer = write_lines(logs, "web", pause=PAUSE)
    await rotate_while(writer, logs, Bounds("web", 16 * 1024, 2))
    assert [p.name for p in rotated(logs.path("web"))] == ["web.log.1", "web.log.2"]
    numbers = all_numbers(logs.path("web"))
    assert numbers[-1] == LINES - 1 and len(numbers) < LINES
    assert numbers == list(range(numbers[0], LINES)), "what is kept has no gap"


async def test_logs_short_files_are_left_alone(folder: Path) -> None:
    logs = LogFiles(folder, EventLog(stream=None))
    assert not await logs.rotate_if_long(Bounds("absent", 0, 2))
    writer = write_lines(logs, "web", 100)
    writer.wait()
    assert not await logs.rotate_if_long(Bounds("web", 1 << 20, 2))
    assert rotated(logs.path("web")) == []


async def test_logs_worker_that_locks_its_log_cannot_stop_rotation(folder: Path) -> None:
    logs = LogFiles(folder, EventLog(stream=None))
    write_lines(logs, "web", 1000).wait()
    with logs.path("web").open("rb") as hostile:
        fcntl.flock(hostile, fcntl.LOCK_EX)
        assert await logs.rotate_if_long(Bounds("web", 4096, 2))
    assert all_numbers(logs.path("web")) == list(range(1000))


async def test_logs_truncate_way_keeps_all_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file system can do neither; nobody writes at that moment, so nothing is lost."""

    def refuse(fd: int, length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fallocate, "collapse", refuse)
    monkeypatch.setattr(fallocate, "punch", refuse)
    events = EventLog(stream=None)
    logs = LogFiles(tmp_path, events)
    follower = Follower(logs.path("web"))
    follower.read()
    seen: list[str] = []
    for _ in range(3):
        write_lines(logs, "web", 1000).wait()
        assert await logs.rotate_if_long(Bounds("web", 4096, 5))
        seen += follower.read()
    follower.close()
    assert all_numbers(logs.path("web")) == list(range(1000)) * 3
    assert [int(line[:8]) for line in seen] == list(range(1000)) * 3
    assert ways(events) == {"truncate"}
    assert "lost" in named(events, "log-rotated")[0].detail


async def test_logs_loop_rotates_and_goes_on_after_a_fault(tmp_path: Path) -> None:
    events = EventLog(stream=None)
    logs = LogFiles(tmp_path, events)
    (tmp_path / "odd.log").mkdir()  # size over 0, and no file
    write_lines(logs, "web", 1000).wait()
    bounds = [Bounds("odd", 0, 2), Bounds("web", 4096, 2)]
    loop = asyncio.create_task(logs.rotate_loop(lambda: bounds, interval=0.01))
    async with asyncio.timeout(60), aclosing(events.follow()) as news:
        async for event in news:
            if event.event == "log-rotated":
                break
    loop.cancel()
    failed = named(events, "log-rotation-failed")
    assert [e.subject for e in failed] == ["odd"], "told once, not each second"


async def test_logs_full_disk_is_told_and_rotation_makes_room(tmp_path: Path) -> None:
    """A worker fills a small disk; the oldest lines go, the newest stay, the worker lives."""
    with tmpfs(tmp_path / "ram", "1m") as where:
        events = EventLog(limit=10_000, stream=None)
        logs = LogFiles(where, events)
        filler = fill(where, leave=200 * 1024)
        writer = write_lines(logs, "web", 20_000)
        bound = Bounds("web", 64 * 1024, 3)
        async with asyncio.timeout(120):
            while writer.poll() is None:
                logs.check_disk()
                await logs.rotate_if_long(bound)
                await asyncio.sleep(0.001)
        assert writer.returncode == 0
        assert named(events, "log-dropped"), "room was made, and it was told"
        numbers = all_numbers(logs.path("web"))
        assert numbers == list(range(numbers[0], 20_000)), "the newest are there, without a gap"
        fill(where, leave=0)
        logs.check_disk()
        assert named(events, "log-disk-full", "log-disk-ok")[-1].event == "log-disk-full"
        filler.unlink()
        logs.check_disk()
        assert named(events, "log-disk-full", "log-disk-ok")[-1].event == "log-disk-ok"


async def test_logs_open_without_room_costs_the_log_not_the_worker(tmp_path: Path) -> None:
    events = EventLog(stream=None)
    logs = LogFiles(tmp_path, events)
    logs.path("web").mkdir()
    fd = logs.open("web")
    assert os.fstat(fd).st_rdev == os.makedev(1, 3), "it is /dev/null"
    os.close(fd)
    assert "/dev/null" in named(events, "log-lost")[0].detail


def test_logs_follower_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    with path.open("ab", buffering=0) as out:
        out.write(b"one\ntwo\nthr")
        follower = Follower(path, lines=2)
        assert follower.read() == ["two"]
        out.write(b"ee\n\xff\n")
        assert follower.read() == ["three", "�"]
    path.unlink()
    assert follower.read() == []
    path.write_text("anew\n")
    assert follower.read() == ["anew"]
    follower.close()


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\nb", "a\n\nb\n", "\n\n"])
def test_logs_tail_counts_lines_as_tail_does(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.log").write_text(text)
    for count in range(5):
        command = ["tail", "-n", str(count), str(tmp_path / "x.log")]
        tail = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert read_tail(tmp_path / "x.log", count) == tail.splitlines()


def test_logs_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert read_tail(tmp_path / "none.log", 5) == []
