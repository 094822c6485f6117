"""Whether the code on disk is still what a generation was baked from."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zygote.fleet.model import Run, WorkerSpec, ZygoteSpec
from zygote.forkserver import prints
from zygote.manager.freshness import HOLDS, Freshness, file_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Two modules that are imported, and their files."""
    paths = {}
    for name in ("fresh_one", "fresh_two"):
        paths[name] = tmp_path / f"{name}.py"
        paths[name].write_text("X = 1\n")
        os.utime(paths[name], (1_000_000_000, 1_000_000_000))
        module: Any = types.ModuleType(name)
        module.__file__ = str(paths[name])
        sys.modules[name] = module
    yield paths
    for name in paths:
        del sys.modules[name]


def keep(
    fresh: Freshness, number: int, *, since: int = 0, known: Any = (), parent: Any = None
) -> None:
    memfd = prints.take(since or time.time_ns(), known)
    fresh.keep(("floor", number), memfd, parent)
    os.close(memfd)


def made(folder: Path, trouble: Any = None) -> tuple[Freshness, Clock]:
    clock = Clock()
    return Freshness(folder / "prints", clock, trouble or (lambda line: pytest.fail(line))), clock


def test_nothing_changed_is_not_outdated(tmp_path: Path, modules: dict[str, Path]) -> None:
    fresh, _ = made(tmp_path)
    keep(fresh, 1)
    paths = {path for path, *_ in fresh.prints(("floor", 1))}
    assert {str(path) for path in modules.values()} < paths
    assert json.__file__ in paths
    assert fresh.look(("floor", 1)) is None


@pytest.mark.parametrize("how", ["text", "time", "replaced", "gone"])
def test_changed_file_is_named(tmp_path: Path, modules: dict[str, Path], how: str) -> None:
    fresh, _ = made(tmp_path)
    keep(fresh, 1)
    path = modules["fresh_one"]
    if how == "text":
        path.write_text("X = 2\n")
    elif how == "time":
        os.utime(path)
    elif how == "replaced":
        draft = path.with_suffix(".new")
        draft.write_text("X = 1\n")
        os.utime(draft, (1_000_000_000, 1_000_000_000))
        draft.replace(path)
    else:
        path.unlink()
    expected = f"{path} (gone)" if how == "gone" else str(path)
    assert str(fresh.look(("floor", 1))) == expected


def test_newest_of_several_is_named_and_the_rest_counted(
    tmp_path: Path, modules: dict[str, Path]
) -> None:
    fresh, _ = made(tmp_path)
    keep(fresh, 1)
    os.utime(modules["fresh_one"], (2_000_000_000, 2_000_000_000))
    os.utime(modules["fresh_two"], (1_900_000_000, 1_900_000_000))
    assert str(fresh.look(("floor", 1))) == f"{modules['fresh_one']} and 1 more"


def test_file_that_changed_while_it_was_imported_counts_as_changed(
    tmp_path: Path, modules: dict[str, Path]
) -> None:
    since = time.time_ns()
    os.utime(modules["fresh_one"], ns=(since + 1, since + 1))
    fresh, _ = made(tmp_path)
    keep(fresh, 1, since=since)
    assert str(fresh.look(("floor", 1))) == str(modules["fresh_one"])


def test_answer_holds_for_a_moment_and_no_longer(tmp_path: Path, modules: dict[str, Path]) -> None:
    fresh, clock = made(tmp_path)
    keep(fresh, 1)
    assert fresh.look(("floor", 1)) is None
    modules["fresh_one"].write_text("X = 3\n")
    clock.now += HOLDS / 2
    assert fresh.look(("floor", 1)) is None
    clock.now += HOLDS
    assert fresh.look(("floor", 1)) is not None
    modules["fresh_two"].write_text("X = 3\n")
    fresh.forget()
    assert "and 1 more" in str(fresh.look(("floor", 1)))


def test_branch_has_its_parents_files_as_they_were(
    tmp_path: Path, modules: dict[str, Path]
) -> None:
    fresh, _ = made(tmp_path)
    inherited = frozenset(sys.modules) - {"fresh_two"}
    keep(fresh, 1, known={"fresh_two"})
    modules["fresh_one"].write_text("X = 4\n")  # after the floor, before the branch
    keep(fresh, 2, known=inherited, parent=("floor", 1))
    assert len(list(fresh.prints(("floor", 2)))) == len(list(fresh.prints(("floor", 1)))) + 1
    assert str(fresh.look(("floor", 2))) == str(modules["fresh_one"])


def test_generation_that_nobody_runs_is_forgotten(tmp_path: Path) -> None:
    fresh, _ = made(tmp_path)
    for number in (1, 2, 3):
        keep(fresh, number)
    fresh.used = lambda: [("floor", 2)]
    keep(fresh, 4)
    assert sorted(path.name for path in (tmp_path / "prints").iterdir()) == ["floor.2", "floor.4"]
    assert fresh.look(("floor", 1)) is None


def test_next_manager_knows_what_an_earlier_one_kept(
    tmp_path: Path, modules: dict[str, Path]
) -> None:
    keep(made(tmp_path)[0], 1)
    modules["fresh_one"].write_text("X = 5\n")
    assert str(made(tmp_path)[0].look(("floor", 1))) == str(modules["fresh_one"])


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "prints").write_text("in the way")
    fresh, _ = made(tmp_path, told.append)
    keep(fresh, 1)
    assert told
    assert str(tmp_path / "prints") in told[0]
    assert fresh.look(("floor", 1)) is None


@pytest.mark.parametrize(
    ("run", "file"),
    [
        (Run("file", "job.py"), "job.py"),
        (Run("module", "shop.web"), "shop/web.py"),
        (Run("function", "shop.web:main"), "shop/web.py"),
        (Run("module", "shop"), "shop/__main__.py"),
        (Run("function", "shop:main"), "shop/__init__.py"),
        (Run("module", "no.such"), ""),
    ],
)
def test_file_of_worker(tmp_path: Path, run: Run, file: str) -> None:
    (tmp_path / "shop").mkdir()
    for name in ("job.py", "shop/web.py", "shop/__main__.py", "shop/__init__.py"):
        (tmp_path / name).write_text("")
    spec = WorkerSpec("w", "floor", run, cwd=str(tmp_path))
    found = file_of(spec, ZygoteSpec("floor"))
    assert (found[0] if found else "") == (str(tmp_path / file) if file else "")


def test_file_of_worker_is_sought_where_the_zygote_seeks(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    spec = WorkerSpec("w", "floor", Run("module", "job"), cwd="/")
    assert file_of(spec, ZygoteSpec("floor")) is None
    found = file_of(spec, ZygoteSpec("floor", path=(str(tmp_path),)))
    assert found
    assert found[0] == str(tmp_path / "job.py")


def test_trouble_is_told_and_taken_back(tmp_path: Path, modules: dict[str, Path]) -> None:
    told: list[str] = []
    fresh, _ = made(tmp_path, told.append)
    (tmp_path / "prints").touch()
    keep(fresh, 1)
    assert "File exists" in told[0]
    (tmp_path / "prints").unlink()
    keep(fresh, 2)
    keep(fresh, 3)
    assert told[1:] == [""]
