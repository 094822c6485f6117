"""Functions for workers of kind "function" to call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Generator
from typing import Any


def none() -> None:
    """Ends well."""
    print("called", __name__, sys.argv, sys.modules["__main__"].__dict__.get("__file__"))


def number() -> int:
    """A status."""
    return 7


def message() -> str:
    """What went wrong."""
    return "a message for stderr"


async def coroutine() -> int:
    """A status, later."""
    await asyncio.sleep(0)
    print("in a loop", asyncio.get_running_loop().is_running())
    return 5


class Later:
    """Awaitable, and no coroutine."""

    def __await__(self) -> Generator[Any, None, int]:
        yield from asyncio.sleep(0).__await__()
        return 6


def later() -> Awaitable[int]:
    """Returns what must be awaited."""
    return Later()


class Holder:
    """For a path of names."""

    @staticmethod
    def inner() -> int:
        """A status."""
        return 9


def raises() -> None:
    """Fails."""
    raise ValueError("from a function")


async def raises_later() -> None:
    """Fails in its loop."""
    raise ValueError("from a coroutine")
