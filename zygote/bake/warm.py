"""Run the hot paths once, before anybody shares them.

Code that never ran still has state to come: caches to fill, lazy attributes, bytecode that the
interpreter specialises on its first runs. Each worker would write all that into pages of its own.
Run here, it is written once.

First come the paths that every worker takes whatever it runs (`own`), then the fleet's `warm`
functions: `module:function`, called without arguments, sync or async. An async one gets a loop of
its own, which is closed; afterwards the thread has no loop and none was ever set, as at the start
of a program.

The collector runs beside the fleet's functions, and only there. Garbage in cycles would else pile
up until `collect`, and the little that outlives it would hold on to pages all over the pile: 9 MB
of a zygote whose warm-up left 45,000 objects of it. Imports are over, so no order of theirs is
lost.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from zygote.bake.stage import Bake
from zygote.bake.usercode import UserCodeError, text_of

_ROUNDS = 30
"""More runs than the interpreter needs to specialise a function's bytecode (8 to 16)."""


def run(bake: Bake) -> str:
    """All warm-ups of the zygote.

    Raises:
        UserCodeError: "warm-missing" (no such module or function), "warm-raised".
    """
    own(bake)
    if not bake.spec.warm:
        return "own paths only"
    with _collecting():
        fleet(bake)
    if tempfile := sys.modules.get("tempfile"):
        tempfile.tempdir = None  # type: ignore[attr-defined]  # each worker asks for itself
    return f"{len(bake.spec.warm)} functions of the fleet"


def fleet(bake: Bake) -> None:
    """Call the fleet's warm-up functions."""
    for entry in bake.spec.warm:
        bake.tell("warm", entry)
        with bake.ledger.during(entry):
            _call(bake, entry)


def own(bake: Bake, rounds: int = _ROUNDS) -> None:
    """Warm up what any worker does: its set-up, and an event loop run and closed."""
    import asyncio  # late: after the floor has been asked for, and it brings ssl

    for _ in range(rounds):
        with _no_loop_stays():
            asyncio.run(asyncio.sleep(1e-9))
        bake.own()
        asyncio.iscoroutine(own)  # a loop asks it of each signal handler, and remembers the type


def _call(bake: Bake, entry: str) -> None:
    import asyncio  # late: see above

    function = _find(bake, entry)
    try:
        with _no_loop_stays():
            result = function()
            if asyncio.iscoroutine(result):
                asyncio.run(result)
    except BaseException as error:
        raise UserCodeError(
            f"cannot bake zygote '{bake.spec.name}': {entry} raised {type(error).__name__}: "
            f"{error}".rstrip(": "),
            text_of(error, __file__),
            code="warm-raised",
            step="warm",
            place=bake.spec.place,
            hint=f"correct it, or take it out of `warm` of [zygote.{bake.spec.name}]",
        ) from error


def _find(bake: Bake, entry: str) -> Callable[[], Any]:
    module_name, _, path = entry.partition(":")
    trace = ""
    try:
        found: Any = import_module(module_name)
        for name in path.split("."):
            found = getattr(found, name)
        if callable(found):
            return found  # type: ignore[no-any-return]
        fault = "it is not callable"
    except BaseException as error:
        fault, trace = f"{type(error).__name__}: {error}", text_of(error, __file__)
    raise UserCodeError(
        f"cannot bake zygote '{bake.spec.name}': no function {entry} to warm up: {fault}",
        trace,
        code="warm-missing",
        step="warm",
        place=bake.spec.place,
        hint=f'`warm` of [zygote.{bake.spec.name}] names functions as "module:function"',
    )


@contextmanager
def _collecting() -> Iterator[None]:
    """Collect what the imports left, then let the collector run; off again afterwards."""
    gc.collect()
    gc.enable()
    try:
        yield
    finally:
        gc.disable()


@contextmanager
def _no_loop_stays() -> Iterator[None]:
    """Undo what asyncio.run leaves: a policy that remembers that a loop was set once.

    Where it stays, `asyncio.get_event_loop()` in a worker's main thread raises, while at the
    start of a program it makes a loop (with a warning, up to Python 3.13).
    """
    events = sys.modules["asyncio.events"]
    before = getattr(events, "_event_loop_policy", None)
    try:
        yield
    finally:
        if before is None:
            events._event_loop_policy = None  # type: ignore[attr-defined]
        elif hasattr(before, "_local"):
            before._local = type(before._local)()
