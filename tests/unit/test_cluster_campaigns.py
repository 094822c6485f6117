"""Campaigns' weights at the boundary, and the blocks against every pair."""

from __future__ import annotations

import json
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.cluster.campaigns import (
    HANDOFF_SECONDS,
    MOST,
    THRESHOLD,
    Node,
    Stay,
    confidence,
    keys_of,
    partition,
    weigh,
)

DAY = 86_400.0
PHASE_SETS = st.frozensets(
    st.sampled_from(["command_and_control", "persistence", "discovery", "lateral_movement"]),
    max_size=2,
)
TIMES = st.integers(0, 8).map(lambda n: n * DAY / 3)
STAYS = st.builds(
    lambda decky, one, a, other, b: Stay(decky, min(one, other), a, max(one, other), b),
    *(st.sampled_from(["d1", "d2"]), TIMES, PHASE_SETS, TIMES, PHASE_SETS),
)
NODES = st.builds(
    lambda one, other, infra, asns, tools, simhash, stays: Node(
        *("", min(one, other), max(one, other), infra, asns, tools, frozenset(), simhash),
        tuple({stay.decky: stay for stay in stays}.values()),
    ),
    *(TIMES, TIMES),
    st.frozensets(st.sampled_from(["c2:1", "c2:2", "payload:3"]), max_size=2),
    st.frozensets(st.sampled_from([1, 2]), max_size=1),
    st.frozensets(st.sampled_from("tu"), max_size=1),
    st.sampled_from([0, 7 << 32 | 9, 7 << 32 | 8, 3 << 32 | 9, 0xFF << 32 | 0xFF00]),
    st.lists(STAYS, max_size=2),
)


def named(nodes: list[Node]) -> list[Node]:
    return [Node(**{**vars(node), "uuid": f"n{at:02}"}) for at, node in enumerate(nodes)]


def naive(nodes: list[Node], common: set[str]) -> set[frozenset[str]]:
    groups = {node.uuid: frozenset({node.uuid}) for node in nodes}
    for one, other in combinations(nodes, 2):
        if weigh(one, other, common) >= THRESHOLD:
            both = groups[one.uuid] | groups[other.uuid]
            groups |= dict.fromkeys(both, both)
    return set(groups.values())


@given(st.lists(NODES, max_size=8), st.booleans(), st.integers(0, 9))
def test_campaigns_partition_is_that_of_all_pairs(
    people: list[Node], has_common: bool, choice: int
) -> None:
    nodes = named(people)
    keys = sorted({key for node in nodes for key in keys_of(node)})
    common = {keys[choice % len(keys)]} if keys and has_common else set()
    assert set(partition(nodes, common)) == naive(nodes, common)


@given(NODES)
def test_campaigns_records_survive_the_database(node: Node) -> None:
    again = Node.from_json("x", json.loads(json.dumps(node.as_json())))
    assert again.as_json() == node.as_json()
    assert keys_of(again) == keys_of(node)


def stay(began: float, begins: str, ended: float, ends: str, decky: str = "d") -> Stay:
    return Stay(decky, began, frozenset({begins}), ended, frozenset({ends}))


def test_campaigns_handoff_within_a_day_on_one_host() -> None:
    leaves = Node("a", stays=(stay(0, "delivery", 100, "command_and_control"),), first=0, last=1)
    for after, decky, weight in (
        (0.0, "d", 1.0),
        (HANDOFF_SECONDS, "d", 1.0),
        (HANDOFF_SECONDS + 1, "d", 0.0),
        (-1.0, "d", 0.0),
        (10.0, "other", 0.0),
    ):
        begins = 100 + after
        comes = Node(
            "b",
            stays=(stay(begins, "discovery", begins + 1, "impact", decky),),
            first=9e9,
            last=9.1e9,
        )
        assert weigh(leaves, comes) == weigh(comes, leaves) == weight, (after, decky)


def test_campaigns_weights_add_up_at_the_threshold() -> None:
    def of(**given: object) -> Node:
        return Node(**{"uuid": "x", "first": 0.0, "last": 10.0, **given})  # type: ignore[arg-type]

    apart = {"first": 20.0, "last": 30.0}
    rhythm = 0xABCD << 32 | 0x1234
    assert weigh(of(simhash=rhythm), of(simhash=rhythm)) == 1.0, "0.6 + 0.4 is an edge"
    assert weigh(of(simhash=rhythm), of(simhash=rhythm ^ 1)) == pytest.approx(0.925)
    assert weigh(of(simhash=rhythm), of(simhash=rhythm, **apart)) == 0.6
    assert weigh(of(simhash=rhythm), of(simhash=rhythm ^ 0xFF, **apart)) == 0
    assert weigh(of(), of()) == 0.4
    shared = frozenset({"c2:1", "c2:2"})
    assert weigh(of(infra=shared), of(infra=shared, **apart)) == 1.0
    assert weigh(of(infra=shared), of(infra=frozenset({"c2:1"}), **apart)) == 0.5
    assert weigh(of(infra=shared), of(infra=shared, **apart), {"c2:1", "c2:2"}) == 0
    crowd = {"asns": frozenset({1}), "tools": frozenset("t"), "deckies": frozenset("d")}
    assert weigh(of(**crowd), of(**crowd, **apart)) == pytest.approx(0.1)
    near = of(simhash=rhythm, **crowd)
    assert weigh(near, of(simhash=rhythm ^ 1, **crowd)) >= THRESHOLD, "one bit, and all the rest"
    assert weigh(near, of(simhash=rhythm ^ 3, **crowd)) < THRESHOLD


def test_campaigns_confidence_is_a_share_of_the_most_possible() -> None:
    one = Node("a", infra=frozenset({"c2:1"}), first=0, last=1)
    other = Node("b", infra=frozenset({"c2:1"}), first=5, last=6)
    assert confidence([one, other]) == round(1 / MOST, 3)
    assert confidence([one]) == 0
