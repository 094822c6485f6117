"""The pure parts of `floor`: reading modules out of memory, and what to propose."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from zygote.inspect import late
from zygote.inspect.floor import Blamed, by_package, modules_of
from zygote.inspect.late import UnreadableError
from zygote.inspect.memory import Memory
from zygote.inspect.propose import Cost, Proposal, order, propose

LETTERS = sys.getsizeof("") - 1


@pytest.fixture
def read() -> Iterator[late.Read]:
    with closing(Memory(os.getpid())) as memory:
        yield memory.slab


def names(read: late.Read, found: object) -> list[str]:
    return late.names(read, id(found), LETTERS)


def test_late_reads_the_modules_of_this_process(read: late.Read) -> None:
    assert names(read, sys.modules) == list(sys.modules)


@pytest.mark.parametrize("seed", range(4))
def test_late_reads_a_dict_after_any_changes(read: late.Read, seed: int) -> None:
    dice, table = random.Random(seed), dict[str, object]()
    for number in range(700):
        table[f"package{number}.{'m' * dice.randrange(90)}"] = number
        if dice.random() < 0.4:
            table.pop(dice.choice(list(table)))
    assert names(read, table) == list(table)


def test_late_reads_odd_dicts(read: late.Read) -> None:
    assert names(read, {}) == []
    assert names(read, {"é.ü": 1, "plain": 2})[1] == "plain"
    assert names(read, {"x" * 3000: 1}) == ["x" * 3000]


def test_late_does_not_believe_what_is_no_dict(read: late.Read) -> None:
    with pytest.raises(UnreadableError):
        late.names(read, 4096, LETTERS)
    with pytest.raises(UnreadableError):
        names(read, object())
    assert late.type_at(read, id({})) == id(dict) != late.type_at(read, id([]))


def test_late_added_is_what_came_after_the_fork_in_its_order() -> None:
    assert late.added(["a", "__main__", "c", "b"], ["a"]) == ["c", "b"]


def test_order_counts_a_module_for_all_who_have_it() -> None:
    # sys.modules has what was imported inside before the module itself.
    late_ones = {"one": ["heavy", "own_a"], "two": ["heavy", "decimal", "own_b"]}
    assert order(late_ones) == ["heavy", "own_a", "own_b", "decimal"]


def proposal(late_ones: dict[str, list[str]], costs: list[Cost], at_least: int = 2) -> Proposal:
    return propose(
        "floor", ("base",), late_ones, costs, workers=list(late_ones), unread={}, at_least=at_least
    )


def test_proposal_saves_all_copies_but_the_zygotes() -> None:
    found = proposal(
        {"one": ["heavy"], "two": ["heavy"], "three": ["heavy", "own"]},
        [Cost("heavy", 1000, 0.1, ("inner",)), Cost("own", 5000, 0.1)],
    )
    heavy, own = found.rows
    assert (heavy.workers_kib, heavy.saved_kib, heavy.modules) == (3000, 2000, 2)
    assert heavy.workers == ("one", "two", "three")
    assert (own.workers_kib, own.saved_kib, own.proposed) == (5000, 0, False)
    assert found.added == ("heavy",) and found.saved_kib == 2000
    assert found.line() == 'preload = ["base", "heavy"]'


def test_proposal_leaves_out_what_a_bake_would_refuse_and_trifles() -> None:
    both = {"one": ["threads", "small"], "two": ["threads", "small"]}
    found = proposal(both, [Cost("threads", 900, 0, refused="a thread"), Cost("small", 4, 0)])
    assert found.added == () and found.saved_kib == 0


def test_proposal_names_no_package_beside_its_module() -> None:
    late_ones = {name: ["a.b", "a", "ab"] for name in ("one", "two")}
    found = proposal(late_ones, [Cost("a", 100, 0), Cost("a.b", 900, 0), Cost("ab", 100, 0)])
    assert found.added == ("a.b", "ab") and found.saved_kib == 1100


def test_proposal_counts_the_search_of_workers_that_then_import_nothing() -> None:
    late_ones = {"one": ["a", "b"], "two": ["a", "own"], "three": ["a"], "four": []}
    costs = [Cost("a", 1000, 0, ("b",)), Cost("own", 900, 0)]
    found = propose("floor", (), late_ones, costs, workers=(), unread={}, search_kib=50)
    assert found.added == ("a",) and found.silent == ("one", "three")
    assert found.saved_kib == 2 * 1000 + 2 * 50


def test_proposal_at_least_one_worker_names_what_moves_into_the_zygote() -> None:
    found = proposal({"one": ["own"]}, [Cost("own", 5000, 0.1)], at_least=1)
    assert found.added == ("own",) and found.saved_kib == 0


def test_blame_by_package_sums_own_figures() -> None:
    blamed = [Blamed("a", "", 30, 10, 3.0, 1.0), Blamed("a.b", "a", 20, 20, 2.0, 2.0),
              Blamed("c", "a.b", 50, 50, 0.5, 0.5)]  # fmt: skip
    packages = by_package(blamed)
    assert [(p.module, p.own_kib, p.own_s) for p in packages] == [("c", 50, 0.5), ("a", 30, 3.0)]


def test_layer_of_several_modules() -> None:
    assert modules_of("a, b,c.d") == ["a", "b", "c.d"] and modules_of(",") == []
