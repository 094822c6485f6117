"""The manager's end of a worker that may be asked to become a mold (`refork = true`).

To a zygote in the making it looks like the zygote to be forked from: the same request goes out, a
pid and a pidfd come back, or why not. It is asked rarely, and one request at a time.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import replace

from zygote.fleet.model import ZygoteSpec
from zygote.manager.freshness import Generation
from zygote.manager.link import Link, LinkLostError
from zygote.wire.messages import Packet

STAGES = ("trim", "relocate", "immortalise", "freeze", "keep", "seal", "collapse")
PATIENCE = 20.0
"""Seconds that a worker may take to answer; it is given ten to become quiet."""


class Mold:
    """One worker's channel, from its spawn to its end.

    Attributes:
        name: of the worker.
        identity: the generation that it is a copy of.
        layout: names the exec that this one comes from.
        pid: of the worker, when it was asked last.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self.name = name
        self.identity: Generation = ("", 0)
        self.layout = ""
        self.pid = 0
        self._loop = loop
        self._link: Link | None = None
        self._open: dict[bytes, asyncio.Future[Packet]] = {}

    @property
    def gone(self) -> bool:
        """Nobody can be asked."""
        return self._link is None

    def open(self) -> int:
        """A new channel: the worker's end, the caller's. One that was open is closed."""
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = Link(self._loop, ours, self._received, self._lost)
        return theirs.detach()

    def adapt(self, spec: ZygoteSpec) -> ZygoteSpec:
        """What its clone has to bake: all is imported and warm, and nothing is to be finalised."""
        stages = tuple(stage for stage in STAGES if spec.bake is None or stage in spec.bake)
        return replace(spec, preload=(), warm=(), bake=stages, parent=f"worker {self.name}")

    def request(
        self, packet: Packet, sent: Callable[[], None] | None = None
    ) -> asyncio.Future[Packet]:
        """Send a Branch; the future has the answer, or LinkLostError. Its fds stay open."""
        future: asyncio.Future[Packet] = self._loop.create_future()
        if self._link is None:
            future.set_exception(LinkLostError("it has no channel"))
            return future
        self._open[packet.spawn_id] = future
        try:
            self._link.send(packet, sent)
        except OSError:
            self._lost("it is closed")
        return future

    def close(self) -> None:
        """Nobody is to be asked any more. Idempotent."""
        if self._link:
            self._link.close()
        self._lost("it was closed")

    def _received(self, packet: Packet) -> None:
        future = self._open.pop(packet.spawn_id, None)
        if future and not future.done():
            future.set_result(packet)
        else:  # nobody waits any more: the clone finds its link closed, and ends
            for descriptor in packet.fds:
                os.close(descriptor)

    def _lost(self, reason: str) -> None:
        self._link = None
        waiting, self._open = self._open, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(LinkLostError(reason))
