"""What benchmarks/drift.py says of a worker's pages, on a worker that does just that."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drift import drift
from benchmarks.support import unshared
from benchmarks.support.looks import Look, read_table
from tests.support.forkserver import MiniManager
from zygote.sys import procfs

MB = 1 << 20
FLOOR = f"BLOCK = bytearray(b'x') * (8 * {MB})"
WORK = f"""
import floor, pathlib, time
print("idle", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.01)
for at in range(0, 5 * {MB}, 4096):
    floor.BLOCK[at] = 1
mine = bytearray(b"y") * (3 * {MB})
print("stored", flush=True)
time.sleep(600)
"""


@pytest.fixture
def manager(tmp_path: Path) -> MiniManager:  # type: ignore[misc]
    (tmp_path / "floor.py").write_text(FLOOR)
    manager = MiniManager(tmp_path / "zygote.log", cwd=tmp_path)
    yield manager
    manager.close()


def test_pages_copied_from_the_floor_and_pages_beyond_it_are_told_apart(
    manager: MiniManager,
) -> None:
    manager.bake(preload=("floor",))
    worker = manager.spawn(WORK)
    assert worker.line() == "idle"
    before = split(manager, worker.pid)
    (manager.cwd / "go").touch()
    assert worker.line() == "stored"
    after = split(manager, worker.pid)
    assert 5 * MB <= after.unshared - before.unshared < 6 * MB
    assert 3 * MB <= after.fresh - before.fresh < 4 * MB
    memory = procfs.read_memory(worker.pid)
    assert memory is not None
    assert abs(sum(after) - memory.uss_kib * 1024) <= MB // 4


def split(manager: MiniManager, pid: int) -> unshared.Split:
    floor = unshared.read_pages(manager.process.pid)
    pages = unshared.read_pages(pid)
    assert floor is not None
    assert pages is not None
    return unshared.split(pages, unshared.addresses(floor))


def test_pages_of_a_process_that_is_gone_are_none() -> None:
    assert unshared.read_pages((1 << 22) + 1) is None


def look(at: float, pid: int, uss: int, copied: int, restarts: int = 0) -> Look:
    return Look(at, "w", pid, uss, uss, uss, 0, copied, uss - copied, 0, restarts)


def test_drift_counts_from_minute_one_of_the_process_that_runs() -> None:
    old = [look(at, 7, 900, 800) for at in (0.0, 30.0, 60.0)]
    new = [look(90, 8, 100, 50, 1), look(120, 8, 200, 90, 1), look(150, 8, 300, 110, 1)]
    (row,) = drift([*old, *new, look(180, 8, 450, 160, 1)])
    assert (row["from_s"], row["to_s"]) == (150, 180)
    assert (row["uss_gained"], row["unshared_gained"]) == (150, 50)
    assert (row["processes"], row["restarts"]) == (2, 1)


def test_drift_of_a_run_that_hardly_has_a_minute_counts_from_the_second_look() -> None:
    (row,) = drift([look(at, 7, 100 + int(at), 50) for at in (0.0, 15.0, 30.0, 61.0)])
    assert (row["from_s"], row["to_s"], row["uss_gained"]) == (15, 61, 46)


def test_drift_without_its_zygote_leaves_the_split_out() -> None:
    (row,) = drift([look(0, 7, 10, 5), look(60, 7, 20, 5), look(90, 7, 40, -1)])
    assert row["uss_gained"] == 20
    assert row["unshared_gained"] is None


def test_table_that_was_cut_short_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = tmp_path / "drift.csv"
    file.write_text("time,worker,pid\n1.0,bus,7,1,2,3,4,5,6,7,0\n2.0,bus,7,1,2")
    assert [each.worker for each in read_table(file)] == ["bus"]
