"""Objects of the floor that a worker changes, replaces and drops: they cost once, not each time.

Nothing of the floor is ever freed in a worker. So what counts is that a worker which goes on
changing it does not grow by that: after ten thousand rounds it has grown no more than a cold
process that did the same.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.forkserver import MiniManager

FLOOR = '''
import collections, functools, gc, json, weakref

class Row:
    def __init__(self, number):
        self.number, self.name, self.me = number, f"row {number}", self
    def double(self):
        return self.number * 2

def once(number): return number + 1
def twice(number): return number + 2
@functools.lru_cache(maxsize=200)
def look(number): return "x" * (number % 90), number

TABLE = {f"key {n}": [n] * 6 for n in range(2000)}
ROWS = [Row(n) for n in range(2000)]
NAMES = [f"name {n}" for n in range(2000)]
SETS = [set(range(n % 50)) for n in range(500)]
BUFFER = bytearray(5000)
QUEUE = collections.deque(range(500), maxlen=500)
WEAK = weakref.WeakValueDictionary()
ERROR = ValueError("of the floor")
look(1), look(2)
made = [0, 0]

def gone(reference):
    WATCH.discard(reference)
    made[1] += 1

def work(number):
    """One round: something of each kind is read, replaced, grown, shrunk and dropped."""
    key = f"key {number % 2000}"
    TABLE[key] = [*TABLE.pop(key), number][-6:]
    TABLE[f"new {number}"] = TABLE[key]
    TABLE.pop(f"new {number - 50}", None)
    row = Row(number)
    made[0] += 1
    ROWS[number % 2000] = row
    WATCH.add(weakref.ref(row, gone))
    WEAK[number % 100] = row
    ROWS.extend(ROWS[:200])
    del ROWS[2000:]
    NAMES[number % 2000] = NAMES[number % 2000][:20] + str(number)
    NAMES.append(NAMES.pop(0))
    SETS[number % 500].update(range(number % 70))
    SETS[number % 500].clear()
    BUFFER.extend(bytes(number % 1000))
    del BUFFER[5000:]
    QUEUE.append(number)
    look(number)
    once.__code__, twice.__code__ = twice.__code__, once.__code__.replace(co_name=f"n{number % 9}")
    once.__defaults__ = (number,)
    once.note = [number]
    Row.double = lambda self: self.number + number
    Row.latest = number
    globals()[f"name_{number % 30}"] = [number]
    try:
        raise ERROR.with_traceback(None)
    except ValueError as error:
        error.__traceback__ = None
    assert row.double() == 2 * number and once(number) > number
    assert json.loads(json.dumps(TABLE[key])) == TABLE[key]

WATCH = set()
SETTLE = 15_000  # by then each object of the floor was reached, and the heap is as large as it gets

def private():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return 1024 * sum(int(l.split()[1]) for l in lines if l.startswith("Private"))

def run(rounds):
    for number in range(SETTLE):
        work(number)
    gc.collect()
    before = private()
    for number in range(SETTLE, SETTLE + rounds):
        work(number)
    gc.collect()
    after = private()
    print(json.dumps({"before": before, "grown": after - before, "after": after, "made": made[0],
                      "gone": made[1], "rows": len(ROWS), "table": len(TABLE)}), flush=True)
'''
ROUNDS = 10_000
SLACK = 256 << 10
"""Bytes that two runs of the same code may differ by: where the allocator's last page ends."""


def run_cold(folder: Path) -> dict[str, Any]:
    code = f"import changing_floor; changing_floor.run({ROUNDS})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("changing")
    (folder / "changing_floor.py").write_text(FLOOR)
    manager = MiniManager(folder / "zygote.log", cwd=folder)
    try:
        manager.bake(preload=("changing_floor",))
        worker = manager.spawn(f"import changing_floor; changing_floor.run({ROUNDS})")
        baked = worker.json()
        assert worker.wait() == 0
    finally:
        manager.close()
    return {"cold": run_cold(folder), "baked": baked}


def test_changing_the_floor_grows_no_more_than_in_a_cold_process(
    figures: dict[str, dict[str, Any]],
) -> None:
    cold, baked = figures["cold"], figures["baked"]
    assert baked["grown"] <= max(cold["grown"], 0) + SLACK, figures
    assert baked["after"] <= cold["after"] + SLACK, figures


def test_changing_the_floor_leaves_the_same_objects(figures: dict[str, dict[str, Any]]) -> None:
    cold, baked = figures["cold"], figures["baked"]
    assert baked["rows"] == cold["rows"] == 2000
    assert baked["table"] == cold["table"]
    # What the worker itself made is freed as ever: all but the rows that are in the list.
    assert baked["made"] == cold["made"]
    assert baked["made"] - baked["gone"] == cold["made"] - cold["gone"] <= 2000
