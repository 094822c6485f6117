"""What happens, told once: to stderr as one regular line, and to whoever follows `events`.

A line has its keys in a fixed order, so that people and tests can grep it:

    worker=profiler pid=812 event=ready after=0.041s

The log never waits. A reader that is slow loses its oldest events and sees a gap in `seq`; a
terminal or pipe that takes nothing loses lines, which are counted and told as soon as it takes
some again.
"""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from zygote.control.interface import Event

_READER_LIMIT = 512
_LINE_LIMIT = 4000
"""Bytes; under PIPE_BUF (4096), so that a line to a pipe is written whole or not at all."""


class EventLog:
    """The last `limit` events, and the readers that follow it.

    Args:
        limit: events kept for readers that come later.
        stream: file descriptor that gets a line for each event; None: no lines.
    """

    def __init__(self, limit: int = 1000, stream: int | None = 2) -> None:
        self._kept: deque[Event] = deque(maxlen=limit)
        self._seq = 0
        self._readers: set[_Reader] = set()
        self._lines = _Lines(stream) if stream is not None else None

    def emit(
        self,
        event: str,
        subject: str,
        pid: int | None = None,
        detail: str = "",
        *,
        kind: str = "worker",
    ) -> Event:
        """Record one event, print its line and pass it to all readers. Never blocks or raises.

        Args:
            event: a word or two with dashes: starting, up, ready, ended, log-rotated.
            subject: name of the worker or zygote, or "manager".
            detail: the rest, for people; "key=value" where there is a figure.
            kind: "worker" or "zygote", the key of the printed line; "manager" goes by its subject.
        """
        self._seq += 1
        record = Event(self._seq, time.time(), event, subject, pid, detail)
        self._kept.append(record)
        for reader in self._readers:
            reader.put(record)
        if self._lines:
            self._lines.write(_line(record, kind))
        return record

    def since(self, last: int) -> list[Event]:
        """The newest `last` events, oldest first."""
        return list(self._kept)[-last:] if last > 0 else []

    async def follow(self, last: int = 0) -> AsyncGenerator[Event, None]:
        """The newest `last` events, then each as it happens, for ever.

        From the first `anext` on nothing is missed, unless the reader falls more than 512 events
        behind: then the oldest are dropped, which shows as a gap in `seq`.
        """
        reader = _Reader()
        self._readers.add(reader)
        try:
            for record in self.since(last):
                yield record
            while True:
                yield await reader.get()
        finally:
            self._readers.discard(reader)

    async def follow_after(self, seq: int) -> AsyncGenerator[Event, None]:
        """Each event after number `seq`, for ever; a gap where those are kept no more."""
        newer = sum(record.seq > seq for record in self._kept)
        async with aclosing(self.follow(newer)) as events:
            async for event in events:
                yield event

    def hand_over(self) -> dict[str, Any]:
        """All that is kept, for `take_over`."""
        return {"seq": self._seq, "kept": [asdict(record) for record in self._kept]}

    def take_over(self, data: dict[str, Any]) -> None:
        """Go on where an earlier manager's log ended."""
        self._seq = data["seq"]
        self._kept.extend(Event(**record) for record in data["kept"])

    @property
    def readers(self) -> int:
        """How many follow at this moment."""
        return len(self._readers)


class _Reader:
    """One follower's bounded queue."""

    def __init__(self) -> None:
        self._queue: deque[Event] = deque(maxlen=_READER_LIMIT)
        self._some = asyncio.Event()

    def put(self, record: Event) -> None:
        self._queue.append(record)
        self._some.set()

    async def get(self) -> Event:
        while not self._queue:
            self._some.clear()
            await self._some.wait()
        return self._queue.popleft()


def _line(record: Event, kind: str) -> str:
    who = "manager" if record.subject == "manager" else f"{kind}={record.subject}"
    pid = f" pid={record.pid}" if record.pid is not None else ""
    detail = " " + " ".join(record.detail.split()) if record.detail else ""
    return f"{who}{pid} event={record.event}{detail}"


class _Lines:
    """Lines to a descriptor that we share with others (so it stays blocking), without blocking.

    A pipe or terminal is asked first whether it takes something: for a pipe the answer yes means
    PIPE_BUF bytes (pipe(7)), and a terminal stopped by Ctrl-S says no.
    """

    def __init__(self, stream: int) -> None:
        self._stream = stream
        self._lost = 0
        self._poll = select.poll()
        self._poll.register(stream, select.POLLOUT)

    def write(self, line: str) -> None:
        text = line
        if self._lost:
            text = f"manager event=lines-lost count={self._lost}\n{line}"
        data = text.encode(errors="backslashreplace")[: _LINE_LIMIT - 1] + b"\n"
        try:
            ready = self._poll.poll(0)
            if ready and ready[0][1] & select.POLLOUT:
                os.write(self._stream, data)
                self._lost = 0
                return
        except OSError:
            pass  # a full disk or a reader that left: the event is still in the log
        self._lost += 1
