"""Rules `sqlite` and `loop`, for objects that only a walk over the heap finds.

A SQLite handle in a floor is worse than a descriptor: POSIX locks belong to a process, so a clone
that uses *or merely closes* its copy drops the locks of the original and can corrupt the file. An
in-memory database has no descriptor, but its connection remembers the thread that made it.

The walk sees what the collector tracks: it must come before the freeze.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from zygote.audit.report import Finding


def scan() -> list[Finding]:
    """Walk over all objects, once."""
    connection = getattr(sys.modules.get("sqlite3"), "Connection", None)
    loop = getattr(sys.modules.get("asyncio.base_events"), "BaseEventLoop", None)
    wanted = tuple(kind for kind in (connection, loop) if kind is not None)
    # By type, not isinstance: that would ask `__class__` of proxies, which may act on being asked.
    live = [thing for thing in gc.get_objects() if wanted and issubclass(type(thing), wanted)]
    found = []
    for thing in live:
        if connection is not None and issubclass(type(thing), connection):
            if _is_closed(thing):
                continue
            found.append(
                Finding(
                    "sqlite",
                    "an open sqlite3.Connection",
                    "a worker that uses or closes its copy can corrupt the file",
                    "connect in the worker, or close the connection after warming up",
                    _owner(thing),
                )
            )
        elif not thing.is_closed():
            found.append(
                Finding(
                    "loop",
                    f"an event loop that was not closed ({type(thing).__name__})",
                    "workers would share its epoll and its self-pipe",
                    "run it by asyncio.run, which closes it, or make it in the worker",
                    _owner(thing),
                )
            )
    return found


def _is_closed(connection: Any) -> bool:
    try:
        connection.total_changes  # noqa: B018
    except Exception as error:
        return "closed" in str(error)
    return False


def _owner(thing: Any) -> str:
    """The module that has it as a global, if one has."""
    for name, module in list(sys.modules.items()):
        if any(value is thing for value in list(getattr(module, "__dict__", {}).values())):
            return name
    return ""
