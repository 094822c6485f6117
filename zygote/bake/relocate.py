"""Put the code that every worker runs side by side.

Running Python writes to the code itself: the interpreter keeps counters, branch histories and
caches between the instructions. That cannot be had otherwise, but the code that one worker runs
lies spread over the floor, a function here and one there, and each copies a page: 547 pages were
measured for 0.7 MB of functions. So the code objects that a rehearsed worker entered, and those
that the fleet's warm-up enters (in a clone of the zygote, which ends with it), are moved to the end
of the heap in the order of their first entries: what all workers run comes first, what one worker
runs lies together.

They are moved as they are, with all that the warm-up taught them (`zygote.bake.code`), so this
comes after it. The originals stay: what still runs there may go on.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable
from types import CodeType, FunctionType

from zygote.bake import code, warm
from zygote.bake.stage import Bake, Skipped
from zygote.errors import ZygoteError

_originals: list[CodeType] = []


def run(bake: Bake) -> str:
    """Rehearse, then move.

    Raises:
        Skipped: the rehearsal failed, or code cannot be moved here; workers run all the same.
    """
    layout = code.layout()
    if isinstance(layout, str):
        raise Skipped(layout)
    try:
        hot = bake.rehearse()
    except (ZygoteError, OSError) as error:
        raise Skipped(str(error)) from None
    with contextlib.suppress(ZygoteError, OSError):  # less is moved then
        if wants_warmth(bake):
            hot |= bake.trace(lambda: warm.fleet(bake))
    functions = [thing for thing in gc.get_objects() if type(thing) is FunctionType]
    there = _reachable(functions)
    chosen = [there[at] for at in hot if at in there and code.movable(there[at])]
    if not chosen:
        raise Skipped("no function of the floor was entered")
    _originals.extend(chosen)
    moved = code.copy(chosen)
    count = code.repoint(layout, moved, functions, there.values())
    size = sum(map(code.size, chosen))
    return f"{len(chosen):,} code objects of {count:,} functions, {size / 1e6:.1f} MB"


def wants_warmth(bake: Bake) -> bool:
    """Whether there are warm-up functions, and nobody asked to leave them out."""
    return bool(bake.spec.warm) and (bake.spec.bake is None or "warm" in bake.spec.bake)


def _reachable(functions: Iterable[FunctionType]) -> dict[int, CodeType]:
    """The code objects of these functions and all that are defined inside them, by address."""
    found: dict[int, CodeType] = {}
    stack = [function.__code__ for function in functions]
    while stack:
        one = stack.pop()
        if id(one) not in found:
            found[id(one)] = one
            stack += [constant for constant in one.co_consts if type(constant) is CodeType]
    return found
