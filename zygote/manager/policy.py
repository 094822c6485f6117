"""When a worker that ended is started again. Pure: the clock and chance are handed in.

The first restart is immediate: most crashes are one-offs, and a copy of the zygote costs
milliseconds. From then on the delay doubles, up to a limit, until a process has stayed up for
`stable_after`; and a worker that is restarted too often within an interval is given up on, with
a reason. Delays are shortened by chance, so that workers which fell together do not rise together.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from zygote.fleet.model import WorkerSpec
from zygote.manager.storm import Group, Groups, Pace

JITTER = 0.3
"""A delay is shortened by up to this part of it; never lengthened, so the maximum holds."""

_CLEAN_SIGNALS = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE))
"""Deaths that systemd too takes for an orderly end."""


@dataclass(frozen=True, slots=True)
class End:
    """How a process ended. `kind` is one of five words, the same everywhere.

    Attributes:
        kind: exited, signalled, oom_killed, watchdog_expired or unknown.
        code: exit status, or signal number.
        detail: of an oom_killed one: the limit and the peak.
    """

    kind: str
    code: int = 0
    detail: str = field(default="", compare=False)

    @classmethod
    def from_wait_status(cls, status: int) -> End:
        """From what wait(2) gives: 7 << 8 for exit(7), the signal's number for a signal."""
        number = status & 0x7F
        return cls("signalled", number) if number else cls("exited", status >> 8)

    @property
    def wait_status(self) -> int:
        """The inverse of `from_wait_status`; 255 << 8 where nobody knows."""
        if self.kind in ("exited", "signalled"):
            return self.code << 8 if self.kind == "exited" else self.code
        return 255 << 8 if self.kind == "unknown" else int(signal.SIGKILL)

    @property
    def clean(self) -> bool:
        """An end that `on-failure` leaves alone."""
        if self.kind == "signalled":
            return self.code in _CLEAN_SIGNALS
        return self.kind == "exited" and self.code == 0

    @property
    def story(self) -> str:
        """With what else is known of it: "oom_killed (limit 48M, peak 48M)"."""
        return f"{self} ({self.detail})" if self.detail else str(self)

    def __str__(self) -> str:
        if self.kind == "exited":
            return f"exited({self.code})"
        if self.kind == "signalled":
            return f"signalled({signal_name(self.code)})"
        return self.kind


def signal_name(number: int) -> str:
    """SIGTERM for 15, SIGRTMIN+3 for 37."""
    try:
        return signal.Signals(number).name
    except ValueError:
        first, last = signal.SIGRTMIN, signal.SIGRTMAX
        return f"SIGRTMIN+{number - first}" if first < number < last else f"SIG{number}"


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows an end. `delay` None: no restart; `gave_up`: because there were too many."""

    delay: float | None
    reason: str = ""
    hint: str = ""
    gave_up: bool = False


class Restarts:
    """Decides each automatic restart of one worker.

    Args:
        spec: the worker's policy; may be replaced when the fleet file changes.
        chance: a number in [0, 1), anew at each call.
        pace: of the whole fleet.
        group: of its template's instances.
        is_needed: whether others come `after` it.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        chance: Callable[[], float],
        pace: Pace | None = None,
        group: Group | None = None,
        is_needed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.spec = spec
        self._chance = chance
        self._pace = pace or Pace(0)
        self._group = group or Groups().of(spec.name)
        self._is_needed = is_needed
        self._streak = 0
        self._times: deque[float] = deque()

    def forget(self) -> None:
        """Start over, as after a start that somebody asked for."""
        self._streak = 0
        self._times.clear()
        self._group.forget()

    def decide(self, *, failed: bool, up_for: float, now: float) -> Decision:
        """What follows an end that nobody asked for.

        Args:
            failed: the end was not clean, or came before the worker was ready.
            up_for: seconds that it was ready.
            now: the monotonic clock, in seconds.
        """
        spec = self.spec
        if spec.restart == "no" or (spec.restart == "on-failure" and not failed):
            return Decision(None)
        if up_for >= spec.stable_after:
            self._streak = 0
        while self._times and now - self._times[0] >= spec.start_limit_interval:
            self._times.popleft()
        if spec.start_limit and len(self._times) >= spec.start_limit:
            return Decision(
                None,
                f"restarted {len(self._times)} times within {spec.start_limit_interval:g} s "
                "(start_limit)",
                f"read its log (zygotectl logs {spec.name}), then zygotectl spawn {spec.name}",
                gave_up=True,
            )
        limit, interval = spec.max_restarts, spec.max_restarts_per
        if self._group.is_over(limit, interval, now):
            stem, at, _ = spec.name.partition("@")
            return Decision(
                None,
                f"{limit} restarts of '{stem + at}' within {interval:g} s (max_restarts)",
                f"see what ails them all (zygotectl events --last 100), then zygotectl spawn "
                f"'{stem + at}{'*' * bool(at)}'",
                gave_up=True,
            )
        # The fleet's pace last: a restart that does not come takes nobody's turn.
        delay = max(self._backoff(), self._pace.delay(now, first=self._is_needed()))
        self._streak += 1
        self._group.count(now)
        # The restart itself happens `delay` from now: that is when it counts.
        self._times.append(now + delay)
        return Decision(delay)

    def _backoff(self) -> float:
        if self._streak == 0:
            return 0.0
        doubled = self.spec.restart_delay * 2.0 ** min(self._streak - 1, 60)
        return min(doubled, self.spec.restart_max_delay) * (1 - JITTER * self._chance())
