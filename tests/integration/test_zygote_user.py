"""A zygote that imports as an unprivileged user: what the floor may do, and what workers may."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import setproctitle

from tests.support.managers import Manager, managers
from zygote.sys import caps

Make = Callable[..., Manager]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not caps.read().permitted >> caps.NUMBERS["CAP_SETUID"] & 1,
    reason="only root may become somebody else",
)
FLOOR = """
import os
def rights():
    lines = open("/proc/self/status").read().splitlines()
    return [int(line.split()[1], 16) for line in lines if line.startswith("CapEff")][0]
IMPORTED_AS = (os.getresuid(), os.getgroups(), rights())
try:
    open("/etc/shadow").close()
    READS_SHADOW = True
except OSError:
    READS_SHADOW = False
def tell():
    print(IMPORTED_AS, READS_SHADOW, sep="\\n")
    print((os.getresuid(), os.getgroups(), rights()), flush=True)
    import time
    time.sleep(600)
"""


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """One that anybody may enter, up to the top: pytest's own are closed by each of its runs."""
    with tempfile.TemporaryDirectory(prefix="zygote-user-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def readable() -> Iterator[tuple[str, str]]:
    """An interpreter, and a path for it, that anybody can read, wherever ours lies: hard links."""
    with open_folder() as place:
        yield copied(place)


DRAFTS = "*.pyc.*"
"""What others compile just now is there by such a name first, and then no more."""


def link(source: str, target: str) -> None:
    """As `shutil.copy2`, and without a copy where it is one file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def copied(place: Path) -> tuple[str, str]:
    """Make them in a folder."""
    version = f"python{sysconfig.get_python_version()}"
    library, program = Path(sys.base_prefix, "lib", version), Path(sys.base_prefix, "bin", version)
    (place / "bin").mkdir()
    left_out = shutil.ignore_patterns("test", "site-packages", "ensurepip", DRAFTS)
    shutil.copytree(
        library, place / "lib" / version, symlinks=True, ignore=left_out, copy_function=link
    )
    shutil.copy(program, place / "bin" / "python3")
    drafts = shutil.ignore_patterns(DRAFTS)
    shutil.copytree(ROOT / "zygote", place / "site" / "zygote", ignore=drafts)
    site = Path(setproctitle.__file__).parents[1]
    for found in site.glob("*setproctitle*"):
        copy = shutil.copytree if found.is_dir() else shutil.copy
        copy(found, place / "site" / found.name)
    for folder in (place, *place.rglob("*")):
        if folder.is_dir():
            folder.chmod(0o755)
    return str(place / "bin" / "python3"), str(place / "site")


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    with open_folder() as folder:
        async with managers(folder) as make:
            yield make


async def test_zygote_imports_without_rights_and_workers_have_theirs(
    make: Make, readable: tuple[str, str]
) -> None:
    python, path = readable
    manager = make(
        f"""
[zygote.low]
python = "{python}"
env.PYTHONPATH = "{path}"
user = "nobody"
preload = ["who"]
[zygote.branch]
parent = "low"
preload = ["who_else"]
[worker.managers]
zygote = "low"
run = "who:tell"
[worker.other]
zygote = "low"
run = "who:tell"
user = "1"
[worker.same]
zygote = "branch"
run = "who_else:tell"
user = "nobody"
"""
    )
    for name in ("who", "who_else"):
        (manager.folder / f"{name}.py").write_text(FLOOR)
    await manager.start()
    all_rights = caps.read().permitted
    for name, uid, rights in (("managers", 0, all_rights), ("other", 1, 0), ("same", NOBODY, 0)):
        imported, shadow, runs = await manager.lines(f"run/logs/{name}.log", 3)
        assert imported == str(((NOBODY,) * 3, [NOBODY], 0)), "the floor's code had no rights"
        assert shadow == "False"
        ids, groups, effective = eval(runs)
        assert (ids, effective) == ((uid,) * 3, rights), name
        if name == "managers":
            assert groups == os.getgroups()
    for zygote in await manager.zygotes():
        if zygote.name in ("low", "branch"):
            status = Path(f"/proc/{zygote.pid}/status").read_text()
            assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status


async def test_zygote_user_that_is_not_there_is_told(make: Make) -> None:
    manager = make('[zygote.low]\nuser = "no-such-user-at-all"\n')
    await manager.start(code=1)
    assert "no user 'no-such-user-at-all'" in manager.output
