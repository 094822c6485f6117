"""benchmarks/chaos.py: the plan depends on the seed alone, and has a bit of everything."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.support.chaos_blows import FAULTS, SHARES, plan, text

NAMES = {
    "manager": ["manager"],
    "zygote": ["zygote.a", "zygote.b"],
    "bus": ["bus"],
    "worker": [f"w{n}" for n in range(17)],
    "decoy": [f"d{n}" for n in range(26)],
}
KIND = {name: kind for kind, names in NAMES.items() for name in names}


def test_plan_of_a_seed_is_always_the_same() -> None:
    assert plan(7, 100, NAMES, FAULTS) == plan(7, 100, NAMES, FAULTS)
    assert plan(7, 100, NAMES, FAULTS) != plan(8, 100, NAMES, FAULTS)


@pytest.mark.parametrize("kills", [5, 40, 1000])
def test_plan_has_so_many_kills_and_each_kind_of_target(kills: int) -> None:
    dealt = Counter(
        KIND[name] for b in plan(1, kills, NAMES, ()) if b.what == "kill" for name in b.victims
    )
    assert dealt.total() == kills
    assert set(dealt) == set(SHARES)


def test_plan_has_every_fault_between_the_kills() -> None:
    blows = plan(1, 300, NAMES, FAULTS)
    assert {b.what for b in blows} == {"kill", *FAULTS}
    assert any(len(b.victims) > 1 for b in blows), "and pairs"
    assert all(text(b) for b in blows)
