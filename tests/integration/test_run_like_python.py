"""The differential test: each program of `programs/` behaves in a zygote as under `python`."""

from __future__ import annotations

import tempfile
import zipapp
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import MiniManager
from tests.support.programs import FLOOR, Bench, Program

PROGRAMS = Path(__file__).with_name("programs")
ROOT = PROGRAMS.parents[2]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    log = tmp_path_factory.mktemp("zygote") / "zygote.log"
    made = MiniManager(log, cwd=ROOT)
    try:
        made.bake(preload=FLOOR)
        yield made
    finally:
        made.close()


@pytest.fixture
def bench(manager: MiniManager) -> Iterator[Bench]:
    # pytest's own folders may be too long for a UNIX socket in the program's TMPDIR, see unix(7).
    with tempfile.TemporaryDirectory(prefix="zygote-") as folder:
        yield Bench(Path(folder) / "bench", manager)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive, and a link to a script."""
    folder = tmp_path_factory.mktemp("built")
    zipapp.create_archive(PROGRAMS / "extra" / "zipapp", folder / "app.zip")
    (folder / "link.py").symlink_to(PROGRAMS / "symlink.py")
    return folder


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_run_like_python(bench: Bench, built: Path, path: Path) -> None:
    program = Program.read(path, built)
    expected = bench.by_python(program)
    difference = expected.difference(bench.by_zygote(program))
    assert not difference, difference
    assert expected.stdout or expected.stderr or expected.files, "a program that shows nothing"
