"""For warm-ups: how often to repeat a path.

A function must run some dozen times before the interpreter has learnt what it will of it. A zygote
also has its warm-ups run once more in a clone, to see which code they enter and in which order; for
that, few rounds do, and the bake is shorter.
"""

from __future__ import annotations

import os

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
