"""Let workers share again what the interpreter wrote to the code that they ran.

`relocate` has put that code together. What is written there, run after run, is counters, histories
and caches: of use, but nobody's data, and any earlier state of them is as good. So the state that
the bake has reached is kept in a file in memory, which takes the place of the code's pages, and a
worker that has done its work (`zygote.memory.reshare`) drops its copies of them: of 305 KiB that a
decoy's start and one client's visit un-shared, 66 are left. Every worker does so once before its
program begins (`zygote.child.main`): the code of its set-up does not run again.

Why going back is safe, CPython 3.12 to 3.14, also for a function that is running just then:

- The GIL is kept while the pages go, so each thread is between two instructions, or in a call
  that one of them made: none has read the one half of a cache and has yet to read the other.
- An instruction keeps its place and its length whichever of its forms it has; a frame notes its
  place in the code, and nothing of the form.
- What a cache names (versions of classes, functions and dicts) is never given to another one, so
  an old cache is right or does not match. The objects that it points to were alive at the bake, and
  nothing of the floor is ever freed.
- The head of a code object is not written any more: its count is immortal, which is looked at here,
  and the names of its variables are made (`code.ask`). One who watches code (a debugger, coverage)
  notes things there: `reshare` does nothing then.
- A JIT compiler's traces are tied to the code: with one, `relocate` moves nothing.
"""

from __future__ import annotations

from zygote.bake import relocate, selftest
from zygote.bake.stage import Bake, Skipped
from zygote.sys import backed


def run(_bake: Bake) -> str:
    """Keep what has been moved since the last time.

    Raises:
        Skipped: nothing was moved, or it cannot go back here.
    """
    if not relocate.copies:
        raise Skipped("no code was moved")
    counts = selftest.immortal_counts()
    if isinstance(counts, str):
        raise Skipped(counts)
    size = 0
    while relocate.copies:
        moved, count = relocate.copies.pop()
        if any(counts.words[at >> 2] < counts.immortal for at in moved):
            raise Skipped("code has counts that are written: `immortalise` was left out")
        try:
            backed.keep(moved[0], count)
        except OSError as error:
            raise Skipped(f"no file in memory: {error}") from None
        size += count
    return f"{size / 1e6:.1f} MB"
