"""Put the code that every worker runs side by side.

Running Python writes to the code itself: the interpreter keeps counters, branch histories and
caches between the instructions. That cannot be had otherwise, but the code that one worker runs
lies spread over the floor, a function here and one there, and each copies a page: 547 pages were
measured for 0.7 MB of functions. So the code objects that a rehearsed worker entered, and those
that the fleet's warm-up enters (in a clone of the zygote, which ends with it), are moved to memory
of their own: first what all workers run, then the parts of the warm-up (`zygote.warming.part`), and
what several parts run before what one does. In each of these what the interpreter writes to
whenever it runs comes first, then what it only reads, whose pages few workers copy; otherwise the
order is that of the first entries.

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
copies: list[tuple[list[int], int]] = []
"""Where copies lie that `keep` has not seen yet, and the bytes from the first one to the end."""


def run(bake: Bake) -> str:
    """Rehearse, then move.

    Raises:
        Skipped: the rehearsal failed, or code cannot be moved here; workers run all the same.
    """
    layout = code.layout()
    if isinstance(layout, str):
        raise Skipped(layout)
    functions = [thing for thing in gc.get_objects() if type(thing) is FunctionType]
    there = _reachable(functions)
    quiet = {at: noted for at, one in there.items() if (noted := code.notes(one)) is not None}
    try:
        groups = in_order(_parts(bake, there, quiet))
    except (ZygoteError, OSError) as error:
        raise Skipped(str(error)) from None
    chosen = [
        there[at]
        for group in groups
        for at in sorted(group, key=lambda at: at in quiet)
        if at in there and code.movable(there[at])
    ]
    if not chosen:
        raise Skipped("no function of the floor was entered")
    _originals.extend(chosen)
    for one in chosen:
        code.ask(one)
    moved = code.copy(chosen)
    copies.append(([*moved.values()], code.room(chosen)))
    count = code.repoint(layout, moved, functions, there.values())
    size = sum(map(code.size, chosen))
    return f"{len(chosen):,} code objects of {count:,} functions, {size / 1e6:.1f} MB"


def in_order(parts: list[dict[int, None]]) -> list[list[int]]:
    """Groups: what all run, what several parts run, the most first, and what one runs.

    Args:
        parts: first what all run, then each part.
    """
    common, *others = parts
    among: dict[int, list[int]] = {}
    for number, part in enumerate(others):
        for one in part:
            if one not in common:
                among.setdefault(one, []).append(number)
    groups: dict[tuple[int, ...], list[int]] = {}
    for one, numbers in among.items():
        groups.setdefault(tuple(numbers), []).append(one)
    return [[*common], *(groups[key] for key in sorted(groups, key=lambda key: (-len(key), key)))]


def _parts(
    bake: Bake, there: dict[int, CodeType], quiet: dict[int, bytes]
) -> list[dict[int, None]]:
    """What all run, then the parts. Takes from the quiet ones those that are written all the same.

    Raises:
        ZygoteError, OSError: the rehearsal failed.
    """
    entered = bake.rehearse()
    if not wants_warmth(bake):
        return [entered]

    def written() -> list[int]:
        # A call from somewhere else, or of another type, and it counts down to learn anew. (What
        # watches it has changed instructions, but not the notes.)
        return [at for at, noted in quiet.items() if code.notes(there[at]) not in (noted, None)]

    with contextlib.suppress(ZygoteError, OSError):  # less is moved then
        common, *others, late = bake.trace(lambda: warm.fleet(bake), written)
        for at in late:
            del quiet[at]
        return [entered | common, *others]
    return [entered]


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
