"""The manager's methods as Python calls, for asyncio; `zygote.client.blocking` is for all others.

    async with await Client.connect(socket) as manager:
        for worker in await manager.workers():
            print(worker.name, worker.state)

`zygote.fleet.where.control_socket` finds the socket. Every fault is a `ZygoteError` whose
`exit_code` says of which kind: no manager answers (6), not allowed (5), no such worker (4), …
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, TypeVar

from asyncvarlink import (
    FileDescriptorArray,
    VarlinkClientProtocol,
    VarlinkErrorReply,
    VarlinkTransport,
    connect_unix_varlink,
)

from zygote.client.faults import explain_connect, explain_lost
from zygote.control.interface import (
    Event,
    Failed,
    ManagerInterface,
    ManagerState,
    ReexecReport,
    Result,
    RollStep,
    WorkerState,
    ZygoteState,
)
from zygote.errors import ZygoteError

T = TypeVar("T")

# A reply that comes after its call was given up (Ctrl-C) is no news: without a handler of the
# program's own, asyncvarlink's words about it would go to stderr.
logging.getLogger("asyncvarlink").addHandler(logging.NullHandler())


class Protocol(VarlinkClientProtocol):
    """Lets go of replies that come when nobody waits for one any more.

    A client that closes in the middle of a burst of events finds some in its queue: the library
    would look for whom they are, and print an IndexError for each.
    """

    def request_received(self, obj: dict[str, Any], fds: FileDescriptorArray | None) -> None:
        """Pass a reply on, if a call is open."""
        if self._pending:
            super().request_received(obj, fds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait, and see to it that nothing is printed where nobody does.

        One who stopped following events while some were under way leaves the next one open. The
        library fails it, and asyncio would print "Future exception was never retrieved".
        """
        open_calls = list(self._pending)
        super().connection_lost(exc)
        for call in open_calls:
            replies: Any = getattr(call, "replies", (call,))
            for reply in replies:
                if reply.future.done() and not reply.future.cancelled():
                    reply.future.exception()


class Client:
    """One connection to a manager. Calls on it are answered one after the other.

    `events` opens a connection of its own, so that other calls go on beside it.
    """

    def __init__(self, socket: Path, transport: VarlinkTransport, proxy: Any) -> None:
        self.socket = socket
        self._transport = transport
        self._proxy = proxy

    @classmethod
    async def connect(cls, socket: Path | str) -> Client:
        """Connect to the manager at a control socket.

        Raises:
            ZygoteError: code no-manager (exit code 6), or not-allowed (5).
        """
        path = Path(socket)
        try:
            transport, protocol = await connect_unix_varlink(Protocol, str(path))
        except OSError as error:
            raise explain_connect(path, error) from None
        assert isinstance(protocol, VarlinkClientProtocol)
        assert isinstance(transport, VarlinkTransport)
        _keep_sending(transport)
        return cls(path, transport, protocol.make_proxy(ManagerInterface))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        self._transport.close()
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next turn

    async def status(self) -> ManagerState:
        """The manager itself."""
        state: ManagerState = await self._ask(self._proxy.Status(), "status")
        return state

    async def zygotes(self) -> list[ZygoteState]:
        """All zygotes."""
        states: list[ZygoteState] = await self._ask(self._proxy.Zygotes(), "zygotes")
        return states

    async def workers(self, names: Sequence[str] | None = None) -> list[WorkerState]:
        """Workers in start order; all of them, or those that `names` names.

        Raises:
            ZygoteError: code no-such-worker (exit code 4).
        """
        asked = list(names) if names else None
        states: list[WorkerState] = await self._ask(self._proxy.List(names=asked), "workers")
        return states

    async def spawn(
        self, names: Sequence[str], wait: str = "ready", timeout: float | None = None
    ) -> list[Result]:
        """Start workers. `wait`: "no", "up" or "ready"; `timeout` in seconds."""
        call = self._proxy.Spawn(names=list(names), wait=wait, timeout=timeout)
        return await self._results(call)

    async def stop(self, names: Sequence[str], timeout: float | None = None) -> list[Result]:
        """Stop workers gracefully and keep them stopped."""
        return await self._results(self._proxy.Stop(names=list(names), timeout=timeout))

    async def restart(self, names: Sequence[str], timeout: float | None = None) -> list[Result]:
        """Stop workers, start them, wait until they are ready."""
        return await self._results(self._proxy.Restart(names=list(names), timeout=timeout))

    async def kill(self, names: Sequence[str], signal: str) -> list[Result]:
        """Send a signal ("SIGUSR1", "usr1" or "10") to main processes."""
        return await self._results(self._proxy.Kill(names=list(names), signal=signal))

    async def reload(self) -> list[str]:
        """Have the fleet file read again; one line for each change made or pending."""
        changes: list[str] = await self._ask(self._proxy.Reload(), "changes")
        return changes

    async def roll(
        self, zygotes: Sequence[str] = (), workers: Sequence[str] = (), *, force: bool = False
    ) -> AsyncIterator[RollStep]:
        """Bake zygotes that are older than their code anew, and move workers over: each step.

        Args:
            zygotes, workers: only these, up to date or not.
            force: all, up to date or not.
        Raises:
            ZygoteError: the old generation serves on.
        """
        about = {"zygotes": list(zygotes), "workers": list(workers), "force": force}
        async for step in self._steps("Roll", about):
            yield step

    async def refork(self, worker: str, *, move: bool = False) -> AsyncIterator[RollStep]:
        """Fork a warm worker to be the next generation of its zygote: each step.

        Args:
            move: move the workers of that zygote over.
        Raises:
            ZygoteError: it cannot be; the old generation serves on, and so does the worker.
        """
        async for step in self._steps("Refork", {"worker": worker, "move": move}):
            yield step

    async def _steps(self, method: str, about: dict[str, Any]) -> AsyncIterator[RollStep]:
        async with await Client.connect(self.socket) as own:
            stream = getattr(own._proxy, method)(**about)
            async with aclosing(stream):
                while True:
                    try:
                        reply = await anext(stream)
                    except StopAsyncIteration:
                        return
                    except Exception as error:
                        raise _explain(error, self.socket) from None
                    yield reply["step"]

    async def reexec(self, timeout: float | None = None) -> ReexecReport:
        """Have the manager become the code on disk; workers and connections stay.

        Args:
            timeout: seconds for calls in progress to be answered.
        Raises:
            ZygoteError: code reexec-refused, state-format, …: nothing changed.
        """
        report: ReexecReport = await self._ask(self._proxy.Reexec(timeout=timeout), "report")
        return report

    async def shutdown(self, *, wait: bool = False) -> None:
        """Have everything stopped, in reverse order. `wait`: until the manager is gone."""
        pid = (await self.status()).pid if wait else 0
        pidfd = os.pidfd_open(pid) if pid else -1
        try:
            await self._ask(self._proxy.Shutdown(), "")
            if wait:
                await _wait_readable(pidfd)
        finally:
            if wait:
                os.close(pidfd)

    async def events(self, *, follow: bool = True, last: int = 0) -> AsyncIterator[Event]:
        """The newest `last` events, then (follow) each as it happens."""
        if not follow and last <= 0:
            return
        async with await Client.connect(self.socket) as own:
            stream = own._proxy.Events(follow=follow, last=last)
            async with aclosing(stream):
                while True:
                    try:
                        reply = await anext(stream)
                    except StopAsyncIteration:
                        return
                    except Exception as error:
                        fault = _explain(error, self.socket)
                        if fault.code == "no-events":
                            return
                        raise fault from None
                    yield reply["event"]

    async def _results(self, call: Awaitable[Any]) -> list[Result]:
        results: list[Result] = await self._ask(call, "results")
        return results

    async def _ask(self, call: Awaitable[Any], key: str) -> Any:
        try:
            reply = await call
        except Exception as error:
            raise _explain(error, self.socket) from None
        return reply[key] if key else None


def _keep_sending(transport: VarlinkTransport) -> None:
    """A call may be given up while its message waits to be written.

    The library would write the message all the same, and then trip over the cancelled future.
    """
    send = transport.send_message

    def send_message(*message: Any, **more: Any) -> asyncio.Future[None]:
        return asyncio.shield(send(*message, **more))

    transport.send_message = send_message  # type: ignore[method-assign]


async def _wait_readable(fd: int) -> None:
    """A pidfd is readable once its process has ended."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def readable() -> None:
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await ended
    finally:
        loop.remove_reader(fd)


def _explain(error: Exception, socket: Path) -> ZygoteError:
    """Any failure of a call as one of ours."""
    if isinstance(error, ZygoteError):
        return error
    if isinstance(error, Failed):
        return ZygoteError.from_dict(dict(error.parameters))
    if isinstance(error, VarlinkErrorReply):
        return ZygoteError(
            f"the manager does not understand this client: {error}",
            code="protocol",
            hint="they are of different versions: restart the manager (zygotectl down, up)",
        )
    if isinstance(error, OSError | EOFError):
        return explain_lost(socket, error)
    return ZygoteError(
        f"the answer of the manager makes no sense: {type(error).__name__}: {error}",
        code="protocol",
        hint="client and manager are of different versions: restart the manager",
    )
