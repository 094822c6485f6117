"""Rule `loop`: no event loop is running, or set for the thread.

A worker that finds a loop set would use it, and with it the epoll descriptor and the self-pipe
that it would share with all others (python/cpython#66285). Python forgets it in a fork by itself
only from 3.12. Loops that are set nowhere but were not closed are found by `zygote.audit.heap`.
"""

from __future__ import annotations

import sys
from typing import Any

from zygote.audit.blame import Ledger, set_loop
from zygote.audit.report import Finding


def look(ledger: Ledger) -> list[Finding]:
    """A finding for a running and for a set loop. Looks without making one."""
    events: Any = sys.modules.get("asyncio.events")
    if events is None:
        return []
    running, stored = events._get_running_loop(), set_loop()
    found = []
    if running is not None:
        found.append(Finding("loop", f"a running event loop ({type(running).__name__})"))
    if stored is not None and stored is not running:
        what = f"an event loop that is set ({type(stored).__name__})"
        found.append(Finding("loop", what, module=ledger.loop_set))
    return found
