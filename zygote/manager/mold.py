"""The manager's end of a worker that may be asked to become a mold (`refork = true`).

To a zygote in the making it looks like the zygote to be forked from: the same request goes out, a
pid and a pidfd come back, or why not. It is asked rarely, and one request at a time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

from zygote.fleet.model import ZygoteSpec
from zygote.manager.freshness import Generation
from zygote.manager.link import Link
from zygote.manager.requests import Requests
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
        self._requests = Requests(loop)

    @property
    def gone(self) -> bool:
        """Nobody can be asked."""
        return self._link is None

    def open(self) -> int:
        """A new channel: the worker's end, the caller's. One that was open is closed."""
        self.close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = Link(self._loop, ours, self._requests.answer, self._lost)
        return theirs.detach()

    def adapt(self, spec: ZygoteSpec) -> ZygoteSpec:
        """What its clone has to bake: all is imported and warm, and nothing is to be finalised."""
        stages = tuple(stage for stage in STAGES if spec.bake is None or stage in spec.bake)
        return replace(spec, preload=(), warm=(), bake=stages, parent=f"worker {self.name}")

    def request(
        self, packet: Packet, sent: Callable[[float], None] | None = None
    ) -> asyncio.Future[Packet]:
        """Send a Branch; the future has the answer, or LinkLostError. Its fds stay open."""
        future = self._requests.open(packet)
        try:
            if self._link is None:
                raise BrokenPipeError("it has no channel")
            self._link.send(packet, sent)
        except OSError as error:
            self._lost(str(error))
        return future

    def close(self) -> None:
        """Nobody is to be asked any more. Idempotent."""
        if self._link:
            self._link.close()
        self._lost("it was closed")

    def _lost(self, reason: str) -> None:
        self._link = None
        self._requests.lose(reason)
