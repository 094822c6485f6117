"""The event log: its lines, its readers, and that nobody can make it wait."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import aclosing

import pytest

from zygote.manager.events import EventLog


def read_lines(fd: int) -> list[str]:
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            part = os.read(fd, 65536)
        except BlockingIOError:
            break
        if not part:
            break
        data += part
    return data.decode().splitlines()


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_events_lines_have_fixed_keys(pipe) -> None:
    reader, writer = pipe
    log = EventLog(stream=writer)
    log.emit("ready", "web", 12, "after=0.041s")
    log.emit("baked", "floor", kind="zygote")
    log.emit("started", "manager", detail="two\nlines")
    assert read_lines(reader) == [
        "worker=web pid=12 event=ready after=0.041s",
        "zygote=floor event=baked",
        "manager event=started two lines",
    ]


def test_events_since_gives_the_newest_oldest_first() -> None:
    log = EventLog(limit=3, stream=None)
    for number in range(5):
        log.emit("status", str(number))
    assert [e.subject for e in log.since(2)] == ["3", "4"]
    assert [e.subject for e in log.since(9)] == ["2", "3", "4"]
    assert log.since(0) == []


async def test_events_follow_gives_history_then_news() -> None:
    log = EventLog(stream=None)
    log.emit("a", "x")
    log.emit("b", "x")
    async with aclosing(log.follow(1)) as events:
        assert (await anext(events)).event == "b"
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not waiting.done() and log.readers == 1
        log.emit("c", "x")
        assert (await waiting).event == "c"
    assert log.readers == 0


async def test_events_slow_reader_loses_the_oldest_and_sees_a_gap() -> None:
    log = EventLog(stream=None)
    log.emit("first", "x")
    async with aclosing(log.follow(1)) as events:
        assert (await anext(events)).seq == 1
        for _ in range(2000):
            log.emit("flood", "x")
        record = await anext(events)
        assert record.seq == 2001 - 511
        assert [(await anext(events)).seq for _ in range(511)][-1] == 2001


def test_events_full_pipe_never_blocks_and_loss_is_told(pipe) -> None:
    reader, writer = pipe
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    log = EventLog(stream=writer)
    for number in range(2000):
        log.emit("status", "x", number, "filler " * 5)
    assert os.get_blocking(writer), "the descriptor is shared with others, it must stay blocking"
    taken = len(read_lines(reader))
    assert 0 < taken < 2000
    log.emit("last", "x")
    assert read_lines(reader) == [
        f"manager event=lines-lost count={2000 - taken}",
        "worker=x event=last",
    ]


def test_events_reader_gone_is_survived(pipe) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = EventLog(stream=writer)
    log.emit("status", "x")
    os.close(writer)
    assert log.since(1)[0].event == "status"
