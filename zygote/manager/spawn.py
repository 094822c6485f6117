"""One spawn: the request and its fds to the zygote, the pid from there, the report from the child.

Two tell of it, in any order: the zygote answers with pid and pidfd (or why it made no process),
and the child's own report says that it is *up*, or which step failed. The child reports before it
runs any user code, and a report that nobody takes ends it: so a spawn that was given up on, or
whose answer was lost with the zygote, leaves no ghost. If the zygote dies with the request open,
the report decides: *up* means that the child is ours by its pid; its end of the channel closed
without a word means that there is none, and the next zygote is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from zygote.manager.alone import Alone
from zygote.manager.children import Child, Children
from zygote.manager.faults import died_error, prepare_error, step_error
from zygote.manager.leaves import Leaf
from zygote.manager.policy import End
from zygote.manager.reaper import Reaper
from zygote.manager.walls import Standing
from zygote.manager.zygote import LinkLostError, Zygote
from zygote.sys import pidfd as pidfds
from zygote.wire.messages import FLAG_CGROUP, Kind, Packet

_REPORT_SIZE = 8192


class NoProcessError(Exception):
    """The zygote went away before it made a process: ask the next one."""


@dataclass(slots=True)
class Order:
    """What to start.

    Attributes:
        body: of the request, given the roles of the fds.
        stdio: three fds, or fewer: the rest is /dev/null; owned by the spawn.
        open_record: makes the pid record's fd; called right before sending.
        open_credentials: makes roles and fds of the worker's credentials.
        leaf: the cgroup to start in.
        sent: called when the request is on its way.
    """

    name: str
    kind: str
    spawn_id: bytes
    body: Callable[[list[str]], dict[str, Any]]
    stdio: list[int] = field(default_factory=list)
    open_record: Callable[[], int] | None = None
    open_credentials: Callable[[], list[tuple[str, int]]] = list
    leaf: Leaf | None = None
    session: bool = True
    sent: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child whose set-up is done. `ms`: from the request's sending to its first user code."""

    child: Child
    ms: float
    standing: Standing


class Spawner:
    """Starts processes through zygotes, many at a time."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, children: Children, reaper: Reaper, most: int = 32
    ) -> None:
        self._loop = loop
        self._children = children
        self._reaper = reaper
        # Each open request holds about eight fds on three sides.
        self._room = asyncio.Semaphore(most)
        self.count = 0

    async def spawn(self, order: Order, zygote: Callable[[], Awaitable[Zygote | Alone]]) -> Spawned:
        """Start a process and wait until its set-up is done.

        Cancelling gives up: what was made of it is killed.

        Args:
            zygote: waits for one that serves; asked again if that one dies.
        Raises:
            ZygoteError: with step, errno and hint; `faults.is_transient` tells if it may pass.
        """
        try:
            while True:
                served_by = await zygote()
                async with self._room:
                    if served_by.gone:
                        continue
                    try:
                        return await self._try(order, served_by)
                    except NoProcessError:
                        continue
        except OSError as error:
            raise prepare_error(order.name, error) from error
        finally:
            for descriptor in order.stdio:
                os.close(descriptor)

    async def _try(self, order: Order, zygote: Zygote | Alone) -> Spawned:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        flight = _Flight(order, mine, self._loop.create_future())
        opened: list[int] = []
        try:
            with theirs:
                packet = self._packet(order, zygote, theirs, opened)
                flight.answer = zygote.request(packet, flight.sent)
                try:
                    either: set[asyncio.Future[Any]] = {flight.going, flight.answer}
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    if zygote.withdraw(packet):
                        flight.answer = None
                    raise
                finally:
                    _close_all(opened)
            self.count += 1
            flight.report = self._loop.create_task(_receive(self._loop, mine))
            flight.child = await self._meet(order, flight.answer, flight.report)
            result = await asyncio.shield(flight.report)
            if result is None:
                raise died_error(order.name, await asyncio.shield(flight.child.ended))
            if not result.get("up"):
                await asyncio.shield(flight.child.ended)
                raise step_error(order.name, result)
            ms = (float(result["monotonic"]) - flight.sent_at) * 1e3
            return Spawned(flight.child, max(0.0, ms), Standing.read(result))
        except (asyncio.CancelledError, OSError):
            self._give_up(flight)
            raise
        finally:
            if flight.report:
                flight.report.cancel()
            _close_all(opened)
            mine.close()

    def _packet(
        self, order: Order, zygote: Zygote | Alone, report: socket.socket, opened: list[int]
    ) -> Packet:
        """The request; `opened` are the fds to close once it is sent."""
        fds: list[int] = []
        roles = self._open_all(order, zygote, report, fds, opened)
        body = json.dumps(order.body(roles)).encode()
        flags = FLAG_CGROUP if roles[0] == "cgroup" else 0
        return Packet(Kind.SPAWN, order.spawn_id, 0, flags, body, tuple(fds))

    def _open_all(
        self,
        order: Order,
        zygote: Zygote | Alone,
        report: socket.socket,
        fds: list[int],
        opened: list[int],
    ) -> list[str]:
        """Fill `fds` in the order of the roles returned; `opened` are those to close after."""
        roles = []

        def take(role: str, descriptor: int, own: bool = True) -> None:
            roles.append(role)
            fds.append(descriptor)
            if own:
                opened.append(descriptor)

        if order.leaf and zygote.spawn_path == "clone3":
            take("cgroup", order.leaf.open_dir())
        for number, role in enumerate(("stdin", "stdout", "stderr")):
            if number < len(order.stdio):
                take(role, order.stdio[number], own=False)
            else:
                take(role, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        take("report", report.fileno(), own=False)
        for role, descriptor in order.open_credentials():
            take(role, descriptor)
        if order.open_record:
            take("record", order.open_record())
        if order.leaf and zygote.spawn_path != "clone3":
            take("cgroup.procs", order.leaf.open_procs())
        return roles

    async def _meet(
        self,
        order: Order,
        answer: asyncio.Future[Packet],
        report: asyncio.Task[dict[str, Any] | None],
    ) -> Child:
        """The child, by the zygote's answer or, if that was lost, by its own report."""
        try:
            packet = await asyncio.shield(answer)
        except LinkLostError:
            result = await asyncio.shield(report)
            if result is None or "pid" not in result:
                raise NoProcessError from None
            return self._file(order, int(result["pid"]), None)
        if packet.kind is Kind.SPAWN_FAILED:
            raise step_error(order.name, json.loads(packet.body))
        return self._file(order, packet.pid, packet.fds[0] if packet.fds else None)

    def _file(self, order: Order, pid: int, pidfd: int | None) -> Child:
        if pidfd is None:
            try:
                pidfd = pidfds.pidfd_open(pid)
            except ProcessLookupError:
                raise died_error(
                    order.name, self._reaper.try_stray(pid) or End("unknown")
                ) from None
        ended = self._loop.create_future()
        child = Child(pid, pidfd, order.kind, order.name, ended, order.leaf, order.session)
        return self._children.add(child)

    def _give_up(self, flight: _Flight) -> None:
        """Leave nothing of a spawn that is not wanted any more.

        Once its channel is closed, a child can report no more and ends; so what matters is one
        that has reported already.
        """
        if flight.child:
            self._children.kill(flight.child)
        elif pid := flight.reported_pid():
            try:
                # Not to be mistaken for another: our own child keeps its number until we reap it.
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    os.kill(pid, signal.SIGKILL)
            except (ChildProcessError, ProcessLookupError):
                pass  # it is gone already


@dataclass(eq=False, slots=True)
class _Flight:
    """One request under way."""

    order: Order
    channel: socket.socket
    going: asyncio.Future[None]
    sent_at: float = 0.0
    answer: asyncio.Future[Packet] | None = None
    report: asyncio.Task[dict[str, Any] | None] | None = None
    child: Child | None = None

    def sent(self) -> None:
        """The request has left."""
        self.sent_at = time.monotonic()
        if not self.going.done():
            self.going.set_result(None)
        self.order.sent()

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


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())


async def _receive(
    loop: asyncio.AbstractEventLoop, channel: socket.socket
) -> dict[str, Any] | None:
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
