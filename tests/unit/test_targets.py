"""Which zygotes a reload bakes, and which workers it moves."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.specs import worker_spec
from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager.targets import Asked, choose
from zygote.manager.unit import State


class World:
    """Zygotes floor, leaf (of floor) and other; two workers on each; all ready and up to date."""

    def __init__(self) -> None:
        self.old: set[str] = set()
        self.slots: dict[str, Any] = {}
        for name, parent in (("floor", ""), ("leaf", "floor"), ("other", "")):
            spec = ZygoteSpec(name, parent=parent)
            current = SimpleNamespace(spec=spec, ready=True, identity=(name, 1))
            self.slots[name] = SimpleNamespace(spec=spec, current=current)
        self.workers = [
            self.worker(f"{name}-{number}", name) for name in self.slots for number in (1, 2)
        ]

    def worker(self, name: str, zygote: str) -> Any:
        spec = replace(worker_spec(name), zygote=zygote)
        unit = SimpleNamespace(spec=spec, state=State.READY)
        return SimpleNamespace(name=name, unit=unit, pending=None, outdated=None)

    def find(self, name: str) -> Any:
        return next(worker for worker in self.workers if worker.name == name)

    def __call__(self, **asked: Any) -> tuple[list[str], list[str]]:
        """Names of the zygotes and the workers."""
        freshness: Any = SimpleNamespace(
            forget=lambda: None, look=lambda of: "changed" if of[0] in self.old else None
        )
        for worker in self.workers:
            worker.outdated = worker.outdated or worker.unit.spec.zygote in self.old or None
        workers: Any = SimpleNamespace(
            fleet=SimpleNamespace(name="test"), all=lambda: self.workers,
            match=lambda name: [self.find(name)],
        )  # fmt: skip
        zygotes: Any = SimpleNamespace(slots=self.slots)
        found = choose(Asked(**asked), workers, zygotes, freshness)
        return [slot.spec.name for slot in found.slots], [w.name for w in found.workers]


FLOOR, LEAF, OTHER = (["floor-1", "floor-2"], ["leaf-1", "leaf-2"], ["other-1", "other-2"])


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_done_where_all_is_up_to_date(world: World) -> None:
    assert world() == ([], [])


def test_branches_follow_their_parent(world: World) -> None:
    world.old = {"floor"}
    assert world() == (["floor", "leaf"], FLOOR + LEAF)
    world.old = {"leaf"}
    world.workers = World().workers
    assert world() == (["leaf"], LEAF)


def test_parents_come_first_whatever_the_order_of_the_file(world: World) -> None:
    world.slots = dict(reversed(world.slots.items()))
    assert world(force=True)[0] in (["other", "floor", "leaf"], ["floor", "other", "leaf"])


def test_forced_all_of_them(world: World) -> None:
    assert sorted(world(force=True)[0]) == ["floor", "leaf", "other"]
    assert world(force=True)[1] == FLOOR + LEAF + OTHER


def test_named_zygote_with_what_is_forked_from_it(world: World) -> None:
    assert world(zygotes=["floor"]) == (["floor", "leaf"], FLOOR + LEAF)
    assert world(zygotes=["other"]) == (["other"], OTHER)
    world.old = {"floor"}
    assert world(zygotes=["other"]) == (["other"], OTHER)
    with pytest.raises(ZygoteError, match="no zygote 'lea'"):
        world(zygotes=["lea"])


def test_named_worker_moves_alone_and_its_zygote_is_baked_if_it_is_old(world: World) -> None:
    assert world(workers=["leaf-1"]) == ([], ["leaf-1"])
    world.old = {"leaf"}
    assert world(workers=["leaf-1"]) == (["leaf"], ["leaf-1"])
    world.old = {"floor"}
    assert world(workers=["leaf-1"]) == (["floor", "leaf"], ["leaf-1"])
    assert world(workers=["other-1"]) == ([], ["other-1"])


def test_changed_keys_of_a_zygote_count_and_its_blanks_do_not(world: World) -> None:
    slot = world.slots["other"]
    slot.spec = replace(slot.spec, place="fleet.toml:99", blanks=4)
    assert world() == ([], [])
    slot.spec = replace(slot.spec, preload=("json",))
    assert world() == (["other"], OTHER)


def test_worker_with_changed_keys_or_file_moves_alone(world: World) -> None:
    world.find("floor-1").pending = replace(world.find("floor-1").unit.spec, nice=3)
    world.find("leaf-2").outdated = "job.py"
    assert world() == ([], ["floor-1", "leaf-2"])


def test_worker_that_changes_its_zygote_goes_with_the_new_one(world: World) -> None:
    worker = world.find("floor-1")
    worker.pending = replace(worker.unit.spec, zygote="other")
    assert world(zygotes=["other"]) == (["other"], ["floor-1", *OTHER])


def test_those_that_do_not_run_need_not_move(world: World) -> None:
    world.find("other-1").unit.state = State.INACTIVE
    world.find("other-2").unit.state = State.BACKOFF
    assert world(force=True)[1] == FLOOR + LEAF
    assert world(workers=["other-1"]) == ([], [])


def test_zygote_that_is_being_baked_by_itself_is_left_to_that(world: World) -> None:
    world.slots["floor"].current.ready = False
    world.old = {"floor"}
    assert world()[0] == []
