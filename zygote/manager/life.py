"""What is remembered of one worker: its state, and what goes with a move from one to the next.

What follows from what happens is decided by `unit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum

from zygote.fleet.model import WorkerSpec
from zygote.manager.policy import End, Restarts
from zygote.manager.storm import Group, Pace


class State(StrEnum):
    """The states, as `ps` shows them."""

    INACTIVE = "inactive"
    STARTING = "starting"
    UP = "up"
    READY = "ready"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    FAILED = "failed"
    UNKNOWN = "unknown"


LIVE = frozenset((State.STARTING, State.UP, State.READY, State.STOPPING))
"""A process exists, or may come to exist at any moment."""


class Do(Enum):
    """What the driver has to do now."""

    NOTHING = 0
    SPAWN = 1
    CANCEL = 2
    """Give up the spawn under way; answer with `start_failed` once nothing of it is left."""
    STOP = 3
    """Send stop_signal to the main process."""
    ABORT = 4
    """Send SIGABRT to the main process (so that it may leave a core or a traceback)."""
    KILL = 5
    """SIGKILL for all that belongs to the worker."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Two clocks: `monotonic` to measure, `wall` to show. Both in seconds."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


class Life:
    """State and memory of one worker.

    Attributes:
        wanted: it shall run; cleared by a stop and by an end that the policy leaves alone.
        dismissed: somebody wanted it to end, and nobody since that it runs.
        since: wall clock of the last change of state.
        failures: attempts that came to nothing since the manager knows it; never falls.
        restarts: automatic restarts since the manager knows it.
        recycles: how often it was beyond its budget and replaced, since the manager knows it.
        deadline: monotonic time of the next `timed_out`, or None.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        clock: Clock,
        chance: Callable[[], float],
        pace: Pace | None = None,
        group: Group | None = None,
        is_needed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self.clock = clock
        self.policy = Restarts(spec, chance, pace, group, is_needed)
        self.state = State.INACTIVE
        self.since = clock.wall()
        self.wanted = False
        self.dismissed = False
        self.pid: int | None = None
        self.status = ""
        self.started_at: float | None = None
        self.spawn_ms: float | None = None
        self.ready_ms: float | None = None
        self.adopted = False
        self.restarts = 0
        self.recycles = 0
        self.failures = 0
        self.last_end: End | None = None
        self.last_end_at: float | None = None
        self.next_start_at: float | None = None
        self.error = ""
        self.hint = ""
        self.code = ""
        self.step = ""
        self.errno = 0
        self.deadline: float | None = None
        self.told: list[tuple[str, str]] = []
        self._sent_at = 0.0
        self._ready_at: float | None = None
        self._again = False
        self._counted = False
        self._verdict = ""

    # The moves of `Unit`, and what they consist of

    def _begin(self) -> Do:
        self._blame("")
        self.status = ""
        self.pid = self.started_at = self.spawn_ms = self.ready_ms = None
        self._move(State.STARTING)
        return Do.SPAWN

    def _become_ready(self, ready_ms: float, detail: str = "") -> None:
        self._ready_at = self.clock.monotonic()
        self.ready_ms = ready_ms
        self._move(State.READY, detail or f"after={ready_ms / 1e3:.4f}s")
        self._feed()

    def _feed(self) -> None:
        watchdog = self.spec.watchdog
        self.deadline = self.clock.monotonic() + watchdog if watchdog else None

    def _stopped(self) -> Do:
        if self._again:
            self._again = False
            self.policy.forget()
            return self._begin()
        self._move(State.INACTIVE)
        return Do.NOTHING

    def _fail(
        self, error: str, hint: str, code: str = "ended", step: str = "", errno: int = 0
    ) -> None:
        self._blame(error, hint, code, step, errno)
        self._move(State.FAILED, error)

    def _blame(
        self, error: str, hint: str = "", code: str = "", step: str = "", errno: int = 0
    ) -> None:
        self.error, self.hint = error, hint if error else ""
        self.code, self.step, self.errno = code or ("ended" if error else ""), step, errno

    def _forget_process(self) -> None:
        self.pid = None
        self.started_at = None
        self.deadline = None
        self._ready_at = None
        self._verdict = ""

    def _move(self, state: State, detail: str = "") -> None:
        self.state = state
        self.since = self.clock.wall()
        self.deadline = None
        if state is not State.BACKOFF:
            self.next_start_at = None
        self.told.append((str(state), detail))
