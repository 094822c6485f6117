"""Workers with `isolation = "exec"`: started as a fresh interpreter, by the manager itself.

To a spawn it looks like a zygote: the same request goes in, a pid and a pidfd come back, and the
process reports by itself. So all that is done about a copy of a zygote is done about it.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import Protocol

from zygote.fleet.model import ZygoteSpec
from zygote.manager.faults import HINTS
from zygote.wire.messages import Kind, Packet


class Starter(Protocol):
    """What is needed of the rest of the manager."""

    loop: asyncio.AbstractEventLoop

    def start_alone(self, spec: ZygoteSpec, body: bytes, fds: tuple[int, ...]) -> int:
        """Exec a worker that takes this body and these descriptors; its pid."""
        ...


class Alone:
    """Serves spawns by an exec each.

    Args:
        spec: the zygote that its workers name: interpreter, folder and `path` are taken from it.
    """

    generation = 0
    layout = ""
    spawn_path = "exec"
    gone = False

    def __init__(self, starter: Starter, spec: ZygoteSpec) -> None:
        self._starter = starter
        self._spec = spec

    def request(
        self, packet: Packet, sent: Callable[[float], None] | None = None
    ) -> asyncio.Future[Packet]:
        """Start a process; the future has the answer at once."""
        if sent:
            sent(time.monotonic())
        future: asyncio.Future[Packet] = self._starter.loop.create_future()
        try:
            pid = self._starter.start_alone(self._spec, packet.body, packet.fds)
            answer = Packet(Kind.SPAWNED, packet.spawn_id, pid, fds=(os.pidfd_open(pid),))
        except OSError as error:
            otherwise = "check python and cwd of its zygote in the fleet file"
            hint = HINTS.get(error.errno or 0, otherwise)
            body = {"step": "exec", "errno": error.errno, "detail": error.filename, "hint": hint}
            answer = Packet(Kind.SPAWN_FAILED, packet.spawn_id, body=json.dumps(body).encode())
        future.set_result(answer)
        return future

    def take_blank(self) -> None:
        """There are none: a blank is a copy of a zygote."""

    def origin(self, _forks: str) -> str:
        """How its workers come to be."""
        return "exec"

    def withdraw(self, _packet: Packet) -> bool:
        """Nothing waits to be sent."""
        return False
