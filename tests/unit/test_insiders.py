"""Whose process a caller is, and what that one may ask for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.specs import worker_spec
from zygote.errors import ZygoteError
from zygote.manager.insiders import NOBODYS, Insiders, check
from zygote.manager.peers import Peer

ALL = ("all", "")


@pytest.fixture
def child() -> Iterator[int]:
    """A process whose parent is this one: as a manager's."""
    code = "import sys; sys.stdin.read()"
    made = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        yield made.pid
    finally:
        made.communicate()


def insiders(owned: dict[int, tuple[str, str]], **recorded: int) -> Insiders:
    """Workers a (all), r (read), n (none); `owned`: pid -> kind and name."""

    def owner(pid: int) -> Any:
        return SimpleNamespace(kind=owned[pid][0], name=owned[pid][1]) if pid in owned else None

    specs = [worker_spec(n, control=c) for n, c in (("a", "all"), ("r", "read"), ("n", "none"))]
    children: Any = SimpleNamespace(owner=owner)
    return Insiders(children, lambda: specs, lambda: recorded, lambda name: recorded[name])


def limit_of(pid: int, owned: dict[int, tuple[str, str]], **recorded: int) -> tuple[str, str]:
    return insiders(owned, **recorded).limit(Peer(pid, 0, frozenset()))


def test_insiders_are_told_by_their_process(child: int) -> None:
    for name, access in (("a", "all"), ("r", "read"), ("n", "none")):
        assert limit_of(child, {child: ("worker", name)}) == (access, name)
    assert limit_of(child, {child: ("run", "n")}) == ("all", "n"), "a program of an operator's"
    assert limit_of(0, {}) == ALL
    assert limit_of(os.getppid(), {}) == ALL, "nobody of ours is above it"
    assert limit_of(child, {}) == NOBODYS, "ours, and nobody knows whose"
    assert limit_of(2**22 - 3, {}) == NOBODYS, "it is gone"


def test_insiders_before_the_zygote_has_told_of_them(child: int) -> None:
    assert limit_of(child, {}, a=child) == ("all", "a")
    assert limit_of(child, {}, n=child) == ("none", "n")
    assert limit_of(child, {}, a=0, n=0) == NOBODYS


def test_insiders_nobody_is_kept_out_nobody_is_looked_up() -> None:
    free = Insiders(SimpleNamespace(), lambda: [worker_spec("a")], list, lambda _: 0)  # type: ignore[arg-type]
    assert free.limit(Peer(os.getpid(), 0, frozenset())) == ALL


@pytest.mark.parametrize(
    ("access", "method", "passes"),
    [
        ("all", "Stop", True), ("read", "List", True), ("read", "Stop", False),
        ("none", "List", False),
    ],
)  # fmt: skip
def test_insiders_may_call_what_their_worker_may(access: str, method: str, passes: bool) -> None:
    if passes:
        check((access, "w"), method)
        return
    with pytest.raises(ZygoteError, match=f"worker 'w' may not call {method}") as raised:
        check((access, "w"), method)
    assert raised.value.code == "not-allowed"
