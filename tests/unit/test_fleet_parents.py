"""Zygotes with a parent: what they have of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.fleetfile import check_text

HEAD = '[fleet]\nname = "demo"\n'


def test_branch_has_its_parents_env_path_and_python(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    fleet, errors = check_text(
        tmp_path,
        HEAD + '[zygote.leaf]\nparent = "root"\npath = ["b"]\nenv = { TWO = "2", ONE = "leaf" }\n'
        '[zygote.root]\npath = ["a"]\nenv = { ONE = "1" }\npython = "/usr/bin/env"\n'
        '[worker.w]\nzygote = "leaf"\nrun = "json.tool"\n',
        PATH="/usr/bin:/bin",
    )
    assert fleet, errors
    leaf = fleet.zygotes["leaf"]
    assert list(fleet.zygotes) == ["root", "leaf"]
    assert (leaf.parent, leaf.python) == ("root", "/usr/bin/env")
    assert leaf.env == {"ONE": "leaf", "TWO": "2"}
    assert leaf.path == (str(tmp_path / "b"), str(tmp_path / "a"))
    assert fleet.workers["w"].env == leaf.env


def test_variables_that_come_too_late_are_warned_of(tmp_path: Path) -> None:
    fleet, errors = check_text(
        tmp_path,
        HEAD + '[zygote.root]\n[zygote.leaf]\nparent = "root"\nenv = { PYTHONHASHSEED = "0" }\n'
        '[worker.w]\nzygote = "leaf"\nrun = "json.tool"\n',
        PATH="/usr/bin:/bin",
    )
    assert fleet, errors
    assert any("PYTHONHASHSEED" in line and "[zygote.root]" in line for line in fleet.warnings)


def test_a_zygote_that_only_branches_use_is_used(tmp_path: Path) -> None:
    fleet, errors = check_text(
        tmp_path,
        HEAD + '[zygote.root]\n[zygote.leaf]\nparent = "root"\n'
        '[worker.w]\nzygote = "leaf"\nrun = "json.tool"\n',
        PATH="/usr/bin:/bin",
    )
    assert fleet, errors
    assert not fleet.warnings
