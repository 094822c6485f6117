"""Rule `loop`: no event loop is running, or set for the thread.

A worker that finds a loop set would use it, and with it the epoll descriptor and the self-pipe
that it would share with all others (python/cpython#66285). Python forgets it in a fork by itself
only from 3.12. Loops that are set nowhere but were not closed are found by `zygote.audit.heap`.
"""

from __future__ import annotations

import sys
from typing import Any

from zygote.audit.report import Finding

_REMEDY = "run it by asyncio.run, which closes it, or make it in the worker"


def look() -> list[Finding]:
    """A finding for a running and for a set loop. Looks without making one."""
    events: Any = sys.modules.get("asyncio.events")
    if events is None:
        return []
    running = events._get_running_loop()
    policy = getattr(events, "_event_loop_policy", None)
    stored = getattr(getattr(policy, "_local", None), "_loop", None)
    found = []
    if running is not None:
        found.append(_finding(f"a running event loop ({type(running).__name__})"))
    if stored is not None and stored is not running:
        found.append(_finding(f"an event loop that is set ({type(stored).__name__})"))
    return found


def _finding(what: str) -> Finding:
    return Finding("loop", what, "workers would share its epoll and its self-pipe", _REMEDY)
