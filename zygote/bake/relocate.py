"""Put the code that every worker runs side by side.

Running Python writes to the code itself: the interpreter keeps counters, branch histories and
caches between the instructions. That cannot be had otherwise, but the code of an event loop's
start lies spread over the floor, a function here and one there, and each copies a page. So the
code objects that a rehearsed worker entered, and those that the fleet's warm-up enters (in a clone
of the zygote, which ends with it), are copied into the end of the heap, one after the other, and
their functions given the copies; the originals stay, lest they leave holes.

A copy has learnt nothing yet: so this comes before the warm-up.
"""

from __future__ import annotations

import contextlib
import gc
from types import CodeType, FunctionType

from zygote.bake import seal, warm
from zygote.bake.stage import Bake, Skipped
from zygote.errors import ZygoteError
from zygote.sys import malloc

_originals: list[CodeType] = []


def run(bake: Bake) -> str:
    """Rehearse, then copy.

    Raises:
        Skipped: the rehearsal failed; workers run all the same.
    """
    try:
        hot = bake.rehearse()
    except (ZygoteError, OSError) as error:
        raise Skipped(str(error)) from None
    with contextlib.suppress(ZygoteError, OSError):  # less is relocated then
        if wants_warmth(bake):
            hot |= bake.trace(lambda: warm.fleet(bake))
    gc.collect()
    malloc.trim()
    seal.fill()  # the copies then lie side by side, and not in holes
    functions = [
        thing
        for thing in gc.get_objects()
        if type(thing) is FunctionType and id(thing.__code__) in hot
    ]
    copies: dict[int, CodeType] = {}
    for function in functions:
        function.__code__ = _copy(function.__code__, hot, copies)
    return f"{len(copies):,} code objects of {len(functions):,} functions"


def wants_warmth(bake: Bake) -> bool:
    """Whether there are warm-up functions, and nobody asked to leave them out."""
    return bool(bake.spec.warm) and (bake.spec.bake is None or "warm" in bake.spec.bake)


def _copy(code: CodeType, hot: set[int], copies: dict[int, CodeType]) -> CodeType:
    """A copy in which the inner functions that are hot are copies, too."""
    if id(code) not in copies:
        _originals.append(code)
        constants = tuple(
            _copy(constant, hot, copies)
            if type(constant) is CodeType and id(constant) in hot
            else constant
            for constant in code.co_consts
        )
        copies[id(code)] = code.replace(co_consts=constants)
    return copies[id(code)]
