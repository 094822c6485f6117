"""Workers that each un-share their memory in one way. Preloaded by the zygotes of `test_cow.py`."""

from __future__ import annotations

import functools
import gc
import mmap
import os
import signal
from collections.abc import Callable

from zygote import notify

MANY = 6_000


class Node:
    """An object of the floor; many of them lie side by side."""

    def __init__(self, number: int) -> None:
        self.number = number


class Settings:
    """A class whose attribute is written per request."""

    hits = 0


NODES = [Node(number) for number in range(MANY)]
# Every other one is dropped again: the floor's heap is full of holes.
SWISS_CHEESE = [bytes(100) for _ in range(MANY)]
del SWISS_CHEESE[::2]
COUNTER = 0
CACHE: dict[int, str] = {}


@functools.lru_cache(maxsize=MANY)
def price(number: int) -> str:
    """Worked out once, and kept."""
    return f"{number} crowns"


def rarely(number: int) -> int:
    """Code that no rehearsal has run."""
    total = 0
    for each in range(number):
        total += each if each % 2 else -each
    return total


def warm() -> None:
    """What the floor runs once: not `rarely`."""
    price(1)


def seed(function: Callable[[], object]) -> Callable[[], None]:
    """A worker that does one thing and waits."""

    def worker() -> None:
        kept = function()
        notify.ready()
        while True:
            signal.pause()
        del kept

    return worker


def _count() -> None:
    global COUNTER
    for _ in range(1000):
        COUNTER += 1


def _hit() -> None:
    for _ in range(1000):
        Settings.hits += 1


def _fill_dict() -> None:
    for number in range(MANY):
        CACHE[number] = f"{number} crowns"


def _fill_lru() -> None:
    for number in range(MANY):
        price(number)


def _run_rarely() -> None:
    for _ in range(100):
        rarely(100)


def _hold() -> object:
    return [[node] for node in NODES]


def _touch() -> None:
    for node in NODES:
        [node].clear()


def _fill_holes() -> object:
    return [bytes(100) for _ in range(MANY // 4)]


def _map_a_file() -> object:
    with open(os.environ["SEED_FILE"], "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    sum(mapped[at] for at in range(0, len(mapped), 4096))
    return mapped


idle = seed(lambda: None)
counter = seed(_count)
attribute = seed(_hit)
unwarmed = seed(_fill_dict)
unwarmed_lru = seed(_fill_lru)
inline = seed(_run_rarely)
collect = seed(gc.collect)
hold = seed(_hold)
touch = seed(_touch)
holes = seed(_fill_holes)
mapped = seed(_map_a_file)
