"""Give every object of the floor a reference count that is never written.

Reading an object writes to it: each use raises and lowers its count, and so copies its page. After
`freeze` that is by far the largest cause of copies (of the pages that an idle worker on asyncio
copies, about half; half of a working one's). An immortal count (PEP 683) is left alone by the
interpreter.

The price: nothing of the floor is ever freed in a worker, and no finaliser of it runs. What a
worker makes itself is counted and freed as ever.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from zygote.bake import selftest
from zygote.bake.hidden import Hidden
from zygote.bake.stage import Bake, Skipped
from zygote.sys import malloc


def run(_bake: Bake) -> str:
    """All objects that the collector tracks, and what hangs off them.

    Raises:
        Skipped: this Python has no immortal counts, or does not keep them as expected.
    """
    counts = selftest.immortal_counts()
    if isinstance(counts, str):
        raise Skipped(counts)
    _give_versions_to_globals()
    number = _walk(counts)
    malloc.trim()  # of the walk's own lists
    return f"{number:,} objects"


def _walk(counts: selftest.Counts) -> int:
    """Mark everything reachable; the mark itself says what was visited already."""
    words, flags, referents = counts.words, counts.flags, gc.get_referents
    immortal, given = counts.immortal, counts.given
    number = 0
    hidden = Hidden()
    # Objects that are immortal from the start are not in any list of the collector's, but the
    # dicts of built-in types are: so all that is alive is reached from here.
    stack = gc.get_objects()
    own = id(stack)
    while stack:
        thing = stack.pop()
        at = id(thing) >> 2
        if words[at] >= immortal or id(thing) == own:
            continue
        words[at] = given
        if flags:
            flags[2 * at + 3] |= 1
        number += 1
        if type(thing) is str:
            hash(thing)  # kept in the string: a worker that computes it writes there
        elif issubclass(type(thing), type):  # isinstance would ask what it is proxy for
            _give_version(thing)
            hidden.keep_keys(thing)
        stack.extend(referents(thing))
        if type(thing) is CodeType:  # the collector does not look into code
            stack += (thing.co_consts, thing.co_names, thing.co_linetable, thing.co_exceptiontable)
            stack += (thing.co_filename, thing.co_name, thing.co_qualname)
            stack.extend(hidden.asked_of(thing))
            hidden.keep_constants(thing)
    return number


def _give_versions_to_globals() -> None:
    """Look something up among the names of each module, until the interpreter notes a version.

    It does that where code that reads globals has run twice. Set-up code runs once a worker.
    """
    spaces = {
        id(names): names
        for thing in gc.get_objects()
        if type(thing) in _SPACES and (names := _SPACES[type(thing)](thing))
    }
    for space in spaces.values():
        if "__name__" in space:
            # A copy of the code each: what it has learnt of one it would have to unlearn.
            look_up = FunctionType(_NAME.__code__.replace(), space)
            for _ in range(_ENOUGH):
                look_up()


def _NAME() -> str:
    return __name__


_SPACES: dict[type, Callable[[Any], dict[str, Any]]] = {
    FunctionType: lambda function: function.__globals__,
    ModuleType: lambda module: module.__dict__,
}
_ENOUGH = 10
"""Runs after which the interpreter has specialised a function."""


def _give_version(kind: type) -> None:
    """Look something up in a class: the first time the interpreter notes a version in it."""
    with contextlib.suppress(AttributeError):
        type.__getattribute__(kind, "_")
