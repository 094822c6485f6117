"""When a worker has drifted beyond its budget of private memory. Pure: the clock is handed in.

A worker shares what its zygote had, until it writes to it; page by page that may come to all of the
floor. `max_private` bounds it: beyond that the worker is recycled, which costs milliseconds and
gives the pages back. But

- not in the middle of its work: once it says that it is idle, at the latest after `recycle_grace`,
  and only if it is beyond its budget all that time;
- not over and over: no more often than each `recycle_interval`;
- not where it would not help: one that is beyond its budget right after its start is left alone,
  since the next one would be, too.

Whatever holds it up is told once a process.
"""

from __future__ import annotations

from dataclasses import dataclass

from zygote.fleet.model import WorkerSpec
from zygote.units import format_seconds

EVERY = 10.0
"""Seconds between two looks at a worker within its budget."""
CLOSELY = 1.0
"""Seconds between two looks at one that is beyond it."""
BIRTH = 30.0
"""Seconds after it became ready in which the first look shows what it was born with."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from a look. `event` is "" where there is nothing new to tell."""

    recycle: bool = False
    event: str = ""
    detail: str = ""


class Budget:
    """The budget of one worker, process after process.

    Attributes:
        due: monotonic time of the next look.
        private: bytes at the last look at this process, or None.
        recycled_at: monotonic time of the last recycling, or None.
    """

    def __init__(self) -> None:
        self.due = 0.0
        self.private: int | None = None
        self.recycled_at: float | None = None
        self._ready_at: float | None = None
        self._looked = self._told = self._lost = False
        self._idle = False
        self._over_since: float | None = None

    def ready(self, now: float) -> None:
        """A process of the worker's is ready, and new."""
        self.adopted(now)
        self._ready_at = now

    def adopted(self, now: float) -> None:
        """A process of the worker's is there, and nobody knows what it was born with."""
        self.due, self.private, self._ready_at = now, None, None
        self._looked = self._told = self._lost = self._idle = False
        self._over_since = None

    def said_idle(self, idle: bool, now: float) -> None:
        """It says whether it is."""
        self._idle = idle
        if idle and self._over_since is not None:
            self.due = now

    def looked(self, spec: WorkerSpec, private: int, now: float, lacks: str = "") -> Verdict:
        """It was looked at.

        Args:
            spec: with the budget; it may have changed meanwhile.
            private: bytes.
            lacks: what a new process would have to wait for, if anything.
        """
        self.due, self.private = now + EVERY, private
        first, self._looked = not self._looked, True
        limit = spec.max_private
        if limit is None or private <= limit:
            self._over_since, self._lost = None, False
            return Verdict()
        figures = f"private={private} budget={limit}"
        self._lost = self._lost or self._is_birth(spec, first, now)
        if self._lost:
            return self._tell(
                f"{figures} right after its start: it is left alone, since another would be as "
                "large; raise max_private"
            )
        if self._over_since is None:
            self._over_since = now
        wait = 0.0
        if self.recycled_at is not None:
            wait = self.recycled_at + spec.recycle_interval - now
        if wait > 0:
            self.due = now + min(EVERY, wait)
            return self._tell(
                f"{figures}: recycled {format_seconds(now - self.recycled_at)} ago, so not before "  # type: ignore[operator]
                f"{format_seconds(wait)} from now (recycle_interval)"
            )
        left = self._over_since + spec.recycle_grace - now
        if left > 0 and not self._idle:
            self.due = now + min(CLOSELY, left)
            return Verdict()
        if lacks:
            # Whoever is the last to share its floor with a zygote that died has all of it as its
            # own. To replace it is right, but not while there is nothing to replace it by.
            self.due = now + CLOSELY
            return self._tell(f"{figures}: not before {lacks} is ready")
        why = "idle" if self._idle else f"grace={spec.recycle_grace:g}s"
        overlap = "yes" if spec.overlap else "no"
        self.recycled_at = now
        return Verdict(True, "recycling", f"{figures} after={why} overlap={overlap}")

    def unreadable(self, why: str, now: float) -> Verdict:
        """Its memory cannot be read."""
        self.due = now + EVERY
        return self._tell(f"{why}: max_private is not kept")

    def _is_birth(self, spec: WorkerSpec, first: bool, now: float) -> bool:
        if self._ready_at is None:
            return False
        age = now - self._ready_at
        return age < spec.stable_after or (first and age <= BIRTH)

    def _tell(self, detail: str) -> Verdict:
        told, self._told = self._told, True
        return Verdict() if told else Verdict(event="over-budget", detail=detail)
