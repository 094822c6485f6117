"""One spawn: the request and its fds to the zygote, the pid from there, the report from the child.

Two tell of it, in any order: the zygote answers with pid and pidfd (or why it made no process),
and the child's own report says that it is *up*, or which step failed. The child reports before it
runs any user code, and a report that nobody takes ends it: so a spawn that was given up on, or
whose answer was lost with the zygote, leaves no ghost. A blank has its pid already, and answers by
its report alone; one that ends without a word never came to user code, and the zygote is asked
instead. If the zygote dies with the request open,
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
from typing import Any

from zygote.manager.alone import Alone
from zygote.manager.blanks import Blank
from zygote.manager.children import Child, Children
from zygote.manager.faults import died_error, prepare_error, step_error
from zygote.manager.flight import Flight, Order, Spawned, receive, reports
from zygote.manager.link import LinkLostError
from zygote.manager.policy import End
from zygote.manager.reaper import Reaper
from zygote.manager.walls import Standing
from zygote.manager.zygote import Zygote
from zygote.sys import pidfd as pidfds
from zygote.wire.messages import FLAG_CGROUP, Kind, Packet


class NoProcessError(Exception):
    """The zygote went away before it made a process: ask the next one."""


class BlankLostError(Exception):
    """A blank was killed before it ran anything of the worker's: have one cloned."""


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
        self.flying = 0
        """Spawns that a zygote, or an exec, has been asked for and that are not done."""
        self._gate = asyncio.Event()
        self._gate.set()

    async def spawn(self, order: Order, zygote: Callable[[], Awaitable[Zygote | Alone]]) -> Spawned:
        """Start a process and wait until its set-up is done.

        Cancelling gives up: what was made of it is killed.

        Args:
            zygote: waits for one that serves; asked again if that one dies.
        Raises:
            ZygoteError: with step, errno and hint; `faults.is_transient` tells if it may pass.
        """
        lost = ""
        try:
            while True:
                served_by = await zygote()
                await self._gate.wait()
                async with self._room:
                    if served_by.gone or not self._gate.is_set():
                        continue
                    self.flying += 1
                    try:
                        return await self._try(order, served_by, order.forks or lost)
                    except NoProcessError:
                        continue
                    except BlankLostError:
                        lost = "the blank was killed"
                        continue
                    finally:
                        self.flying -= 1
        except OSError as error:
            raise prepare_error(order.name, error) from error
        finally:
            for descriptor in order.stdio:
                os.close(descriptor)

    def hold(self) -> None:
        """Begin no spawn until `release`; those begun go on."""
        self._gate.clear()

    def release(self) -> None:
        """Begin spawns again."""
        self._gate.set()

    async def _try(self, order: Order, zygote: Zygote | Alone, forks: str) -> Spawned:
        """Once.

        Args:
            forks: why it must not be made of a blank, or "".
        """
        blank = None if forks else zygote.take_blank()
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.setblocking(False)
        flight = Flight(order, mine, self._loop.create_future())
        opened: list[int] = []
        try:
            with theirs:
                packet = self._packet(order, zygote, theirs, opened, moves=blank is not None)
                if blank:
                    self._hand_over(flight, blank, packet)
                    _close_all(opened)
                else:
                    await self._ask(flight, zygote, packet, opened)
            self.count += 1
            flight.report = self._loop.create_task(receive(self._loop, mine))
            if flight.answer:
                flight.child = await self._meet(order, flight.answer, flight.report)
            assert flight.child
            if blank and not await reports(flight.report, flight.child):
                raise BlankLostError
            result = await asyncio.shield(flight.report)
            if result is None:
                raise died_error(order.name, await asyncio.shield(flight.child.ended))
            if not result.get("up"):
                await asyncio.shield(flight.child.ended)
                raise step_error(order.name, result)
            ms = flight.ms_until(result["monotonic"])
            fork_ms = flight.ms_until(result.get("began", flight.sent_at))
            origin = "blank" if blank else zygote.origin(forks)
            return Spawned(flight.child, ms, fork_ms, origin, Standing.read(result))
        except (asyncio.CancelledError, OSError):
            self._give_up(flight)
            raise
        finally:
            if blank:
                blank.sock.close()
            if flight.report:
                flight.report.cancel()
            _close_all(opened)
            mine.close()

    async def _ask(
        self, flight: Flight, zygote: Zygote | Alone, packet: Packet, opened: list[int]
    ) -> None:
        """Ask the zygote, and wait until its answer is on its way here."""
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

    def _hand_over(self, flight: Flight, blank: Blank, packet: Packet) -> None:
        """Let a blank become it; from here its messages are this worker's.

        Raises:
            BlankLostError: it is gone.
        """
        order = flight.order
        flight.child = child = blank.child
        self._children.hand_over(child, order.kind, order.name, order.leaf, session=order.session)
        flight.sent(time.monotonic())
        try:
            blank.send(packet)
        except OSError:
            self._children.signal(child, signal.SIGKILL)
            raise BlankLostError from None

    def _packet(
        self,
        order: Order,
        zygote: Zygote | Alone,
        report: socket.socket,
        opened: list[int],
        *,
        moves: bool,
    ) -> Packet:
        """The request; `opened` are the fds to close once it is sent.

        Args:
            moves: it is to move to its leaf, and is not made there.
        """
        fds: list[int] = []
        moves = moves or zygote.spawn_path != "clone3"
        roles = self._open_all(order, report, fds, opened, moves)
        body = json.dumps(order.body(roles)).encode()
        flags = FLAG_CGROUP if roles[0] == "cgroup" else 0
        return Packet(Kind.SPAWN, order.spawn_id, 0, flags, body, tuple(fds))

    def _open_all(
        self,
        order: Order,
        report: socket.socket,
        fds: list[int],
        opened: list[int],
        moves: bool,
    ) -> list[str]:
        """Fill `fds` in the order of the roles returned; `opened` are those to close after."""
        roles = []

        def take(role: str, descriptor: int, own: bool = True) -> None:
            roles.append(role)
            fds.append(descriptor)
            if own:
                opened.append(descriptor)

        if order.leaf and not moves:
            take("cgroup", order.leaf.open_dir())
        for number, role in enumerate(("stdin", "stdout", "stderr")):
            if number < len(order.stdio):
                take(role, order.stdio[number], own=False)
            else:
                take(role, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        take("report", report.fileno(), own=False)
        for role, descriptor in order.open_sockets():
            take(role, descriptor)
        first = 3 + sum(role.startswith("listen:") for role in roles)
        for role, descriptor in order.open_credentials(first):
            take(role, descriptor)
        if order.open_record:
            take("record", order.open_record())
        if order.open_mold:
            take("mold", order.open_mold())
        if order.leaf and moves:
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

    def _give_up(self, flight: Flight) -> None:
        """Leave nothing of a spawn that is not wanted any more.

        Once its channel is closed, a child can report no more and ends; so what matters is one
        that has reported already.
        """
        if flight.child:
            self._children.kill(flight.child)
            # One that was a blank may be on its way into its leaf.
            self._children.signal(flight.child, signal.SIGKILL)
        elif pid := flight.reported_pid():
            try:
                # Not to be mistaken for another: our own child keeps its number until we reap it.
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    os.kill(pid, signal.SIGKILL)
            except (ChildProcessError, ProcessLookupError):
                pass  # it is gone already


def _close_all(descriptors: list[int]) -> None:
    while descriptors:
        os.close(descriptors.pop())
