"""How many visitors fit in, and who has to go when another one knocks.

A decoy never refuses: the newest visitor may be the interesting one. When it is full the one
that has been silent for longest is shown out, those that never said a word before all others.
So thousands of connections that say nothing cost each other their places, and nobody else's.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

CONNECTIONS_MOST = 512
DRAIN_SECONDS = 1.0
"""Enough for a request; a session of minutes is not waited for."""
_LOOK = 0.01
FDS_KEPT = 64
"""Descriptors that are not for visitors: database of keys, spool, bus, recordings, loop."""


class Doorman:
    """Keeps count of visitors. Each is any hashable object, with a function that closes it.

    Args:
        most: visitors at once; less where RLIMIT_NOFILE does not allow it.
    """

    def __init__(self, most: int = CONNECTIONS_MOST) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        room = most if soft == resource.RLIM_INFINITY else soft - FDS_KEPT
        self.most = max(8, min(most, room))
        self._silent: OrderedDict[Any, Callable[[], object]] = OrderedDict()
        self._talking: OrderedDict[Any, Callable[[], object]] = OrderedDict()
        self.admitted = 0
        self.evicted = 0
        self.when_empty: Callable[[], object] = lambda: None
        """Called when the last one has left."""

    def __len__(self) -> int:
        return len(self._silent) + len(self._talking)

    def admit(self, visitor: Any, close: Callable[[], object]) -> None:
        """A new visitor; where it is full, another is closed first."""
        self.admitted += 1
        while len(self) >= self.most:
            _, out = (self._silent or self._talking).popitem(last=False)
            self.evicted += 1
            out()
        self._silent[visitor] = close

    def heard(self, visitor: Any) -> None:
        """The visitor said something (worth the name: a request, a log-in, a key)."""
        close = self._silent.pop(visitor, None) or self._talking.pop(visitor, None)
        if close is not None:
            self._talking[visitor] = close

    def leave(self, visitor: Any) -> None:
        """The visitor is gone. Safe to call twice."""
        was_here = self._silent.pop(visitor, None) or self._talking.pop(visitor, None)
        if was_here and not len(self):
            self.when_empty()

    async def drain(self) -> None:
        """The door is closed: who is inside may finish, for a moment, and is then shown out."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DRAIN_SECONDS
        await asyncio.sleep(2 * _LOOK)  # those who were just let in come to be admitted
        while len(self) and loop.time() < deadline:
            await asyncio.sleep(_LOOK)
        self.close_all()

    def close_all(self) -> None:
        """Show everybody out."""
        for visitors in (self._silent, self._talking):
            while visitors:
                visitors.popitem(last=False)[1]()

    def health(self) -> dict[str, int]:
        """For the heartbeat."""
        return {"visitors": len(self), "admitted": self.admitted, "evicted": self.evicted}
