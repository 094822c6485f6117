"""The arrangements of zygotes that benchmarks/tree.py compares are what it says they are."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from benchmarks import tree
from decnet.workers import WORKERS


def arranged(mode: str) -> dict[str, Any]:
    return tomllib.loads(tree.fleet_file(mode))


def test_tree_is_the_fleet_as_shipped_without_decoys() -> None:
    shipped, found = tomllib.loads(tree.FLEET.read_text()), arranged("tree")
    assert list(found["worker"]) == [name for name in shipped["worker"] if name in WORKERS]
    assert found["zygote"] == {n: shipped["zygote"][n] for n in ("floor", "packet")}
    assert found["zygote"]["packet"]["parent"] == "floor"
    assert found["defaults"] == shipped["defaults"]


def test_flat_differs_by_the_parent_alone() -> None:
    found, shipped = arranged("flat"), arranged("tree")
    del shipped["zygote"]["packet"]["parent"]
    assert found == shipped


def test_one_zygote_imports_and_warms_for_all() -> None:
    found = arranged("one")
    assert set(found["zygote"]) == {"floor"}
    assert set(found["zygote"]["floor"]["preload"]) == {"decnet.floor", tree.PRELOAD}
    assert len(found["zygote"]["floor"]["warm"]) == 2
    assert set(found["worker"]) == set(WORKERS)
    assert not [name for name, worker in found["worker"].items() if "zygote" in worker]


def test_cold_leaves_out_what_is_started_beside_it() -> None:
    found = arranged("cold")
    assert set(found["zygote"]) == {"floor"}
    assert set(found["worker"]) == set(WORKERS) - set(tree.PACKET)


def test_fleet_file_that_has_changed_is_an_error() -> None:
    parts = {tree.BRANCH: "[zygote.packet]\n"}
    with pytest.raises(ValueError, match="parent"):
        tree.flat(parts)


def test_median_round_is_told_with_all_wholes() -> None:
    rounds = [{"whole_mb": whole, "number": n} for n, whole in enumerate((3.0, 1.0, 2.0))]
    assert tree.median(rounds) == {"whole_mb": 2.0, "number": 2, "wholes_mb": [3.0, 1.0, 2.0]}
