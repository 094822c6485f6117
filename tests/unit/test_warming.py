"""Warm-ups that say which part of the fleet runs what, and the order that comes of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import FunctionType

import pytest

from zygote.bake.relocate import in_order
from zygote.forkserver.rehearse import trace
from zygote.warming import aside, part

needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="code that runs can be watched from Python 3.12"
)


def make(*names: str) -> dict[str, FunctionType]:
    scope: dict[str, FunctionType] = {}
    exec(
        "".join(f"def {name}(*inner):\n    return [f() for f in inner]\n" for name in names), scope
    )
    return {name: scope[name] for name in names}


def seen(parts: list[dict[int, None]], of: dict[str, FunctionType]) -> list[list[str]]:
    names = {id(function.__code__): name for name, function in of.items()}
    return [[names[one] for one in found if one in names] for found in parts]


@needs_monitoring
def test_trace_tells_what_comes_before_the_parts_from_what_each_runs() -> None:
    of = make("first", "shared", "red", "blue")

    def work() -> None:
        of["first"]()
        for name in ("red", "blue", "red"):
            part(name)
            of[name](of["shared"])

    assert seen(trace(work), of)[:-1] == [["first"], ["red", "shared"], ["blue", "shared"]]


@needs_monitoring
def test_trace_leaves_out_what_runs_aside_in_its_tasks_too() -> None:
    of = make("server", "client", "both")

    async def serve(ready: asyncio.Event) -> None:
        await ready.wait()
        of["server"](of["both"])

    async def visit(ready: asyncio.Event) -> None:
        of["client"](of["both"])
        asyncio.get_running_loop().call_soon(of["client"])
        ready.set()
        await asyncio.sleep(0)

    async def play() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(serve(ready))
        with aside():
            await asyncio.create_task(visit(ready))
        await serving

    assert seen(trace(lambda: asyncio.run(play())), of)[0] == ["server", "both"]


@needs_monitoring
def test_trace_gives_last_what_is_named_in_the_clone_afterwards() -> None:
    done: list[int] = []
    work: Callable[[], None] = lambda: done.append(7)  # noqa: E731
    assert [*trace(work, lambda: done)[-1]] == [7]
    assert done == [], "the clone's, and not ours"


def test_what_all_run_comes_first_and_what_one_part_runs_last() -> None:
    common, red, blue = {1: None, 2: None}, {3: None, 1: None, 4: None}, {5: None, 4: None}
    assert in_order([common, red, blue]) == [[1, 2], [4], [3], [5]]
    assert in_order([common]) == [[1, 2]]


def test_a_part_is_nothing_where_nobody_watches() -> None:
    part("nobody")
