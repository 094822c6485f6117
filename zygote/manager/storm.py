"""When many fall at once: how fast a fleet rises again, and when a group is given up on. Pure.

Each worker decides for itself whether it is restarted (`policy`). What no single worker can see is
here: a thousand that end together, each restarted at once, would take the machine from those that
did not fall; and a template whose instances end one after the other is ill as a whole, though each
of them is below its own limit.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BURST_SECONDS = 1.0
"""So many seconds' worth of restarts may begin at once before any has to wait."""


class Pace:
    """Hands out moments to restart at, `rate` a second on average; O(1).

    Args:
        rate: restarts a second; 0: no limit.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.waiting_until = 0.0
        """The last moment that was handed out."""
        self._next = 0.0
        self._storm = False

    def delay(self, now: float, *, first: bool = False) -> float:
        """Seconds until this restart may begin.

        Args:
            now: the monotonic clock; never goes back.
            first: others wait for this worker (`after`): it goes before all of them, and counts.
        """
        if self.rate <= 0:
            return 0.0
        self._next = max(self._next, now) + 1.0 / self.rate
        if first:
            return 0.0
        delay = max(0.0, self._next - BURST_SECONDS - now)
        self.waiting_until = max(self.waiting_until, now + delay)
        return delay

    def news(self, now: float) -> str:
        """A line when a storm begins: somebody has to wait because of others. "" otherwise."""
        began = not self._storm and self.waiting_until > now
        self._storm = self.waiting_until > now
        text = f"many ended together; {self.rate:g} a second are restarted (restart_rate)"
        return text if began else ""


@dataclass(slots=True)
class Group:
    """The instances of one template, or one worker that is of none: their restarts together."""

    times: deque[float]

    def is_over(self, limit: int, interval: float, now: float) -> bool:
        """Whether one more restart would be too many; 0 is no limit."""
        while self.times and now - self.times[0] >= interval:
            self.times.popleft()
        return bool(limit) and len(self.times) >= limit

    def count(self, now: float) -> None:
        """One was restarted."""
        self.times.append(now)

    def forget(self) -> None:
        """Somebody started one of them by hand: a fresh beginning."""
        self.times.clear()


class Groups:
    """All groups, by the template's name ("decoy@"), or the worker's own."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def of(self, worker: str) -> Group:
        """The group that a worker is in."""
        stem, at, _ = worker.partition("@")
        return self._groups.setdefault(stem + at, Group(deque()))

    def all(self) -> list[tuple[str, Group]]:
        """Each with a name that `of` knows it by."""
        return list(self._groups.items())
