"""Moving code objects: they lie where they were put, and run as before."""

from __future__ import annotations

import asyncio
import sys
import traceback
import weakref
from types import CodeType, FunctionType, SimpleNamespace

import pytest

from zygote.bake import code

_kept: list[object] = []
SOURCE = '''
def outer(n):
    """Doc."""
    def inner(k):
        return k * n
    return [inner(k) for k in range(n)]

def count(n):
    for k in range(n):
        yield k

async def wait(n):
    await sleep(0)
    return n

class Thing:
    @property
    def size(self):
        return len(self.names)

def fails(n):
    raise ValueError(n)
'''


def layout() -> code.Layout:
    found = code.layout()
    assert isinstance(found, code.Layout), found
    return found


def functions() -> dict[str, FunctionType]:
    scope: dict[str, object] = {"sleep": asyncio.sleep}
    exec(compile(SOURCE, "moved.py", "exec"), scope)
    found = {name: one for name, one in scope.items() if type(one) is FunctionType}
    return {**found, "size": scope["Thing"].size.fget}  # type: ignore[attr-defined]


def move(some: dict[str, FunctionType]) -> dict[int, int]:
    codes = [one.__code__ for one in some.values()]
    codes += [c for one in list(codes) for c in one.co_consts if type(c) is CodeType]
    moved = code.copy(codes)
    _kept.append(codes)
    assert code.repoint(layout(), moved, some.values(), codes) == len(some)
    return moved


def test_moved_functions_run_as_before() -> None:
    some = functions()
    for _ in range(40):  # what is specialised moves with it
        some["outer"](3), list(some["count"](3)), asyncio.run(some["wait"](1))
    originals = {name: one.__code__ for name, one in some.items()}
    waiting = some["count"](5)
    assert next(waiting) == 0
    move(some)
    assert some["outer"](4) == [0, 4, 8, 12]
    assert list(some["count"](3)) == [0, 1, 2]
    assert list(waiting) == [1, 2, 3, 4]
    assert asyncio.run(some["wait"](7)) == 7
    assert {name: one.__code__ for name, one in some.items()} == originals
    assert all(some[name].__code__ is not one for name, one in originals.items())
    with pytest.raises(ValueError) as caught:
        some["fails"](3)
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (frame.filename, frame.name, frame.lineno) == ("moved.py", "fails", 22)


def test_moved_code_lies_together_in_the_given_order() -> None:
    moved = move(functions())
    places = list(moved.values())
    assert places == sorted(places)
    assert places[-1] - places[0] < 16 * 1024


def test_inner_functions_are_made_from_the_copies() -> None:
    some = functions()
    moved = move(some)
    inner = [c for c in some["outer"].__code__.co_consts if type(c) is CodeType]
    assert inner
    assert all(id(c) in moved.values() for c in inner)


def test_moved_code_survives_its_function() -> None:
    some = functions()
    move(some)
    copy = some["outer"].__code__
    del some
    assert FunctionType(copy, {"range": range})(2) == [0, 2]


def test_code_that_is_weakly_referenced_stays() -> None:
    one = functions()["outer"].__code__
    assert code.movable(one)
    ref = weakref.ref(one)
    assert not code.movable(one)
    del ref


def test_a_block_is_as_large_as_the_interpreter_says() -> None:
    one = functions()["outer"].__code__
    assert abs(code.size(one) - one.__sizeof__()) <= 64


@pytest.mark.skipif(sys.version_info < (3, 13), reason="which code is only read is known from 3.13")
def test_notes_are_those_of_code_that_is_only_read() -> None:
    some = functions()
    size, waits = some["size"], some["count"]
    assert code.notes(size.__code__) is None, "it never ran, so it has everything to learn"
    thing = type("Thing", (), {"names": "ab"})()
    for _ in range(100):
        size(thing)
        list(waits(3))
    before = code.notes(size.__code__)
    assert before is not None
    size(thing)
    assert code.notes(size.__code__) == before, "what it has learnt fits"
    size(type("Other", (), {"names": "abc"})())
    assert code.notes(size.__code__) not in (before, None), "another type: it counts down"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="which code is only read is known from 3.13")
def test_a_branch_is_written_whenever_it_is_taken() -> None:
    scope: dict[str, FunctionType] = {}
    exec("def sign(n):\n    return 1 if n > 0 else -1\n", scope)
    for _ in range(100):
        scope["sign"](3)
    assert code.notes(scope["sign"].__code__) is None


@pytest.mark.parametrize("on", [True, False])
def test_code_is_not_moved_where_it_is_compiled(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    """Machine code and the code object that it was made of know each other's places."""
    jit = SimpleNamespace(is_enabled=lambda: on)
    monkeypatch.setattr(sys, "_jit", jit, raising=False)
    assert isinstance(code.layout(), str) == on
    assert not on or "compiler" in str(code.layout())
