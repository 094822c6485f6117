"""Layout twins, as `ps` and `status` tell of them."""

from __future__ import annotations

from zygote.cli import layouts
from zygote.control.interface import WorkerState

FLEET = [
    WorkerState("a", "ready", 1, layout="floor.1"),
    WorkerState("b", "ready", 2, layout="floor.1"),
    WorkerState("c", "ready", 3, layout="floor:web.1"),
    WorkerState("d", "ready", 4, isolation="exec"),
    WorkerState("e", "inactive"),
]


def test_twins_are_those_with_one_layout() -> None:
    assert layouts.twins(FLEET) == {"floor.1": ["a", "b"]}
    assert layouts.lines(FLEET) == "floor.1: a, b"


def test_cell_names_the_layout_or_says_own() -> None:
    cells = [layouts.cell(worker) for worker in FLEET]
    assert cells == ["floor.1", "floor.1", "floor:web.1", "own", ""]
    assert layouts.cell(None) == ""


def test_worker_is_told_with_whom_it_shares() -> None:
    told = [layouts.of_worker(worker, FLEET) for worker in FLEET]
    assert told == ["floor.1, as b", "floor.1, as a", "floor:web.1, no other's", "its own", ""]


def test_many_twins_are_counted() -> None:
    many = [WorkerState(f"w{number}", "ready", number, layout="x.1") for number in range(20)]
    assert layouts.lines(many).endswith("and 14 more")
