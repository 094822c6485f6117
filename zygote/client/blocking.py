"""The manager's methods as Python calls, for code without an event loop.

with BlockingClient(socket) as manager:
    manager.restart(["orders"])
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from zygote.client.api import Client
from zygote.control.interface import (
    Event,
    ManagerState,
    ReexecReport,
    Result,
    RollStep,
    WorkerState,
    ZygoteState,
)

T = TypeVar("T")


class BlockingClient:
    """The same for code without an event loop; for one thread at a time.

    Raises:
        ZygoteError: on opening, as `Client.connect`.
    """

    def __init__(self, socket: Path | str) -> None:
        self._runner = asyncio.Runner()
        self._closed = False
        try:
            self._client = self._run(Client.connect(socket))
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> BlockingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with self._runner:
            self._run(self._client.close())

    def status(self) -> ManagerState:
        """See `Client.status`."""
        return self._run(self._client.status())

    def zygotes(self) -> list[ZygoteState]:
        """See `Client.zygotes`."""
        return self._run(self._client.zygotes())

    def workers(self, names: Sequence[str] | None = None) -> list[WorkerState]:
        """See `Client.workers`."""
        return self._run(self._client.workers(names))

    def spawn(
        self, names: Sequence[str], wait: str = "ready", timeout: float | None = None
    ) -> list[Result]:
        """See `Client.spawn`."""
        return self._run(self._client.spawn(names, wait, timeout))

    def stop(self, names: Sequence[str], timeout: float | None = None) -> list[Result]:
        """See `Client.stop`."""
        return self._run(self._client.stop(names, timeout))

    def restart(self, names: Sequence[str], timeout: float | None = None) -> list[Result]:
        """See `Client.restart`."""
        return self._run(self._client.restart(names, timeout))

    def kill(self, names: Sequence[str], signal: str) -> list[Result]:
        """See `Client.kill`."""
        return self._run(self._client.kill(names, signal))

    def reload(self) -> list[str]:
        """See `Client.reload`."""
        return self._run(self._client.reload())

    def roll(
        self, zygotes: Sequence[str] = (), workers: Sequence[str] = (), *, force: bool = False
    ) -> Iterator[RollStep]:
        """See `Client.roll`."""
        yield from self._each(self._client.roll(zygotes, workers, force=force))

    def reexec(self, timeout: float | None = None) -> ReexecReport:
        """See `Client.reexec`."""
        return self._run(self._client.reexec(timeout))

    def refork(self, worker: str, *, move: bool = False) -> Iterator[RollStep]:
        """See `Client.refork`."""
        yield from self._each(self._client.refork(worker, move=move))

    def shutdown(self, *, wait: bool = False) -> None:
        """See `Client.shutdown`."""
        self._run(self._client.shutdown(wait=wait))

    def events(self, *, follow: bool = True, last: int = 0) -> Iterator[Event]:
        """See `Client.events`."""
        yield from self._each(self._client.events(follow=follow, last=last))

    def _each(self, stream: AsyncIterator[T]) -> Iterator[T]:
        try:
            while True:
                try:
                    yield self._run(anext(stream))
                except StopAsyncIteration:
                    return
        finally:
            self._run(stream.aclose())  # type: ignore[attr-defined]

    def _run(self, work: Awaitable[T]) -> T:
        async def main() -> T:
            return await work

        return self._runner.run(main())
