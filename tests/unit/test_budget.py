"""When a worker beyond its budget of private memory is recycled: policy, on a fake clock."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.support.clock import FakeClock
from tests.support.specs import worker_spec
from zygote.manager import recycle
from zygote.manager.budget import BIRTH, CLOSELY, EVERY, Budget, Verdict
from zygote.manager.children import Child
from zygote.manager.leaves import Leaf
from zygote.sys import procfs

MB = 1_000_000
NOTHING = Verdict()


class Looker:
    """A budget with its spec and its clock; the worker became ready at the clock's zero."""

    def __init__(self, **keys: object) -> None:
        self.clock = FakeClock()
        self.spec = worker_spec(**{"max_private": 24 * MB, **keys})
        self.budget = Budget()
        self.budget.ready(self.now)

    @property
    def now(self) -> float:
        return self.clock.clock.monotonic()

    def look(self, megabytes: float, lacks: str = "") -> Verdict:
        return self.budget.looked(self.spec, int(megabytes * MB), self.now, lacks)

    def after(self, seconds: float, megabytes: float) -> Verdict:
        self.clock.go(seconds)
        return self.look(megabytes)

    def in_seconds(self) -> float:
        return self.budget.due - self.now


@pytest.fixture
def looker() -> Looker:
    """One that was born small."""
    looker = Looker()
    assert looker.look(3) == NOTHING
    return looker


def test_budget_looks_at_once_then_seldom(looker: Looker) -> None:
    fresh = Looker()
    assert fresh.in_seconds() == 0
    assert looker.in_seconds() == EVERY


def test_budget_that_is_kept_is_never_told(looker: Looker) -> None:
    assert all(looker.after(60, 23.9) == NOTHING for _ in range(100))


def test_budget_recycles_after_the_grace(looker: Looker) -> None:
    assert looker.after(20, 25) == NOTHING
    assert looker.in_seconds() == CLOSELY
    assert looker.after(29, 25) == NOTHING
    verdict = looker.after(1, 26)
    assert verdict.recycle
    assert verdict.event == "recycling"
    assert verdict.detail == "private=26000000 budget=24000000 after=grace=30s overlap=no"


def test_budget_looks_again_right_at_the_end_of_the_grace() -> None:
    looker = Looker(recycle_grace=10.3)
    looker.look(3)
    looker.after(20, 25)
    looker.after(10, 25)
    assert looker.in_seconds() == pytest.approx(0.3)


def test_budget_recycles_at_once_when_idle(looker: Looker) -> None:
    assert looker.after(20, 25) == NOTHING
    looker.budget.said_idle(True, looker.now)
    assert looker.in_seconds() == 0
    verdict = looker.look(25)
    assert verdict.recycle
    assert "after=idle" in verdict.detail


def test_budget_waits_for_one_that_is_busy_again(looker: Looker) -> None:
    looker.budget.said_idle(True, looker.now)
    looker.budget.said_idle(False, looker.now)
    assert looker.after(20, 25) == NOTHING
    assert looker.after(30, 25).recycle


def test_budget_forgives_a_peak_that_is_over(looker: Looker) -> None:
    looker.after(20, 30)
    looker.after(20, 20)
    assert looker.after(20, 30) == NOTHING
    assert looker.after(29, 30) == NOTHING
    assert looker.after(1, 30).recycle


def test_budget_recycles_no_more_often_than_its_interval(looker: Looker) -> None:
    looker.after(20, 25)
    assert looker.after(30, 25).recycle
    looker.budget.ready(looker.now)
    looker.look(3)
    told = looker.after(100, 25)
    assert (told.recycle, told.event) == (False, "over-budget")
    assert "recycled 1min 40s ago, so not before 8min 20s from now" in told.detail
    assert all(looker.after(10, 25) == NOTHING for _ in range(49))
    assert looker.after(10, 25).recycle


def test_budget_that_is_spent_at_birth_is_told_once_and_left_alone() -> None:
    looker = Looker()
    told = looker.look(30)
    assert (told.recycle, told.event) == (False, "over-budget")
    assert "raise max_private" in told.detail
    assert all(looker.after(10, 40) == NOTHING for _ in range(1000))


def test_budget_counts_all_before_stable_after_as_birth() -> None:
    looker = Looker(stable_after=10.0)
    assert looker.look(3) == NOTHING
    assert looker.after(9, 30).event == "over-budget"
    assert all(looker.after(10, 30) == NOTHING for _ in range(100))


def test_budget_of_one_born_large_counts_again_once_it_was_small() -> None:
    looker = Looker()
    looker.look(30)
    looker.after(60, 10)
    looker.after(60, 30)
    assert looker.after(30, 30).recycle


def test_budget_takes_a_late_first_look_for_no_birth() -> None:
    looker = Looker()
    assert looker.after(BIRTH + 1, 30) == NOTHING
    assert looker.after(30, 30).recycle


def test_budget_of_an_adopted_process_is_no_birth() -> None:
    looker = Looker()
    looker.budget.adopted(looker.now)
    assert looker.look(30) == NOTHING
    assert looker.after(30, 30).recycle


def test_budget_that_a_reload_took_away_is_no_budget(looker: Looker) -> None:
    looker.after(20, 30)
    looker.spec = worker_spec(max_private=None)
    assert looker.after(100, 30) == NOTHING


def test_budget_that_cannot_be_looked_at_is_told_once(looker: Looker) -> None:
    told = looker.budget.unreadable("it is root's", looker.now)
    assert (told.recycle, told.event) == (False, "over-budget")
    assert looker.budget.unreadable("it is root's", looker.now) == NOTHING
    assert looker.in_seconds() == EVERY


async def test_private_memory_is_asked_of_the_leaf_where_there_is_one(tmp_path: Path) -> None:
    ended = asyncio.get_running_loop().create_future()
    child = Child(os.getpid(), -1, "worker", "web", ended, Leaf(tmp_path))
    before = procfs.read_memory(child.pid)
    assert before is not None
    # Without the memory controller the leaf cannot tell: the process itself is looked at.
    found = recycle.read_private(child)
    assert found is not None
    assert abs(found - before.uss_kib * 1024) < MB
    (tmp_path / "memory.stat").write_text("anon 4096\n")
    assert recycle.read_private(child) == 4096


async def test_private_memory_of_a_process_that_is_gone_is_none() -> None:
    ended = asyncio.get_running_loop().create_future()
    assert recycle.read_private(Child((1 << 22) + 1, -1, "worker", "web", ended)) is None


def test_nobody_is_recycled_while_a_new_one_would_wait(looker: Looker) -> None:
    looker.spec = worker_spec(max_private=24 * MB, recycle_grace=5.0)
    looker.clock.go(60)
    looker.look(30)
    looker.clock.go(6)
    verdict = looker.look(30, lacks="zygote 'floor'")
    assert not verdict.recycle
    assert verdict.event == "over-budget" and "not before zygote 'floor' is ready" in verdict.detail
    assert looker.in_seconds() == CLOSELY
    looker.clock.go(CLOSELY)
    assert looker.look(30, lacks="zygote 'floor'") == NOTHING, "it is said once"
    looker.clock.go(CLOSELY)
    assert looker.look(30).recycle
