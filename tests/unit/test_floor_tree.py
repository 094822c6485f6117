"""The planner of `floor --from-running --tree`: pure, so held to what a plan must be."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from zygote.inspect import grow
from zygote.inspect.propose import Cost, Proposal, propose
from zygote.inspect.tree import Group, Plan, Workers, choose, frontier

NAMES = ("a", "b", "c", "d")
ALL = frozenset(NAMES)
PTE = 512


def group(kib: int, users: str, module: str = "") -> Group:
    return Group((module or f"m_{users}_{kib}",), frozenset(users), kib)


@st.composite
def fleets(draw: st.DrawFn, most: int = 3) -> tuple[list[Group], int]:
    users = st.frozensets(st.sampled_from(NAMES), min_size=1)
    sets = draw(st.lists(users, max_size=most, unique=True))
    sizes = [draw(st.integers(64, 50_000)) for _ in sets]
    groups = [
        Group((f"module{number}",), users, kib)
        for number, (users, kib) in enumerate(zip(sets, sizes, strict=True))
    ]
    return groups, draw(st.integers(0, 20_000))


def cost_of(plan: Plan, groups: list[Group], branch_kib: int) -> int:
    """KiB that a plan takes, from what its nodes say and nothing else."""
    total = branch_kib * (len(plan.nodes) - 1)
    for each in groups:
        homes = [node for node in plan.nodes if each in node.groups]
        served = frozenset[str]().union(*(node.workers for node in homes))
        total += each.kib * len(homes) + each.kib * len(each.users - served)
        total += sum(len(node.workers - each.users) * each.kib // PTE for node in homes)
    return total


@settings(deadline=None, max_examples=60)
@given(fleets())
def test_every_plan_is_a_tree_and_its_figures_are_true(fleet: tuple[list[Group], int]) -> None:
    groups, branch_kib = fleet
    plans = frontier(ALL, groups, branch_kib)
    alone = sum(each.kib * len(each.users) for each in groups)
    for plan in plans:
        root, *branches = plan.nodes
        assert root.workers == ALL and root.parent == -1
        for index, node in enumerate(branches, 1):
            assert 0 <= node.parent < index
            assert node.workers < plan.nodes[node.parent].workers
        for one, two in combinations(branches, 2):
            assert one.workers <= two.workers or two.workers <= one.workers or not (
                one.workers & two.workers
            )  # fmt: skip
        exposure = sum(
            each.kib * len(node.workers - each.users) for node in plan.nodes for each in node.groups
        )
        assert plan.exposure_kib == exposure
        assert plan.saved_kib == alone - cost_of(plan, groups, branch_kib)
    assert plans[0].exposure_kib == 0, "nobody need have what it does not use"
    for less, more in pairwise(plans):
        assert less.exposure_kib < more.exposure_kib and less.saved_kib < more.saved_kib


def trees() -> Iterator[tuple[Workers, ...]]:
    sets = [frozenset(c) for size in (2, 3) for c in combinations(NAMES, size)]
    for size in range(3):
        for family in combinations(sets, size):
            if all(x <= y or y <= x or not x & y for x, y in combinations(family, 2)):
                yield family


def least_without_exposure(groups: list[Group], branch_kib: int) -> int:
    """By trying: all trees of up to two branches, each group wherever only its users are."""
    best = sum(each.kib * len(each.users) for each in groups)
    for family in trees():
        total = branch_kib * len(family)
        for each in groups:
            homes = [node for node in (ALL, *family) if node <= each.users]
            top = [node for node in homes if not any(node < other for other in homes)]
            options = [0]  # by size of the set of homes, which are apart
            options += [
                sum(len(node) - 1 for node in some)
                for size in range(1, len(top) + 1)
                for some in combinations(top, size)
            ]
            total += each.kib * (len(each.users) - max(options))
        best = min(best, total)
    return best


@settings(deadline=None, max_examples=60)
@given(fleets(most=2))  # with more groups not all sets are candidates
def test_no_tree_that_exposes_nothing_takes_less(fleet: tuple[list[Group], int]) -> None:
    groups, branch_kib = fleet
    first = frontier(ALL, groups, branch_kib)[0]
    assert cost_of(first, groups, branch_kib) <= least_without_exposure(groups, branch_kib)


def test_what_all_have_goes_into_the_root_and_a_pair_gets_a_branch() -> None:
    everybody, pair, one = group(5000, "abcd"), group(9000, "ab"), group(9000, "c")
    (plan, *_) = frontier(ALL, [everybody, pair, one], 1000)
    root, branch = plan.nodes
    assert root.groups == (everybody,)
    assert (branch.groups, branch.workers) == ((pair,), frozenset("ab"))
    assert branch.saved_kib == 9000 - 1000
    assert plan.saved_kib == 3 * 5000 + 9000 - 1000


def test_branch_that_costs_more_than_it_saves_is_not_made() -> None:
    (plan, *_) = frontier(ALL, [group(900, "ab")], 1000)
    assert len(plan.nodes) == 1 and plan.saved_kib == 0


def test_branches_are_nested_where_that_saves() -> None:
    outer, inner = group(20_000, "abc"), group(20_000, "ab")
    (plan, *_) = frontier(ALL, [outer, inner], 1000)
    assert [(node.parent, node.workers) for node in plan.nodes] == [
        (-1, ALL), (0, frozenset("abc")), (1, frozenset("ab")),
    ]  # fmt: skip


def test_tight_budget_puts_into_the_root_what_only_some_use() -> None:
    plans = frontier(ALL, [group(9000, "ab"), group(8000, "cd")], 3000)
    roomy = choose([plans], plans[0].saved_kib)[0]
    tight = choose([plans], plans[-1].saved_kib)[0]
    assert roomy.exposure_kib == 0 < tight.exposure_kib
    assert len(roomy.nodes) == 3 and len(tight.nodes) == 1
    assert choose([plans], 10**9) == [plans[-1]], "the most that can be had"


def test_budget_is_met_where_exposure_saves_most() -> None:
    cheap = frontier(ALL, [group(9000, "abc")], 3000)
    dear = frontier(ALL, [group(9000, "ab")], 3000)
    at_first = [plans[0] for plans in (dear, cheap)]
    need = sum(plan.saved_kib for plan in at_first) + 1
    first, second = choose([dear, cheap], need)
    assert first.exposure_kib == 0 and second.exposure_kib > 0


def proposal(**late: list[str]) -> Proposal:
    sizes = {"numpy.core": 30_000, "lxml": 8_000, "own": 9_000, "tiny": 10}
    modules = dict.fromkeys(module for has in late.values() for module in has)
    costs = [Cost(module, sizes[module], 0.1) for module in modules]
    return propose("floor", ("shop",), late, costs, workers=list(late), unread={"gone": "it ended"})


def test_forest_is_a_fleet_file_to_paste() -> None:
    found = proposal(web=["lxml"], math=["lxml", "numpy.core", "tiny"], calc=["lxml", "numpy.core"])
    forest = grow.grow([found], {"floor": 50_000}, 200_000, None, ["floor", "numpy"])
    tables = tomllib.loads(forest.toml())
    assert tables["zygote"]["floor"] == {"preload": ["shop", "lxml"]}
    assert tables["zygote"]["numpy-2"] == {"parent": "floor", "preload": ["numpy.core"]}
    assert tables["worker"] == {"math": {"zygote": "numpy-2"}, "calc": {"zygote": "numpy-2"}}
    assert forest.saved_kib == 2 * 8_000 + 30_000 - 4_000
    assert forest.left == {"tiny": ("math",)}
    assert forest.unread == {"gone": "it ended"}
    assert forest.as_json()["fleet_toml"] == forest.toml()


def test_forest_names_a_template_where_its_instances_agree() -> None:
    late = {f"math@{name}": ["numpy.core"] for name in ("one", "two")} | {"web": [], "x@a": []}
    forest = grow.grow([proposal(**late)], {"floor": 50_000}, 200_000, None)
    assert tomllib.loads(forest.toml())["worker"] == {"math@": {"zygote": "numpy"}}
    late["math@three"] = []
    forest = grow.grow([proposal(**late)], {"floor": 50_000}, 200_000, None)
    assert set(tomllib.loads(forest.toml())["worker"]) == {"math@one", "math@two"}


def test_forest_tells_whether_the_budget_can_be_kept() -> None:
    found = proposal(web=["lxml"], math=["lxml"], idle=[])
    forest = grow.grow([found], {"floor": 50_000}, 100_000, 96_000)
    assert forest.fits and forest.exposure_kib == 0 and forest.then_kib == 96_000
    forest = grow.grow([found], {"floor": 50_000}, 100_000, 93_000)
    assert forest.fits and forest.exposure_kib == 8_000, "into the floor, so idle has it, too"
    forest = grow.grow([found], {"floor": 50_000}, 100_000, 50_000)
    assert not forest.fits and forest.then_kib == forest.least_kib > 50_000
