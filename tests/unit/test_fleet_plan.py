"""Start order: needs first, cycles found, everything else as in the file."""

from __future__ import annotations

import graphlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.fleet.plan import start_order

NAMES = st.sampled_from("abcdefgh")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=3), max_size=8)


@pytest.mark.parametrize(
    ("after", "order"),
    [
        ({}, ""),
        ({"b": [], "a": []}, "ba"),
        ({"b": ["a"], "a": []}, "ab"),
        ({"a": ["d"], "b": [], "c": ["b"], "d": []}, "bcda"),
        ({"a": ["b", "c", "b"], "b": ["c"], "c": []}, "cba"),
        ({"a": ["unknown"]}, "a"),
    ],
)
def test_plan_order(after: dict[str, list[str]], order: str) -> None:
    assert start_order(after) == (list(order), [])


@pytest.mark.parametrize(
    ("after", "cycles"),
    [
        ({"a": ["a"]}, ["aa"]),
        ({"b": ["a"], "a": ["b"]}, ["bab"]),
        ({"x": ["b"], "a": ["c"], "b": ["a"], "c": ["b"], "y": []}, ["acba"]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, ["aba", "cdc"]),
    ],
)
def test_plan_cycles_with_the_way_around(after: dict[str, list[str]], cycles: list[str]) -> None:
    _, found = start_order(after)
    assert ["".join(cycle) for cycle in found] == cycles


def test_plan_long_chain_needs_no_stack() -> None:
    after = {str(n): [str(n + 1)] for n in range(20_000)}
    order, cycles = start_order(after)
    assert order == [str(n) for n in reversed(range(20_000))]
    assert not cycles


@given(GRAPHS)
def test_plan_agrees_with_graphlib(after: dict[str, list[str]]) -> None:
    order, cycles = start_order(after)
    graph = {name: {need for need in needs if need in after} for name, needs in after.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        assert cycles
    else:
        assert not cycles
        assert sorted(order) == sorted(after)
    place = {name: number for number, name in enumerate(order)}
    for name in order:
        assert all(place[need] < place[name] for need in graph[name])
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(need in graph[name] for name, need in itertools.pairwise(cycle))
