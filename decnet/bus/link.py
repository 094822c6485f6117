"""One live connection from a client to the broker: frames in, bytes out."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from decnet.bus.frames import Frame, FrameParser, encode

log = logging.getLogger("decnet.bus")

FAR_TOO_MUCH = 1 << 62


class Link(asyncio.Protocol):
    """Made for `loop.create_unix_connection`; `receive` gets every EVT and may raise ValueError."""

    def __init__(self, receive: Callable[[Frame], None]) -> None:
        self.closed = asyncio.Event()
        self._receive = receive
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._hellos: deque[asyncio.Future[bool]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._parser.feed(data):
                if frame.verb == "HELLO":
                    if self._hellos:
                        _settle(self._hellos.popleft(), True)
                elif frame.verb == "BYE":
                    self.abort()
                else:
                    self._receive(frame)
        except (ValueError, TypeError) as error:
            log.warning("bus broker sent no frame of ours, reconnecting: %s", error)
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        while self._hellos:
            _settle(self._hellos.popleft(), False)

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def unsent(self) -> int:
        """Bytes that the kernel has not taken; past any limit once the connection is going."""
        if self._transport is None or self._transport.is_closing():
            return FAR_TOO_MUCH
        return self._transport.get_write_buffer_size()

    async def hello(self, name: str, seconds: float) -> bool:
        if self.closed.is_set():
            return False
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._hellos.append(answer)
        self.write(encode("HELLO", name))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            return False

    async def close(self) -> None:
        """Close after what is unsent has gone out, or after a second."""
        if self._transport is None:
            return
        self._transport.close()
        try:
            async with asyncio.timeout(1.0):
                await self.closed.wait()
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _settle(answer: asyncio.Future[bool], value: bool) -> None:
    if not answer.done():
        answer.set_result(value)
