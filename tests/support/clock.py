"""A clock that stands still until it is told to go on."""

from __future__ import annotations

from zygote.manager.unit import Clock


class FakeClock:
    """`clock` is what a unit takes; `go` lets time pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.clock = Clock(lambda: self.now, lambda: self.now + 1.7e9)

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
