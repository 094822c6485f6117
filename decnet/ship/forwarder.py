"""The forwarder: follows a log file and sends it to the master, whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from decnet.ship import ALPN
from decnet.ship.frames import frame
from decnet.ship.sender import Sender

log = logging.getLogger("decnet.forwarder")

BATCH_LINES = 500
CONNECT_SECONDS = 10.0
ACK_SECONDS = 20.0
"""How long the master may take for a batch; a full disk there looks like this."""
DELAY_FIRST, DELAY_MOST = 1.0, 30.0
POLL_SECONDS = 0.5

_ACK = re.compile(rb"ACK (\d{1,18})\n", re.ASCII)


class LinkLost(OSError):
    """The master went away, or said what it may not say."""


class Link:
    """One connection to the master."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._reader = reader
        tls = writer.get_extra_info("ssl_object")
        self.counts = tls.selected_alpn_protocol() == ALPN
        self._acked = -1
        self._heard = asyncio.Event()
        self._lost: str = ""
        self._task = asyncio.create_task(self._listen())

    async def send(self, frames: bytes) -> None:
        """Hand it to the system.

        Raises:
            LinkLost: the connection is over.
            TimeoutError: the master reads nothing.
        """
        self.check()
        self._writer.write(frames)
        async with asyncio.timeout(ACK_SECONDS):
            await self._writer.drain()

    async def acked(self, least: int) -> int:
        """Wait until the master has all below `least`; what it has.

        Raises:
            LinkLost, TimeoutError: it does not say so.
        """
        async with asyncio.timeout(ACK_SECONDS):
            while self._acked < least:
                self.check()
                self._heard.clear()
                await self._heard.wait()
        return self._acked

    def check(self) -> None:
        """Raise where the connection is over.

        Raises:
            LinkLost: it is.
        """
        if self._lost:
            raise LinkLost(self._lost)

    async def close(self) -> None:
        """End it at once."""
        self._task.cancel()
        self._writer.transport.abort()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        try:
            while True:
                line = await self._reader.readline()
                match = _ACK.fullmatch(line)
                if not line or (self.counts and match is None):
                    self._lost = "the master closed the connection"
                    return
                if match is not None:
                    self._acked = int(match[1])
                    self._heard.set()
        except (OSError, ssl.SSLError, ValueError) as error:
            self._lost = str(error) or type(error).__name__
        finally:
            self._lost = self._lost or "the connection is closed"
            self._heard.set()


class Forwarder:
    """Sends until told to stop.

    Args:
        sender: opened.
        host, port: the master.
        tls: of the client.
        lag_most: bytes; what is further behind is dropped, and counted.
        wait: waits for a hint, at most so many seconds; returns at once when stopping.
        stopping: whether to stop.
        alive: called at each step.
        tell: called with how it goes, in words.
    """

    def __init__(
        self,
        sender: Sender,
        host: str,
        port: int,
        tls: ssl.SSLContext,
        lag_most: int,
        wait: Callable[[float], Awaitable[object]],
        stopping: Callable[[], bool],
        alive: Callable[[], object],
        tell: Callable[[str], object],
    ) -> None:
        self._sender = sender
        self._host, self._port = host, port
        self._tls = tls
        self._lag_most = lag_most
        self._wait = wait
        self._stopping = stopping
        self._alive = alive
        self._tell = tell
        self._link: Link | None = None
        self._trouble = ""
        self._is_progress = False
        self.sent = 0
        self.dropped = 0

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {
            "connected": self._link is not None,
            "acknowledged": self._link is not None and self._link.counts,
            "lag_bytes": self._sender.lag,
            "sent": self.sent,
            "dropped_lines": self.dropped,
        }
        if self._trouble:
            told["trouble"] = self._trouble
        return told

    async def run(self) -> None:
        """Connect, send, and again."""
        delay = DELAY_FIRST
        while not self._stopping():
            self._is_progress = False
            try:
                await self._shed()
                await self._session()
            except (OSError, ssl.SSLError, TimeoutError) as error:
                self._complain(str(error) or "no answer in time")
            if self._is_progress:
                delay = DELAY_FIRST
            if not self._stopping():
                await self._pause(delay * random.uniform(0.5, 1.0))
                delay = min(delay * 2, DELAY_MOST)

    async def _pause(self, seconds: float) -> None:
        """Wait, whatever hints come."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self._stopping() and (left := end - loop.time()) > 0:
            await self._wait(left)

    async def _session(self) -> None:
        """One connection, until it breaks, the stop, or too much lag."""
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=self._tls, server_hostname=self._host
            )
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link = self._link = Link(reader, writer)
        try:
            await self._resume(link)
            while not self._stopping():
                self._alive()
                link.check()
                if not await self._send(link):
                    await self._wait(POLL_SECONDS)
                elif self._sender.lag > self._lag_most:
                    return
        finally:
            self._link = None
            await link.close()

    async def _resume(self, link: Link) -> None:
        """Agree on the next line."""
        if not link.counts:
            self._works()
            return
        sender = self._sender
        await link.send(frame(b"HELLO %b %d" % (sender.stream.encode(), sender.next)))
        number = await link.acked(0)
        # It has lines whose acknowledgement did not reach us.
        while sender.next < number:
            lines = sender.read(min(BATCH_LINES, number - sender.next))
            if lines is None:
                raise LinkLost(f"the master has {number} lines of ours, we only {sender.next}")
            sender.advance(lines)
            sender.save()
        self._works()

    async def _send(self, link: Link) -> bool:
        """One batch; False where there was none. Our number moves when the master has it."""
        lines = self._sender.read(BATCH_LINES)
        if lines is None:
            return False
        if lines.lines:
            await link.send(b"".join(frame(line) for line in lines.lines))
            if link.counts:
                await link.acked(self._sender.next + len(lines.lines))
        self._sender.advance(lines)
        self._sender.save()
        self.sent += len(lines.lines)
        self._is_progress = True
        return True

    async def _shed(self) -> None:
        """Drop the oldest lines where too much lies behind."""
        before = self.dropped
        while (lines := self._sender.read(BATCH_LINES)) and self._sender.lag > self._lag_most:
            self._sender.advance(lines)
            self._sender.save()
            self.dropped += len(lines.lines)
            self._alive()
            await asyncio.sleep(0)
        if self.dropped > before:
            log.warning(
                "%d lines dropped: more than %d MiB behind (DECNET_FORWARDER_LAG_MIB)",
                self.dropped - before,
                self._lag_most >> 20,
            )

    def _works(self) -> None:
        if self._trouble:
            log.info("connected to %s:%d", self._host, self._port)
        self._tell(f"connected to {self._host}:{self._port}")
        self._trouble = ""
        self._is_progress = True

    def _complain(self, text: str) -> None:
        if text != self._trouble:
            log.warning("%s:%d: %s; trying again", self._host, self._port, text)
            self._tell(f"waiting for {self._host}:{self._port}: {text}")
        self._trouble = text
