"""Outcomes into the database: all that are there, in one transaction after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from sqlalchemy.exc import StatementError

from decnet.context import Context
from decnet.db.errors import StorageError
from decnet.webhook import outbox
from decnet.webhook.outbox import Done

log = logging.getLogger("decnet.webhook")


class Recorder:
    """Writes until closed. `disabled` is called for each subscription that failed too often."""

    def __init__(self, ctx: Context, threshold: int, disabled: Callable[[str], None]) -> None:
        self._ctx = ctx
        self._threshold = threshold
        self._disabled = disabled
        self._done: list[tuple[Done, asyncio.Future[bool]]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="webhook:recorder")

    def check(self) -> None:
        """Raise what ended it, if anything did."""
        if self._task is not None and self._task.done():
            self._task.result()

    async def close(self) -> None:
        """End; nobody waits for an outcome any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def record(self, done: Done) -> bool:
        """Returns once the outcome is in the database; False where that refuses it."""
        noted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._done.append((done, noted))
        self._news.set()
        return await noted

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            batch, self._done = self._done, []
            ok = True
            with contextlib.suppress(StorageError):  # told to stop: they are delivered again
                ok = await self._note([done for done, _ in batch])
            for _, noted in batch:
                if not noted.done():
                    noted.set_result(ok)

    async def _note(self, done: list[Done]) -> bool:
        try:
            off = await self._ctx.write(
                lambda session: outbox.record(session, done, self._threshold)
            )
        except StatementError as error:
            log.error("%d outcomes could not be noted: %s", len(done), error.orig)
            return False
        for uuid in off:
            self._disabled(uuid)
        return True
