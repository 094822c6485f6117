"""What must not be in a process that is cloned, and who put it there.

A clone has one thread, copies of all descriptors, and a copy of all memory. So a floor may hold
code and plain objects; it may not hold a thread (it would be missing, with the locks it held), a
connection (two processes would talk on it), a descriptor (its offset and locks would be shared),
an event loop (its epoll would be one for all), or a database handle (its locks would be lost).

Each rule is a file with its reason. `look` asks the kernel and asyncio; `heap.scan` walks objects.
"""

from __future__ import annotations

from zygote.audit import children, files, loops, threads
from zygote.audit.blame import Ledger
from zygote.audit.report import RULES, AuditRefusedError, Finding, judge

__all__ = ["RULES", "AuditRefusedError", "Finding", "Ledger", "judge", "look"]


def look(link_fd: int, ledger: Ledger) -> list[Finding]:
    """All findings that need no walk over the heap.

    Args:
        link_fd: a descriptor that is accepted, besides stdio.
        ledger: who made what; it names the culprits.
    """
    return [
        *threads.look(ledger),
        *files.look(link_fd, ledger),
        *loops.look(),
        *children.look(ledger.children),
    ]
