"""For warm-ups: how often to repeat a path.

A function must run some dozen times before the interpreter has learnt what it will of it. A zygote
also has its warm-ups run once more in a clone, to see which code they enter and in which order; for
that, few rounds do, and the bake is shorter.

What is seen there decides what lies beside what: code that every worker runs first, then that of
each `part`. What goes on `aside`, such as a visitor that the warm-up plays itself, is left out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar

TRACING = "ZYGOTE_TRACING"
"""In the environment of a clone that only wants to see."""
LEARNT = 12
_SEEN = 2
"""The second round takes the way of what is there already."""


def rounds(most: int = LEARNT) -> int:
    """`most`, or less where nothing is to be learnt."""
    return min(most, _SEEN) if watched() else most


def watched() -> bool:
    """Whether this is the clone that only wants to see.

    It ends with the warm-up: what would spoil a floor (signal handlers, logging) may be run in it.
    """
    return TRACING in os.environ


def part(name: str) -> None:
    """What follows is run by some workers only; the same name again is the same part.

    What comes before the first part, every worker runs.
    """
    if _watcher:
        _watcher(name)


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """What runs inside, its tasks and its callbacks included, no worker will run."""
    token = _aside.set(True)
    try:
        yield
    finally:
        _aside.reset(token)


def is_aside() -> bool:
    """Whether the code that runs now is of the kind that no worker runs."""
    return _aside.get()


def watch_parts(watcher: Callable[[str], None]) -> None:
    """From now on, tell of each part. For the fork server."""
    global _watcher
    _watcher = watcher


_aside: ContextVar[bool] = ContextVar("aside", default=False)
_watcher: Callable[[str], None] | None = None
