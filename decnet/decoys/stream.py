"""A conversation by bytes over TCP, as most decoys have it: bounded in every direction.

A line and a block have a length, a wait has an end, a visit has a number of lines and an hour;
an answer is sent before the next line is read, so one who does not read is not read either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

from decnet.collect import rfc5424
from decnet.collect.text import clean, clean_bytes
from decnet.decoys.house import BACKLOG, House
from zygote import sockets

log = logging.getLogger("decnet.decoy")

CHUNK = 16 << 10
SEND_SECONDS = 20.0
CLOSE_SECONDS = 2.0
LINGER_SECONDS = 5.0
SEEN_MOST = 256
"""Bytes of what came that are shown with a broken rule."""


class BrokenRules(Exception):
    """The visitor does not speak the protocol; the visit is told as such and ends.

    Args:
        answer: what an honest server would still say.
    """

    def __init__(self, reason: str, answer: bytes = b"") -> None:
        super().__init__(reason)
        self.answer = answer


class Goodbye(Exception):
    """The visit ends here, in peace."""


class Visit:
    """One connection. A decoy's own class has `talk`, which reads and answers."""

    FIRST_SECONDS = 30.0
    """To say something worth the name."""
    IDLE_SECONDS = 180.0
    VISIT_SECONDS = 1800.0
    LINE_MOST = 4096
    """Bytes of a line."""
    LINES_MOST = 1000
    """Lines in one visit; then it ends as if the network had."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, house: House
    ) -> None:
        self.house = house
        self.id = uuid.uuid4().hex
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._lines = 0
        self._began = time.monotonic()
        peer = writer.get_extra_info("peername") or ("", 0)
        self.source = str(peer[0])
        self.visitor: dict[str, Any] = {"src_ip": self.source, "src_port": peer[1]}

    async def talk(self) -> None:
        """The conversation; returning, or raising `Goodbye` or `BrokenRules`, ends it."""
        raise NotImplementedError

    def over(self) -> None:
        """Called once at the very end, whatever happened; never to raise."""

    async def run(self) -> None:
        """Until the visitor goes, is silent for too long, or breaks the rules."""
        doorman = self.house.doorman
        doorman.admit(self, self._writer.transport.abort)
        self.tell("connect")
        try:
            async with asyncio.timeout(self.VISIT_SECONDS):
                await self.talk()
        except BrokenRules as error:
            seen = clean_bytes(bytes(self._buffer[:SEEN_MOST]))
            self.tell("protocol_error", reason=str(error), seen=seen)
            self.put(error.answer)
        except (Goodbye, TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            # A fault of ours, met by one visitor: it is told on one line, the others go on.
            log.error("a visit failed: %s", clean("".join(traceback.format_exception(error))))
            self.tell("internal_error", reason=type(error).__name__)
        finally:
            doorman.leave(self)
            self.over()
            duration = f"{time.monotonic() - self._began:.3f}"
            self.tell("disconnect", duration_s=duration, lines=self._lines or None)
            self._buffer.clear()
            await self._close()

    # -- what it tells

    def tell(self, event_type: str, *, severity: int = rfc5424.INFO, **fields: object) -> None:
        """Record an event of this visit."""
        told = {**self.visitor, "session_id": self.id, **fields}
        self.house.journal.event(event_type, told, severity=severity)

    def warn(self, event_type: str, **fields: object) -> None:
        """Record an event that deserves a look."""
        self.tell(event_type, severity=rfc5424.WARNING, **fields)

    def tell_secret(
        self,
        principal: bytes | str,
        secret: bytes,
        *,
        kind: str = "plaintext",
        outcome: str = "refused",
        **fields: object,
    ) -> None:
        """Record a credential that was tried."""
        user = principal if isinstance(principal, str) else text_of(principal)
        told = {**self.visitor, "session_id": self.id, "username": user, **fields}
        self.house.journal.secret(
            "login_attempt", told, principal=user, secret=secret, kind=kind, outcome=outcome
        )

    # -- bytes in

    async def line(self, most: int = 0) -> bytes | None:
        """The next line without its end; None where the visitor went away.

        Raises:
            BrokenRules: longer than `most` (default: LINE_MOST).
            Goodbye: there were enough lines.
            TimeoutError: it did not come in time.
        """
        self._count()
        most = most or self.LINE_MOST
        searched = 0
        async with asyncio.timeout(self._patience()):
            while (at := self._buffer.find(b"\n", searched)) < 0:
                searched = len(self._buffer)
                if searched > most:
                    break
                if not await self._fill():
                    return None
        if at < 0 or at > most:
            raise BrokenRules("line too long", self.too_long())
        line = bytes(self._buffer[:at])
        del self._buffer[: at + 1]
        self.house.doorman.heard(self)
        return line.removesuffix(b"\r")

    async def exactly(self, count: int) -> bytes:
        """The next bytes; the caller bounds how many.

        Raises:
            IncompleteReadError: the visitor went away.
            TimeoutError: they did not come in time.
        """
        async with asyncio.timeout(self._patience()):
            while len(self._buffer) < count:
                if not await self._fill():
                    raise asyncio.IncompleteReadError(bytes(self._buffer), count)
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def some(self, seconds: float = 0.0) -> bytes:
        """Whatever comes next, at most `CHUNK` bytes; b"" where the visitor went away.

        Raises:
            TimeoutError: nothing came in time.
        """
        if not self._buffer:
            async with asyncio.timeout(seconds or self._patience()):
                await self._fill()
        data = bytes(self._buffer[:CHUNK])
        del self._buffer[: len(data)]
        return data

    def unread(self, data: bytes) -> None:
        """Give back what was read too far."""
        self._buffer[:0] = data

    def too_long(self) -> bytes:
        """What is answered to a line without end."""
        return b""

    def _count(self) -> None:
        self._lines += 1
        if self._lines > self.LINES_MOST:
            raise Goodbye

    def _patience(self) -> float:
        return self.FIRST_SECONDS if self._lines <= 1 else self.IDLE_SECONDS

    async def _fill(self) -> bool:
        data = await self._reader.read(CHUNK)
        self._buffer += data
        return bool(data)

    # -- bytes out

    async def say(self, data: bytes | str) -> None:
        """Send, and wait until the visitor has taken most of it.

        Raises:
            TimeoutError: it does not read.
            ConnectionError: it is gone.
        """
        self.put(data)
        async with asyncio.timeout(SEND_SECONDS):
            await self._writer.drain()

    def put(self, data: bytes | str) -> None:
        """Send without waiting: for a last word."""
        if data and not self._writer.is_closing():
            self._writer.write(data.encode() if isinstance(data, str) else data)

    async def _close(self) -> None:
        """Close in order; by force where the visitor does not read."""
        self._writer.close()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


Make = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Visit]


@contextlib.asynccontextmanager
async def serve_visits(sock: socket.socket, house: House, make: Make) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block; each visit still tells its end."""
    tasks: set[asyncio.Task[Any]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await make(reader, writer).run()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(visit, sock=sock, limit=CHUNK, backlog=BACKLOG)
    try:
        yield
    finally:
        await sockets.stop_accepting(sock)
        server.close()
        await house.doorman.drain()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def text_of(data: bytes) -> str:
    """Bytes as text, without loss."""
    return data.decode("utf-8", "surrogateescape")
