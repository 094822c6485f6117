"""Looking for modules and functions without importing: what is refused, and what gets the
benefit of the doubt."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from zygote.fleet.modules import Finder
from zygote.fleet.values import Fault


def write(folder: Path, **sources: str) -> Finder:
    """Files by name: `a_b` is a/b.py, `a_` is a/__init__.py. All raise when imported."""
    for name, source in sources.items():
        folders, _, last = name.rpartition("_")
        path = folder / folders.replace("_", "/") / f"{last or '__init__'}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source + "\nraise SystemExit('imported')\n")
    return Finder([str(folder)], "floor")


@pytest.mark.parametrize(
    "name",
    ["sys", "os.path", "json.decoder", "collections.abc", "xml.etree.ElementTree", "math",
     "importlib._bootstrap", "__main__", "pydantic.main", "pydantic_core._pydantic_core",
     "zygote.fleet", "multiprocessing.dummy", "wsgiref"],
)  # fmt: skip
def test_modules_that_are_there_are_found(tmp_path: Path, name: str) -> None:
    before = set(sys.modules)
    Finder([str(tmp_path)], "floor").check_module(name)
    assert set(sys.modules) == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shopp", '"shop"'),
        ("shop.wbe", '"shop.web"'),
        ("shop.deep.nothing", "looked in"),
        ("space.nothing", "looked in"),
        ("json.nothing_of_that_name", "looked in"),
        ("single.below", '"single:below"'),
    ],
)
def test_modules_that_are_not_there(tmp_path: Path, name: str, hint: str) -> None:
    finder = write(tmp_path, shop_="", shop_web="", shop_deep_="", space_one="", single="")
    with pytest.raises(Fault) as caught:
        finder.check_module(name)
    assert caught.value.code == "no-such-module"
    assert f"'{name}'" in caught.value.message
    assert hint in caught.value.hint


def test_modules_in_a_package_that_makes_them_up(tmp_path: Path) -> None:
    finder = write(
        tmp_path,
        a_="__path__ = []",
        b_="import sys; sys.modules['b.x'] = sys",
        c_="def __getattr__(name): return name",
        single="import sys; sys.modules['single.x'] = sys",
    )
    for name in ("a.x", "b.x", "c.x", "single.x"):
        finder.check_module(name)
        finder.check_module(name, run=True)


def test_modules_in_folders_without_init(tmp_path: Path) -> None:
    finder = write(tmp_path, space_inner_mod="")
    finder.check_module("space.inner.mod")
    with pytest.raises(Fault):
        finder.check_module("space.inner.mood")


def test_modules_in_a_zip_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "")
        archive.writestr("zipped/inner.py", "")
    Finder([str(tmp_path / "lib.zip")], "floor").check_module("zipped.inner")


def test_modules_compiled_or_native(tmp_path: Path) -> None:
    write(tmp_path, pkg_="")
    (tmp_path / "pkg" / "only.pyc").write_bytes(b"")
    (tmp_path / "pkg" / "native.abi3.so").write_bytes(b"")
    finder = Finder([str(tmp_path)], "floor")
    for name in ("pkg.only", "pkg.native"):
        finder.check_module(name)
        finder.check_function(name, "main")


def test_modules_to_run_need_a_main(tmp_path: Path) -> None:
    finder = write(tmp_path, good_="", bare_="", odd_="__path__")
    (tmp_path / "good" / "__main__.py").write_text("")
    for name in ("good", "odd", "json.tool"):
        finder.check_module(name, run=True)
    with pytest.raises(Fault, match="without a __main__") as caught:
        finder.check_module("bare", run=True)
    assert '"bare:main"' in caught.value.hint
    with pytest.raises(Fault):
        finder.check_module("email", run=True)


@pytest.mark.parametrize(
    "source",
    [
        "def main(): pass",
        "async def main(): pass",
        "class main: pass",
        "main = print",
        "main: object = print",
        "from os import getcwd as main",
        "import main",
        "if True:\n    def main(): pass",
        "try:\n    pass\nexcept ValueError:\n    main = 1",
        "with open('x') as main: pass",
        "for main in []: pass",
        "a, (main, b) = 1, (2, 3)",
        "from os import *",
        "globals()['main'] = print",
        "def __getattr__(name): return print",
        "exec('main = 1')",
        "this is no python",
        "[main := 1]",
    ],
)
def test_modules_function_there_or_not_excluded(tmp_path: Path, source: str) -> None:
    write(tmp_path, mod=source).check_function("mod", "main")


@pytest.mark.parametrize(
    ("source", "guess"),
    [
        ("def mian(): pass", '"mod:mian"'),
        ("def other():\n    main = 1", "looked in"),
        ("class Other:\n    def main(self): pass", "looked in"),
        ("", "looked in"),
    ],
)
def test_modules_function_surely_missing(tmp_path: Path, source: str, guess: str) -> None:
    with pytest.raises(Fault, match="defines no 'main'") as caught:
        write(tmp_path, mod=source).check_function("mod", "main")
    assert caught.value.code == "no-such-function"
    assert guess in caught.value.hint


def test_modules_function_of_a_package_may_be_its_submodule(tmp_path: Path) -> None:
    write(tmp_path, pkg_="", pkg_sub="").check_function("pkg", "sub.main")


def test_modules_that_cannot_be_read_are_not_judged(tmp_path: Path) -> None:
    finder = write(tmp_path, pkg_="")
    (tmp_path / "pkg" / "loop.py").symlink_to("loop.py")
    with pytest.raises(Fault):
        finder.check_module("pkg.loop")
    (tmp_path / "pkg" / "big.py").write_text("# \n" * 400_000 + "def main(): pass\n")
    finder.check_function("pkg.big", "main")
