"""Requests to one zygote, or mold, that wait for its answer."""

from __future__ import annotations

import asyncio
import os

from zygote.manager.link import LinkLostError
from zygote.wire.messages import Packet


class Requests:
    """What is open on one link.

    Attributes:
        answered: how many answers came, wanted or not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answered = 0
        self._loop = loop
        self._open: dict[bytes, asyncio.Future[Packet]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, packet: Packet) -> asyncio.Future[Packet]:
        """One more; the future has the answer, or LinkLostError."""
        future: asyncio.Future[Packet] = self._loop.create_future()
        self._open[packet.spawn_id] = future
        return future

    def forget(self, packet: Packet) -> None:
        """It was not sent, or nobody waits any more. Quiet if it is not open."""
        self._open.pop(packet.spawn_id, None)

    def answer(self, packet: Packet) -> None:
        """An answer has come; owns its descriptors."""
        self.answered += 1
        future = self._open.pop(packet.spawn_id, None)
        if future and not future.done():
            future.set_result(packet)
        else:  # nobody waits any more: the child finds its report, or its link, closed, and ends
            for descriptor in packet.fds:
                os.close(descriptor)

    def lose(self, reason: str) -> None:
        """No answer will come any more."""
        waiting, self._open = self._open, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(LinkLostError(reason))
