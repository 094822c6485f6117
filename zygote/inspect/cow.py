"""Answer "why is my memory not shared?" for one process.

How it is done, and why so:

- The pages that are the process's alone are found by pagemap, and only those are compared with the
  parent's, byte by byte, through /proc/PID/mem. Reading leaves no trace in either.
- What lies on a page is decoded from the parent's and the child's memory: pymalloc's pools and
  malloc's chunks tell the blocks, the second word of a block its type. That needs nobody's help,
  so it works on every fork of a Python, in a fleet or not; and it sees what the collector's lists
  do not: text, free blocks, what the child made itself.
- Only names that memory does not tell at once (whose dict? whose list?) come from a witness, which
  costs a spawn, and sees the floor as the zygote has it now. Where none can be had, memory is
  searched for who has the address: slower, and less sure (`zygote.inspect.seek`).

What is not so exact: a process that runs changes while it is read. What was written and written
back shows no difference: the objects on the page that could have been are named. And a page that
the *zygote* wrote after the fork differs just as one that the worker wrote.
"""

from __future__ import annotations

import time

from zygote.errors import Exit, ZygoteError
from zygote.inspect import layout
from zygote.inspect.compare import Comparison
from zygote.inspect.memory import explained
from zygote.inspect.naming import Ask, Names
from zygote.inspect.report import Report, build
from zygote.inspect.seek import Seeker
from zygote.inspect.sides import Side
from zygote.sys import procfs
from zygote.sys.pagemap import PAGE

NO_WITNESS = "no witness: owners were looked for in memory, which finds fewer and may be wrong"


def compare(pid: int, parent: Side | None, subject: str = "") -> Comparison:
    """Look at a process's private pages.

    Args:
        parent: the process that it was forked from; None if that is gone.
    Raises:
        ZygoteError: codes gone, not-allowed, not-a-fork, other-python.
    """
    _check_python(pid, subject or f"process {pid}")
    offsets = layout.calibrate()
    child = Side(pid, offsets)
    if parent is not None and _origin(child) != _origin(parent):
        raise ZygoteError(
            f"process {pid} was not forked from process {parent.pid}: their memory lies elsewhere",
            code="not-a-fork",
            hint="name the process that it was forked from; one that was exec'd shares nothing",
            exit_code=Exit.USAGE,
        )
    comparison = Comparison(child, parent, offsets)
    comparison.run()
    return comparison


def parent_side(pid: int) -> Side:
    """A process to compare with; one may serve for many children.

    Raises:
        ZygoteError: as `compare`.
    """
    _check_python(pid, f"process {pid}")
    return Side(pid, layout.calibrate())


def report(comparison: Comparison, subject: str, parent: str, ask: Ask | None) -> Report:
    """Name what a comparison found.

    Args:
        parent: for people: what it was compared with.
    """
    pid = comparison.child.pid
    notes = []
    if ask is None and comparison.parent is not None:
        ask, notes = Seeker(comparison.parent), [NO_WITNESS]
    names = Names(comparison, ask)
    with explained(pid):
        memory = procfs.read_memory(pid)
    return Report(
        subject,
        pid,
        parent,
        build(comparison.pages, names),
        pagetables_kib=memory.pagetables_kib if memory else 0,
        swapped_kib=comparison.swapped * PAGE // 1024,
        rss_kib=memory.rss_kib if memory else 0,
        at=time.time(),
        notes=notes,
    )


def wanted(comparison: Comparison) -> list[int]:
    """The addresses that a witness will be asked about."""
    return Names(comparison, None, spread=False).wanted()


def is_fork(child: int, parent: int) -> bool:
    """Whether two processes have the same memory layout, which only a fork gives."""
    try:
        offsets = layout.calibrate()
        return _origin(Side(child, offsets)) == _origin(Side(parent, offsets))
    except ZygoteError:
        return False


def _origin(side: Side) -> tuple[tuple[int, str], ...]:
    """Where the program, its heap and its stack lie, which each exec chooses anew."""
    maps = side.maps
    first = next((mapping for mapping in maps if mapping.is_file), None)
    heap = next((mapping for mapping in maps if mapping.path == "[heap]"), None)
    return tuple((mapping.begin, mapping.path) for mapping in (first, heap) if mapping)


def _check_python(pid: int, subject: str) -> None:
    with explained(pid):
        version = layout.version_of(pid)
        ours = layout.matches(pid)
    if not ours and version:
        theirs = ".".join(map(str, version))
        raise ZygoteError(
            f"{subject} runs Python {theirs}, this is another: its objects lie in another way",
            code="other-python",
            hint=f"run this command with that Python: python{theirs} -m zygote.cli …",
            exit_code=Exit.USAGE,
        )
