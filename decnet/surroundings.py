"""What a worker is given: settings, bus, database, and its ties to the manager.

`decnet.context` makes one, and runs `main` with it. Nothing here imports pydantic or SQLAlchemy:
decoys have a floor without them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.bus.subscription import Event
from decnet.health import BEAT_SECONDS, Pulse
from decnet.settings import Settings
from decnet.wake import Stopping, Wake
from zygote import sockets
from zygote.errors import ZygoteError
from zygote.memory import Settler, reshare
from zygote.notify import notify, watchdog_interval
from zygote.notify import ready as tell_ready
from zygote.notify import status as tell_status
from zygote.notify import stopping as tell_stopping
from zygote.notify import watchdog as tell_watchdog

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from decnet.db.engine import Database

log = logging.getLogger("decnet")
T = TypeVar("T")

READY_TRIES = 2400
"""Of READY=1, a quarter of a second apart: ten minutes."""
_MOMENT = 0.05
REST_SECONDS = 1.0
"""From the end of a burst of work until its memory is given back."""
FULL_FIRST, FULL_MOST = 1.0, 30.0


class WorkerError(ZygoteError):
    """A worker cannot do its job; the message is all that a user needs, so no traceback."""


class Context:
    """A worker's surroundings: settings, bus, database, and its ties to the manager."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        bus: BusClient,
        db: Database | None,
        *,
        notifies: bool = True,
    ) -> None:
        self.name = name
        self.settings = settings
        self.bus = bus
        self.stopping = Stopping()
        self.is_ready = asyncio.Event()
        self.health: dict[str, Any] = {}
        """Extra heartbeat fields."""
        self.reports: list[Callable[[], dict[str, Any]]] = []
        """Called at each beat for more of them."""
        self._db = db
        self._notifies = notifies
        self._waiting = 0
        self._progress: float | None = None
        self._beat_due = asyncio.Event()
        self._settler = Settler()
        self._rest: asyncio.TimerHandle | None = None

    @property
    def db(self) -> Database:
        """The open database.

        Raises:
            RuntimeError: the worker was run with `database=False`.
        """
        if self._db is None:
            raise RuntimeError(f"worker {self.name!r} runs without a database (database=False)")
        return self._db

    def ready(self, status: str = "") -> None:
        """Tell the manager, and the bus, that the worker can do its job now."""
        self.is_ready.set()
        self._beat_due.set()
        if self._notifies:
            sockets.close_unused()  # of an address that the settings do not name any more
        # Said once, and not to be lost: not even where the manager is just being started again.
        self._tell(lambda: tell_ready(status, _MOMENT), tries=READY_TRIES)

    def status(self, text: str) -> None:
        """Tell the manager in a few words what the worker does."""
        self._tell(lambda: tell_status(text))

    def extend(self, seconds: float) -> None:
        """Ask the manager for so many seconds more, from now, for a start that waits."""
        self._tell(lambda: notify(f"EXTEND_TIMEOUT_USEC={seconds * 1e6:.0f}"))

    def progress(self) -> None:
        """Feed the watchdog. Once called, it is to be called at least every watchdog period.

        A worker that never calls it is alive as long as its loop turns.
        """
        self._progress = time.monotonic()

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """While inside, waiting is no lack of progress."""
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
            if self._progress is not None:
                self.progress()

    def rest(self) -> None:
        """Say that a burst of work is over: what it left in memory is given back soon."""
        if self._rest is None:
            self._rest = asyncio.get_running_loop().call_later(REST_SECONDS, self._settle)

    async def wake(self, *patterns: str) -> Wake:
        """A flag set by events of these topics, from the moment this returns.

        Raises:
            ValueError: not a topic pattern.
        """
        wake = Wake(patterns, self.bus, self.stopping, self.idle)
        await self.bus.flush()
        return wake

    async def write(self, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """`db.write`, waiting for as long as the disk is full or the database locked.

        Nothing is lost meanwhile: the transaction did not happen, the caller's cursor did not
        move. The heartbeat says so in `waiting`, the manager in the worker's status.

        Raises:
            StorageError: still in trouble when the worker was told to stop.
        """
        delay = FULL_FIRST
        while True:
            try:
                result = await self.db.write(work)
            except self.db.transient as error:
                if self.stopping.is_set():
                    raise
                if "waiting" not in self.health:
                    log.warning("%s; waiting", error)
                self.health["waiting"] = str(error)
                self.status(f"waiting: {error}")
                with self.idle(), contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self.stopping.wait()
                delay = min(delay * 2, FULL_MOST)
                continue
            if self.health.pop("waiting", None) is not None:
                log.info("storage works again")
                self.status("")
            return result

    def stop(self, reason: str) -> None:
        """Ask `main` to return."""
        if not self.stopping.is_set():
            log.info("stopping: %s", reason)
            if self._notifies:
                tell_stopping()
            self.stopping.set()

    # -- below: the tasks beside `main`

    def _tell(self, tell: Callable[[], bool], tries: int = 20) -> None:
        """A notification; tried again while the manager's queue is full."""
        if self._notifies and not tell() and tries and os.environ.get("NOTIFY_SOCKET"):
            asyncio.get_running_loop().call_later(0.25, self._tell, tell, tries - 1)

    async def beat(self) -> None:
        """Heartbeats: at once, when ready, when the bus is back, and every `BEAT_SECONDS`."""
        pulse = Pulse(self.name)
        topic = topics.health(self.name)
        due = self._beat_due
        self.bus.on_connected.append(due.set)
        while True:
            due.clear()
            extra = dict(self.health)
            for report in self.reports:
                extra |= report()
            self.bus.publish(topic, pulse.payload(self.bus.dropped, extra))
            # `_settle` comes right before a beat, which so tells of the memory that we keep. A beat
            # is code, too: what it wrote is shared again for the seconds in which most of us rest.
            # Not settled at the first one: amid a cold start the collector would look at it all.
            reshare()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await due.wait()
            self._settle()

    def _settle(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._settler.settle()

    async def feed_watchdog(self) -> None:
        """WATCHDOG=1 twice a period, as long as `main` moves."""
        interval = watchdog_interval() if self._notifies else None
        while interval is not None:
            if self.is_moving(2 * interval):
                tell_watchdog()
            await asyncio.sleep(interval)

    def is_moving(self, within: float) -> bool:
        """Whether `main` is idle on purpose, or made progress in the last `within` seconds."""
        if self._progress is None or self._waiting:
            return True
        return time.monotonic() - self._progress <= within

    def obey(self, event: Event) -> None:
        """A control event. The broker has checked who may send one."""
        # By hand and not by `models.Control`: pydantic would be in every decoy's floor.
        if event.payload.get("action") == "stop":
            by = "".join(
                c for c in str(event.payload.get("requested_by", "?"))[:64] if c.isprintable()
            )
            self.stop(f"asked on the bus by {by}")
        else:
            log.warning("control event with an action that is not 'stop', ignored")
