"""What must not be in a process that is cloned, and who put it there.

A clone has one thread, copies of all descriptors, and a copy of all memory. So a floor may hold
code and plain objects; it may not hold a thread (it would be missing, with the locks it held), a
connection (two processes would talk on it), a descriptor (its offset and locks would be shared),
an event loop (its epoll would be one for all), or a database handle (its locks would be lost).

`rules` is the list of what is looked for; each rule has a file that looks, with its reason. `look`
asks the kernel and the interpreter, and may be called at any time; `study` walks objects, modules
and mappings, and must come before the freeze; `twins.look` forks. The same rules judge a floor in
its bake, and any program in `zygotectl audit`.
"""

from __future__ import annotations

from zygote.audit import (
    children,
    environ,
    files,
    finals,
    heap,
    imprints,
    loops,
    mappings,
    sdks,
    settings,
    threads,
)
from zygote.audit.blame import Ledger
from zygote.audit.report import AuditRefusedError, Finding, explain, judge
from zygote.audit.rules import RULES

__all__ = ["RULES", "AuditRefusedError", "Finding", "Ledger", "explain", "judge", "look", "study"]


def look(link_fd: int, ledger: Ledger) -> list[Finding]:
    """What the process has: quick, and leaves nothing on the heap.

    Args:
        link_fd: a descriptor that is accepted, besides stdio.
        ledger: who made what; it names the culprits.
    """
    return [
        *threads.look(ledger),
        *files.look(link_fd, ledger),
        *loops.look(ledger),
        *children.look(ledger.children, ledger.places),
        *settings.look(ledger),
    ]


def study(ledger: Ledger) -> list[Finding]:
    """What objects, modules and mappings tell; about 0.1 s for a floor of 1,200 modules."""
    return [
        *heap.scan(),
        *environ.look(ledger.environ),
        *finals.look(),
        *sdks.look(),
        *imprints.look(ledger.began),
        *mappings.look(),
    ]
