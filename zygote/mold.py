"""For workers: let one that is warm become the mold of its zygote's next generation.

    from zygote import mold

    async def main():
        mold.offer(forget=drop_what_is_mine)

With `refork = true` in the fleet file, `zygotectl refork WORKER` then forks this worker. The fork
closes its copies of the event loop, sockets and files, calls `forget`, and is audited; if nothing
is left that must not be shared, workers are forked from it from then on. This worker goes on as if
nothing were. See `zygotectl help refork`: whatever it has in memory, all later workers have.

Elsewhere (under systemd, alone, without `refork`) all of this does nothing and returns False.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["offer", "poll"]

_PATIENCE = 10.0
_AGAIN = 0.05
"""Seconds between two looks whether it is quiet now, and until it is given up."""


def offer(
    forget: Callable[[], object] = lambda: None, quiet: Callable[[], bool] = lambda: True
) -> bool:
    """Answer requests from the running event loop, between two of its callbacks.

    Args:
        forget: called in the fork, which has no descriptors: drops what is this worker's own. It
            must not touch what the live worker uses (delete files, talk to anybody).
        quiet: tells whether nothing is under way; asked for 10 s at most. Default: always.
    Returns:
        True if somebody may ask.
    Raises:
        RuntimeError: no event loop is running.
    """
    own = _seat()
    if own is None:
        return False
    _Offer(own, asyncio.get_running_loop(), forget, quiet).wait()
    return True


def poll(forget: Callable[[], object] = lambda: None) -> bool:
    """Answer a request if there is one; for programs without an event loop, at a quiet moment.

    Returns:
        True if somebody may ask again.
    """
    own = _seat()
    if own is None:
        return False
    ready, _, _ = select.select([own.fileno()], [], [], 0)
    return own.answer(forget) if ready else True


def _seat() -> Any:
    """What the set-up of the worker left; None where there is nothing."""
    module: Any = sys.modules.get("zygote.child.mold")
    return module if module is not None and module.fileno() >= 0 else None


class _Offer:
    """An offer that stands."""

    def __init__(
        self,
        own: Any,
        loop: asyncio.AbstractEventLoop,
        forget: Callable[[], object],
        quiet: Callable[[], bool],
    ) -> None:
        self._own, self._loop, self._forget, self._quiet = own, loop, forget, quiet
        self._deadline = 0.0

    def wait(self) -> None:
        """For a request."""
        self._loop.add_reader(self._own.fileno(), self._asked)

    def _asked(self) -> None:
        self._loop.remove_reader(self._own.fileno())
        self._deadline = self._loop.time() + _PATIENCE
        self._try()

    def _try(self) -> None:
        busy = ""
        try:
            if not self._quiet():
                busy = f"not quiet for {_PATIENCE:g} s"
        except Exception as error:  # somebody waits for an answer
            busy = f"its quiet function raised {type(error).__name__}: {error}".rstrip(": ")
            self._deadline = 0.0
        if busy and self._loop.time() < self._deadline:
            self._loop.call_later(_AGAIN, self._try)
        elif self._own.answer(self._forget, busy):
            self.wait()
