"""The bake of a real zygote: what it says, and how it names what is wrong with a floor."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import BakeFailedError, MiniManager
from zygote.bake.pipeline import STAGES
from zygote.sys import procfs

Make = Callable[..., MiniManager]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A zygote in a folder of modules: `make(floor="source", ...)`."""
    made: list[MiniManager] = []

    def start(**modules: str) -> MiniManager:
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        made.append(MiniManager(tmp_path / "zygote.log", cwd=tmp_path))
        return made[-1]

    yield start
    for manager in made:
        manager.close()


def refuse(manager: MiniManager, **spec: object) -> dict[str, object]:
    """Bake, which must fail; the zygote must then have ended with 1."""
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(**spec)
    assert manager.process.wait(120) == 1
    parts = caught.value.parts
    assert parts["place"] == "fleet.toml:7"
    assert parts["hint"]
    return parts


def test_bake_reports_stages_in_order_and_versions(make: Make) -> None:
    manager = make(floor="NUMBER = 7")
    report = manager.bake(preload=("floor",))
    done = [stage["name"] for stage in report["stages"]]
    skipped = [stage["name"] for stage in report["skipped"]]
    whole = ["import", *(stage.name for stage in STAGES)]
    assert done == [name for name in whole if name not in skipped]
    skipped = [name for name in skipped if name != "collapse"]  # the kernel decides
    assert skipped == (["immortalise", "keep"] if sys.version_info < (3, 12) else [])
    assert all(stage["seconds"] >= 0 for stage in report["stages"])
    assert report["spawn_path"] in ("clone3", "clone", "fork")
    assert report["modules"] > 50
    assert report["findings"] == []


def test_bake_tells_each_import_before_it_runs(make: Make) -> None:
    manager = make(first="", second="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EOFError):
        manager.bake(preload=("first", "second"))
    assert manager.progress[-2:] == [("import", "first"), ("import", "second")]
    assert manager.process.wait(120) == -signal.SIGKILL


def test_bake_worker_has_the_floor(make: Make) -> None:
    manager = make(floor="NUMBER = 7")
    manager.bake(preload=("floor",))
    code = "import sys; print('floor' in sys.modules); import floor; print(floor.NUMBER)"
    assert manager.spawn(code).read() == "True\n7"


def test_bake_has_the_collector_off_and_the_floor_frozen(make: Make) -> None:
    manager = make(floor="import gc; WAS = gc.isenabled()")
    manager.bake(preload=("floor",))
    code = "import floor, gc; print(floor.WAS, gc.get_freeze_count() > 10_000)"
    assert manager.spawn(code).line() == "False True"


def test_bake_gives_workers_no_huge_pages(make: Make) -> None:
    manager = make()
    manager.bake()
    worker = manager.spawn("print(open('/proc/self/status').read())")
    assert "THP_enabled:\t0" in worker.read()


def test_bake_path_and_folder_come_first(make: Make, tmp_path: Path) -> None:
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "floor.py").write_text("import sys; PATH = sys.path[:2]")
    manager = make()
    manager.bake(preload=("floor",), path=(str(tmp_path / "extra"),))
    line = manager.spawn("import floor; print(floor.PATH)").line()
    assert line == repr([str(tmp_path), str(tmp_path / "extra")])


def test_preload_missing_names_module_and_key(make: Make) -> None:
    parts = refuse(make(), preload=("floor.inner",))
    assert parts["code"] == "preload-missing"
    assert "no module named 'floor'" in str(parts["message"])
    assert "`preload` of [zygote.test] names 'floor.inner'" in str(parts["hint"])


def test_preload_raised_has_the_whole_traceback_and_only_the_owners_frames(make: Make) -> None:
    manager = make(
        floor="import inner", inner="def fail():\n    raise LookupError('no luck')\nfail()"
    )
    parts = refuse(manager, preload=("floor",))
    assert parts["code"] == "preload-raised"
    assert "importing 'floor' raised LookupError: no luck" in str(parts["message"])
    trace = str(parts["traceback"])
    assert [line for line in trace.splitlines() if line.startswith("  File")] == [
        f'  File "{manager.cwd}/{name}.py", line {line}, in {where}'
        for name, line, where in (
            ("floor", 1, "<module>"),
            ("inner", 3, "<module>"),
            ("inner", 2, "fail"),
        )
    ]
    assert trace in manager.log.read_text()


def test_preload_with_a_missing_dependency_names_it(make: Make) -> None:
    parts = refuse(make(floor="import no_such_library"), preload=("floor",))
    assert parts["code"] == "preload-raised"
    assert "needs 'no_such_library'" in str(parts["hint"])


@pytest.mark.parametrize("statement", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 +"])
def test_preload_that_wants_to_leave_or_cannot_be_parsed_is_reported(
    make: Make, statement: str
) -> None:
    parts = refuse(make(floor=statement), preload=("floor",))
    assert parts["code"] == "preload-raised"
    assert "floor.py" in str(parts["traceback"])


def test_warm_runs_sync_and_async_and_leaves_no_loop(make: Make) -> None:
    source = """
import asyncio
DONE = []
def plain(): DONE.append("plain")
async def later():
    await asyncio.sleep(0)
    DONE.append("later")
"""
    manager = make(floor=source)
    manager.bake(preload=("floor",), warm=("floor:plain", "floor:later"))
    assert ("warm", "floor:later") in manager.progress
    code = """
import asyncio, floor
print(floor.DONE, asyncio.events._event_loop_policy)
asyncio.run(floor.later())
print(len(floor.DONE))
"""
    assert manager.spawn(code).read() == "['plain', 'later'] None\n3"


def test_warm_raised_has_the_traceback(make: Make) -> None:
    manager = make(floor="async def warm(): raise OSError(13, 'no')")
    parts = refuse(manager, preload=("floor",), warm=("floor:warm",))
    assert parts["code"] == "warm-raised"
    assert "in warm" in str(parts["traceback"])
    assert "zygote/bake" not in str(parts["traceback"])


def test_warm_leaves_no_pile_of_garbage_behind(make: Make) -> None:
    # 200,000 cycles of 0.2 KB, and a few objects among them that stay.
    source = """
import gc
KEPT, AT_IMPORT = [], gc.isenabled()
def warm():
    for number in range(200_000):
        cycle = [number] * 8
        cycle.append(cycle)
        if number % 500 == 0:
            KEPT.append([number] * 8)
"""
    sizes = []
    for warm in ((), ("floor:warm",)):
        manager = make(floor=source)
        manager.bake(preload=("floor",), warm=warm)
        memory = procfs.read_memory(manager.process.pid)
        assert memory
        sizes.append(memory.uss_kib)
    assert sizes[1] < sizes[0] + 10_000, sizes
    code = "import floor, gc; print(len(floor.KEPT), floor.AT_IMPORT, gc.get_freeze_count() > 0)"
    assert manager.spawn(code).read() == "400 False True"


@pytest.mark.parametrize("entry", ["floor:nothing", "nowhere:warm", "floor:NUMBER"])
def test_warm_missing_is_named(make: Make, entry: str) -> None:
    parts = refuse(make(floor="NUMBER = 7"), preload=("floor",), warm=(entry,))
    assert parts["code"] == "warm-missing"
    assert entry in str(parts["message"])


def test_atexit_registrations_of_imports_are_known_to_workers(make: Make) -> None:
    source = """
import atexit, logging
from atexit import register
def mine(*args): pass
def gone(): pass
atexit.register(mine, 1)
atexit.register(gone)
atexit.unregister(gone)
logging.basicConfig()
"""
    manager = make(floor=source)
    manager.bake(preload=("floor",))
    code = """
import atexit, floor
from zygote.audit.atexits import RECORDED
print([(entry.function.__name__, entry.args) for entry in RECORDED if not entry.standard])
print([entry.module for entry in RECORDED if entry.standard and entry.module == "logging"])
print(atexit.register, len(RECORDED) == len(RECORDED + [floor.register(floor.mine)]) - 1)
"""
    lines = manager.spawn(code).read().splitlines()
    assert lines[0] == "[('mine', (1,))]"
    assert lines[1] == "['logging']"
    assert lines[2] == "<built-in function register> True"


def test_bake_hung_up_meanwhile_ends_quietly(make: Make) -> None:
    assert make().hang_up() == 0


def test_bake_of_a_wrong_order_is_told(make: Make) -> None:
    parts = refuse_raw(make(), b"{}")
    assert parts["code"] == "bad-bake"


def refuse_raw(manager: MiniManager, body: bytes) -> dict[str, object]:
    import json

    from zygote.wire.messages import Kind, Packet

    manager.link.send(Packet(Kind.BAKE, body=body))
    packet = manager.receive()
    assert packet.kind is Kind.BAKE_FAILED
    return json.loads(packet.body)  # type: ignore[no-any-return]
