"""`isolation`: which zygotes a class gets, and what is warned of."""

from __future__ import annotations

from pathlib import Path

from tests.support.fleetfile import good_fleet

HEAD = '[fleet]\nname = "demo"\n[zygote.floor]\nenv = { ONE = "1" }\npreload = ["json"]\n'
TREE = HEAD + '[zygote.leaf]\nparent = "floor"\npreload = ["csv"]\n'


def web(*keys: str, name: str = "web", zygote: str = "floor") -> str:
    return "\n".join((f'[worker."{name}"]', 'run = "json.tool"', f'zygote = "{zygote}"', *keys, ""))


def test_class_gets_a_zygote_made_like_the_one_named(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + web('isolation = "class:a"') + web(name="other"))
    floor, own = fleet.zygotes["floor"], fleet.zygotes["floor:a"]
    assert fleet.workers["web"].zygote == "floor:a"
    assert fleet.workers["other"].zygote == "floor"
    assert (own.preload, own.env, own.place) == (floor.preload, floor.env, floor.place)
    assert own.parent == ""
    assert not fleet.warnings


def test_class_on_a_branch_gets_all_above_it_parents_first(tmp_path: Path) -> None:
    text = TREE + web('isolation = "class:a"', zygote="leaf")
    text += web('isolation = "class:b"', name="b") + web(name="c")
    fleet = good_fleet(tmp_path, text)
    assert list(fleet.zygotes) == ["floor", "leaf", "floor:a", "leaf:a", "floor:b"]
    assert fleet.zygotes["leaf:a"].parent == "floor:a"
    assert fleet.zygotes["leaf"].parent == "floor"


def test_two_workers_of_a_class_share_its_zygote(tmp_path: Path) -> None:
    text = HEAD + web('isolation = "class:a"') + web('isolation = "class:a"', name="b")
    fleet = good_fleet(tmp_path, text)
    assert {spec.zygote for spec in fleet.workers.values()} == {"floor:a"}
    assert any("no worker uses it" in line for line in fleet.warnings), "of the floor itself"


def test_class_of_a_template_is_its_instances(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + web('isolation = "class:a"', name="web@"))
    assert fleet.templates["web@"].zygote == "floor:a"


def test_worker_may_undo_the_class_of_defaults(tmp_path: Path) -> None:
    text = (
        HEAD + '[defaults]\nisolation = "class:a"\n' + web() + web('isolation = "none"', name="b")
    )
    fleet = good_fleet(tmp_path, text)
    assert (fleet.workers["web"].zygote, fleet.workers["b"].zygote) == ("floor:a", "floor")


def test_exec_keeps_its_zygote_for_interpreter_and_path_only(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + web('isolation = "exec"'))
    spec = fleet.workers["web"]
    assert (spec.zygote, spec.is_copy, list(fleet.zygotes)) == ("floor", False, ["floor"])
    assert any("no worker uses it" in line for line in fleet.warnings)


def test_fixed_hash_seed_is_warned_of(tmp_path: Path) -> None:
    head = HEAD.replace('ONE = "1"', 'PYTHONHASHSEED = "0"')
    for key in ('isolation = "class:a"', 'isolation = "exec"'):
        fleet = good_fleet(tmp_path, head + web(key))
        assert any("PYTHONHASHSEED=0" in line for line in fleet.warnings)
    assert not any("HASHSEED" in line for line in good_fleet(tmp_path, head + web()).warnings)


def test_variables_read_at_start_are_in_time_for_an_exec(tmp_path: Path) -> None:
    late = 'env = { PYTHONMALLOC = "malloc" }'
    assert any("PYTHONMALLOC" in line or "malloc" in line or "interpreter" in line
               for line in good_fleet(tmp_path, HEAD + web(late)).warnings)  # fmt: skip
    fleet = good_fleet(tmp_path, HEAD + web(late, 'isolation = "exec"') + web(name="b"))
    assert not fleet.warnings
