"""A provider that fails again and again is left alone for a while. Pure: the clock is given."""

from __future__ import annotations

from collections.abc import Callable

FAILURES = 3
OPEN_FIRST, OPEN_MOST = 60.0, 3600.0


class Breaker:
    """Closed: calls pass. Open: none does, for a time that doubles. Then one call decides.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._until = float("-inf")
        self._pause = OPEN_FIRST
        self._trying = False

    @property
    def remaining(self) -> float:
        """Seconds for which no call passes; 0 where one does."""
        return max(0.0, self._until - self._clock())

    @property
    def is_open(self) -> bool:
        """Whether calls are held back."""
        return self.remaining > 0 or self._trying

    def enter(self) -> bool:
        """Ask for a call; True where it may be made. Then `success` or `failure` must follow."""
        if self.is_open:
            return False
        self._trying = self._failures >= FAILURES
        return True

    def success(self) -> None:
        """The call was answered."""
        self._failures, self._pause, self._trying = 0, OPEN_FIRST, False

    def failure(self, retry_after: float = 0.0) -> None:
        """The call failed; `retry_after` seconds were asked for."""
        self._failures += 1
        self._trying = False
        if retry_after > 0:
            self._until = self._clock() + min(retry_after, OPEN_MOST)
        elif self._failures >= FAILURES:
            self._until = self._clock() + self._pause
            self._pause = min(self._pause * 2, OPEN_MOST)
