"""A stage that fails, or that this system cannot do: the fleet works, shares less, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.forkserver import BakeFailedError, MiniManager
from tests.support.managers import managers

FLOOR = """
import asyncio, gc, json

TABLE = {str(n): [n] * 4 for n in range(5000)}

async def work():
    await asyncio.sleep(0)
    TABLE["7"] = TABLE.pop("8")
    TABLE.update({str(n): json.loads("[1, 2]") for n in range(100, 200)})
    return sum(map(len, TABLE.values()))

def warm():
    asyncio.run(asyncio.sleep(0))
"""
WORK = "import asyncio, floor, gc; print(asyncio.run(floor.work()), gc.collect() >= 0)"
RESULT = f"{4 * 4899 + 2 * 100} True"

TRIM_FAILS = """
import zygote.sys.malloc
def trim():
    raise OSError(28, "no space for a fault")
zygote.sys.malloc.trim = trim
"""
REFERENTS_FAIL = """
import gc, types
import zygote.bake.immortalise as stage
left = iter(range(3000))
def referents(thing):
    next(left)
    return gc.get_referents(thing)
stage.gc = types.SimpleNamespace(get_objects=gc.get_objects, get_referents=referents)
"""
MOVE_FAILS = """
import zygote.bake.code as code
repoint = code.repoint
def fail(layout, moved, functions, codes):
    if len(moved) > 10:  # the stage's own trial has two
        repoint(layout, moved, functions[: len(functions) // 2], ())
        raise ValueError("half are enough")
    return repoint(layout, moved, functions, codes)
code.repoint = fail
"""
FREEZE_FAILS = """
import gc, types
import zygote.bake.freeze as stage
def freeze():
    raise RuntimeError("too warm")
stage.gc = types.SimpleNamespace(freeze=freeze)
"""
FILLING_FAILS = """
import zygote.bake.seal as stage
make, left = stage._make, iter(range(100))
def fail(size):
    if next(left, None) is None:
        raise MemoryError
    return make(size)
stage._make = fail
"""
KEEP_FAILS = """
import types
import zygote.bake.keep as stage
def keep(address, size):
    raise KeyError("no file")
stage.backed = types.SimpleNamespace(keep=keep)
"""
LOOKUPS_FAIL = """
import zygote.bake.lookups as stage
def plan(seen):
    raise KeyError("no table")
stage.plan = plan
"""
COLLAPSE_FAILS = """
import zygote.sys.hugepages as pages
def blocks():
    raise KeyError("no maps")
pages.blocks = blocks
"""
OTHER_LIBC = """
import ctypes
import zygote.sys.malloc as malloc
class Musl:
    malloc, free, sbrk = malloc._libc.malloc, malloc._libc.free, malloc._libc.sbrk
malloc._libc = Musl()
"""
OLD_KERNEL = """
import ctypes, errno
import zygote.sys.hugepages as pages
def madvise(*args):
    ctypes.set_errno(errno.EINVAL)
    return -1
pages._madvise = madvise
"""


def bake(folder: Path, fault: str, env: dict[str, str] | None = None) -> tuple[MiniManager, dict]:  # type: ignore[type-arg]
    (folder / "floor.py").write_text(FLOOR)
    (folder / "fault.py").write_text(fault)
    manager = MiniManager(folder / "zygote.log", cwd=folder, env=env)
    try:
        return manager, manager.bake(preload=("floor", "fault"), warm=("floor:warm",))
    except BaseException:
        manager.close()
        raise


@pytest.mark.parametrize(
    ("fault", "stages", "why"),
    [
        (TRIM_FAILS, ["trim", "immortalise", "seal"], "OSError: [Errno 28] no space"),
        (REFERENTS_FAIL, ["immortalise"], "StopIteration (see the zygote's log)"),
        (MOVE_FAILS, ["relocate"], "ValueError: half are enough (see the zygote's log)"),
        (FREEZE_FAILS, ["freeze"], "RuntimeError: too warm (see the zygote's log)"),
        (FILLING_FAILS, ["seal"], "MemoryError (see the zygote's log)"),
        (KEEP_FAILS, ["keep"], "KeyError: 'no file' (see the zygote's log)"),
        (LOOKUPS_FAIL, ["seal"], "KeyError: 'no table' (see the zygote's log)"),
        (COLLAPSE_FAILS, ["collapse"], "KeyError: 'no maps' (see the zygote's log)"),
    ],
    ids=["trim", "immortalise", "relocate", "freeze", "seal", "keep", "lookups", "collapse"],
)
def test_stage_that_breaks_off_is_skipped_and_workers_work(
    tmp_path: Path, fault: str, stages: list[str], why: str
) -> None:
    manager, report = bake(tmp_path, fault)
    try:
        said = {stage["name"]: stage["why"] for stage in report["skipped"]}
        broken = [name for name in stages if said.get(name, "").startswith(why)]
        able = [name for name in stages if not said.get(name, "").startswith(_UNABLE)]
        assert broken == able
        assert able or stages in (["immortalise"], ["keep"])
        log = (tmp_path / "zygote.log").read_text()
        assert log.count("Traceback") == len(broken)
        for _ in range(3):
            worker = manager.spawn(WORK)
            assert worker.read() == RESULT
            assert worker.wait() == 0
    finally:
        manager.close()


_UNABLE = ("no immortal", "the kernel has no huge pages", "[Errno")
"""What this system cannot do at all does not break off either."""


@pytest.mark.parametrize(
    ("fault", "env", "said"),
    [
        (OTHER_LIBC, {}, {"trim": "this libc has no malloc_trim"}),
        (OLD_KERNEL, {}, {"collapse": "no huge page could be made (errno 22)"}),
        ("", {"PYTHONMALLOC": "malloc"}, {}),
        (
            OTHER_LIBC,
            {"PYTHONMALLOC": "malloc"},
            {"seal": "neither pymalloc nor glibc's malloc is in use"},
        ),
    ],
    ids=["other-libc", "old-kernel", "no-pymalloc", "neither"],
)
def test_system_that_cannot_do_a_stage_is_told_and_workers_work(
    tmp_path: Path, fault: str, env: dict[str, str], said: dict[str, str]
) -> None:
    manager, report = bake(tmp_path, fault, env)
    try:
        found = {stage["name"]: stage["why"] for stage in report["skipped"]}
        if "huge" in found.get("collapse", "") and "collapse" in said:
            said = {"collapse": found["collapse"]}  # this kernel has none at all
        assert said.items() <= found.items()
        assert "Traceback" not in (tmp_path / "zygote.log").read_text()
        assert manager.spawn(WORK).read() == RESULT
    finally:
        manager.close()


def test_stage_that_looks_for_hazards_may_not_break_off(tmp_path: Path) -> None:
    fault = (
        "import zygote.audit.heap as heap\ndef scan(): raise KeyError('blind')\nheap.scan = scan"
    )
    with pytest.raises(BakeFailedError) as caught:
        bake(tmp_path, fault)[0].close()
    assert caught.value.parts["code"] == "bake-fault"
    assert "KeyError: 'blind'" in (tmp_path / "zygote.log").read_text()


async def test_status_names_the_stage_that_broke_off(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "fault.py").write_text(TRIM_FAILS)
    async with managers(tmp_path) as make:
        manager = make("")
        text = manager.file.read_text().replace('preload = ["tiny"]', 'preload = ["tiny", "fault"]')
        manager.file.write_text(text)
        await manager.start()
        (zygote,) = await manager.zygotes()
        assert zygote.state == "ready"
        line = "trim: skipped, OSError: [Errno 28] no space for a fault (see the zygote's log)"
        assert line in zygote.stages, json.dumps(zygote.stages)
        assert "in trim" in Path(zygote.log).read_text()
