"""What is to be spawned, and one request for it under way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zygote.manager.children import Child
from zygote.manager.leaves import Leaf
from zygote.manager.walls import Standing
from zygote.wire.messages import Packet

_REPORT_SIZE = 8192


@dataclass(slots=True)
class Order:
    """What to start.

    Attributes:
        body: of the request, given the roles of the fds.
        stdio: three fds, or fewer: the rest is /dev/null; owned by the spawn.
        open_record: makes the pid record's fd; called right before sending.
        open_mold: makes the worker's end of its channel for `refork`.
        open_credentials: makes roles and fds of the worker's credentials, given the number that
            the first will have in it.
        open_sockets: the same of sockets that are handed over.
        leaf: the cgroup to start in.
        forks: why it must be cloned for itself, and cannot be made of a blank; "" if it can.
        sent: called when the request is on its way.
    """

    name: str
    kind: str
    spawn_id: bytes
    body: Callable[[list[str]], dict[str, Any]]
    stdio: list[int] = field(default_factory=list)
    open_record: Callable[[], int] | None = None
    open_mold: Callable[[], int] | None = None
    open_credentials: Callable[[int], list[tuple[str, int]]] = lambda _first: []
    open_sockets: Callable[[], list[tuple[str, int]]] = list
    leaf: Leaf | None = None
    session: bool = True
    forks: str = ""
    sent: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child whose set-up is done.

    Attributes:
        ms: from the request's sending to its first user code.
        fork_ms: of that, until the first line of its own set-up.
        origin: "blank", or "clone" with, where its zygote has blanks, why it is none of them.
    """

    child: Child
    ms: float
    fork_ms: float
    origin: str
    standing: Standing


@dataclass(eq=False, slots=True)
class Flight:
    """One request under way."""

    order: Order
    channel: socket.socket
    going: asyncio.Future[None]
    sent_at: float = 0.0
    answer: asyncio.Future[Packet] | None = None
    report: asyncio.Task[dict[str, Any] | None] | None = None
    child: Child | None = None

    def sent(self, at: float) -> None:
        """The request has left; `at` is a moment right before (monotonic seconds)."""
        self.sent_at = at
        if not self.going.done():
            self.going.set_result(None)
        self.order.sent()

    def ms_until(self, moment: Any) -> float:
        """Milliseconds from the request's sending until a moment that the child told."""
        return max(0.0, (float(moment) - self.sent_at) * 1e3)

    def reported_pid(self) -> int:
        """The pid in a report that has arrived, or 0."""
        report = None
        if self.report and self.report.done() and not self.report.cancelled():
            report = self.report.result()
        else:
            try:
                report = json.loads(self.channel.recv(_REPORT_SIZE))
            except (OSError, ValueError):
                pass
        return int(report.get("pid", 0)) if isinstance(report, dict) else 0


async def receive(loop: asyncio.AbstractEventLoop, channel: socket.socket) -> dict[str, Any] | None:
    """The child's report, or None if it ended without one."""
    try:
        data = await loop.sock_recv(channel, _REPORT_SIZE)
    except OSError:
        return None
    try:
        report = json.loads(data) if data else None
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


async def reports(report: asyncio.Task[dict[str, Any] | None], child: Child) -> bool:
    """Whether what was a blank says anything before it ends.

    The end of its channel does not tell: until they have come to run, clones that were made in one
    go with it hold its socket as well, and with that the request and the channel in it.
    """
    either: set[asyncio.Future[Any]] = {report, child.ended}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not report.done():
        await asyncio.sleep(0)  # what it said just before has arrived, and is taken in this turn
    if report.done() and report.result() is not None:
        return True
    await asyncio.shield(child.ended)
    return False
