"""Counts that no object holds: shared attribute names, and what code objects keep."""

from __future__ import annotations

import ctypes
import dis
import gc
import opcode
import sys
from typing import Any

import pytest

from zygote.bake.hidden import Hidden

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="no immortal counts before Python 3.12"
)


class Thing:
    def __init__(self) -> None:
        self.one = self.two = 1


def count(kind: type) -> int:
    keys = ctypes.c_uint64.from_address(id(kind) + Hidden().keys).value
    return ctypes.c_uint64.from_address(keys).value


def test_names_that_instances_share_are_counted_no_more() -> None:
    kept = [Thing() for _ in range(3)]
    dicts = [vars(thing) for thing in kept]
    before = count(Thing)
    more = vars(Thing())
    assert count(Thing) != before or sys.version_info >= (
        3,
        13,
    )  # with values inline: not until then
    Hidden().keep_keys(Thing)
    fixed = count(Thing)
    many = [vars(Thing()) for _ in range(1000)]
    assert count(Thing) == fixed
    del many, more, dicts, kept
    gc.collect()
    assert count(Thing) == fixed
    assert vars(Thing()) == {"one": 1, "two": 1}


def test_instances_live_and_die_as_before() -> None:
    Hidden().keep_keys(Thing)
    thing = Thing()
    thing.three = 3  # type: ignore[attr-defined]
    copied = vars(thing).copy()
    del thing.one
    assert vars(thing) == {"two": 1, "three": 3}
    assert copied == {"one": 1, "two": 1, "three": 3}
    copied["four"] = 4
    assert "four" not in vars(Thing())


def test_copies_of_an_instances_dict_are_freed() -> None:
    Hidden().keep_keys(Thing)

    def blocks() -> int:
        for _ in range(2000):
            vars(Thing()).copy()
        return sys.getallocatedblocks()

    blocks()
    assert blocks() - blocks() < 100


def test_builtin_classes_are_left_alone() -> None:
    Hidden().keep_keys(int)
    Hidden().keep_keys(type)


def test_what_code_was_asked_for_is_found() -> None:
    code = compile("lambda a, b: (a, b)", "x", "eval").co_consts[0]
    assert list(Hidden().asked_of(code)) == []
    names = code.co_varnames
    assert any(thing is names for thing in Hidden().asked_of(code))


@pytest.mark.skipif(
    "LOAD_CONST_MORTAL" not in getattr(opcode, "_specialized_opmap", {}),
    reason="no instruction of this Python counts a constant without a look at its count",
)
def test_constants_of_warm_code_are_counted_no_more() -> None:
    scope: dict[str, Any] = {}
    exec("def constant(n):\n    return (n, 2.5) if n else (n, 'a b')\n", scope)
    function = scope["constant"]
    for _ in range(100):
        function(0), function(1)

    def counting() -> list[str]:
        return [
            i.opname for i in dis.get_instructions(function, adaptive=True) if "_MORTAL" in i.opname
        ]

    assert counting()
    Hidden().keep_constants(function.__code__)
    assert not counting()
    assert function(1) == (1, 2.5)
    assert function(0) == (0, "a b")


def test_constants_of_code_that_is_watched_are_left_alone() -> None:
    scope: dict[str, Any] = {}
    exec("def constant():\n    return 2.5\n", scope)
    function = scope["constant"]
    for _ in range(100):
        function()
    seen: list[str] = []
    before = sys.gettrace()
    sys.settrace(lambda frame, event, _: seen.append(event))
    try:
        function()
        Hidden().keep_constants(function.__code__)
        assert function() == 2.5
    finally:
        sys.settrace(before)
    assert "call" in seen
    assert function() == 2.5
