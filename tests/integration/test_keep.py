"""Code that ran is shared again: a worker of a baked floor, before and after `reshare`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from tests.support.forkserver import MiniManager

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="no immortal reference counts before Python 3.12"
)
MANY = 300
FLOOR = """
import asyncio, traceback
from zygote.memory import reshare

class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y
    @property
    def size(self):
        return self.x * self.x + self.y * self.y
    def __getitem__(self, key):
        return self.x if key == 0 else self.y

def deep(n, then):
    total = 0
    for k in range(2):
        total += k
    if n:
        total += deep(n - 1, then)
    else:
        total += bool(then())
    point = Point(n, total)
    return point.size + point[0] + point[1]

def count(n):
    for k in range(n):
        got = yield k
        if got:
            yield got * k

async def wait(n, then):
    async def one(k):
        await asyncio.sleep(0)
        if k == 3:
            then()
        await asyncio.sleep(0)
        return k * k
    return sum(await asyncio.gather(*(one(k) for k in range(n))))

def fails(then):
    try:
        then()
        raise ValueError("on purpose")
    except ValueError as error:
        return traceback.extract_tb(error.__traceback__)[-1].lineno

def all_of_it(then=lambda: True):
    yielded = count(6)
    first = [next(yielded), yielded.send(2)]
    then()
    return [deep(5, then), first + list(yielded), asyncio.run(wait(5, then)), fails(then), work()]

{functions}
def work():
    return sum(function(3) for function in FUNCTIONS)

def warm():
    for _ in range(20):
        all_of_it()
"""
FUNCTION = """
def f{n}(x):
    total = {n}
    for k in range(x):
        if k & 1:
            total += k
        elif k > 100:
            total -= k
        while total > 1000:
            total -= 1000
    return total
"""
PROGRAM = """
import json, os, sys
import kept_floor
from zygote.memory import reshare
from zygote.sys import procfs

def own():
    return procfs.read_memory(os.getpid()).uss_kib

kept_floor.all_of_it()
worked = own()
done = reshare()
shared = own()
plain = kept_floor.all_of_it()
amid = kept_floor.all_of_it(reshare)
sys.settrace(lambda *_: None)
traced = reshare()
sys.settrace(None)
after = kept_floor.all_of_it(reshare)
monitored = None
if hasattr(sys, "monitoring"):
    sys.monitoring.use_tool_id(2, "somebody")
    monitored = reshare()
    sys.monitoring.free_tool_id(2)
import threading
wrong = []
def run():
    for _ in range(20):
        if kept_floor.all_of_it() != plain:
            wrong.append(1)
threads = [threading.Thread(target=run) for _ in range(3)]
sys.setswitchinterval(1e-5)
for thread in threads:
    thread.start()
while any(thread.is_alive() for thread in threads):
    reshare()
print(json.dumps([worked, shared, done, plain, amid, after, traced, monitored, wrong]))
"""

FIRST_LINE = """
import os
maps = os.open("/proc/self/smaps", os.O_RDONLY)
text = b""
while more := os.read(maps, 65536):
    text += more
for name in b"zygote-code", b"zygote-lookups":
    own = 0
    for place in text.split(b"/memfd:" + name)[1:]:
        _, _, after = place.partition(b"Anonymous:")
        own += int(after.split(None, 1)[0])
    print(own)
"""
"""KiB of what was kept that are the worker's alone."""


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    folder = tmp_path_factory.mktemp("keep")
    functions = "".join(FUNCTION.format(n=n) for n in range(MANY))
    functions += "FUNCTIONS = [" + ", ".join(f"f{n}" for n in range(MANY)) + "]\n"
    (folder / "kept_floor.py").write_text(FLOOR.replace("{functions}", functions))
    manager = MiniManager(folder / "zygote.log", cwd=folder)
    try:
        report = manager.bake(preload=("kept_floor",), warm=("kept_floor:warm",))
        assert "keep" in [stage["name"] for stage in report["stages"]], report["skipped"]
        yield manager
    finally:
        manager.close()


def test_code_is_shared_again_and_runs_as_before(manager: MiniManager) -> None:
    for _ in range(2):
        worker = manager.spawn(PROGRAM)
        (
            worked, shared, done, plain, amid, after, traced, monitored, wrong,
        ) = json.loads(worker.read())  # fmt: skip
        assert worker.wait() == 0
        assert done is True
        assert worked - shared > 100, "KiB of 300 functions with branches"
        assert plain == amid == after
        assert wrong == [], "threads ran meanwhile"
        assert traced is False
        assert monitored in (None, False)


def test_what_the_set_up_wrote_is_shared_again_when_the_program_begins(
    manager: MiniManager,
) -> None:
    for _ in range(2):
        worker = manager.spawn(FIRST_LINE)
        code, lookups = map(int, worker.read().split())
        assert worker.wait() == 0
        assert 0 < code <= 48, "the set-up alone writes to some 150 KiB of code"
        assert 0 < lookups <= 48, "and to more than 60 of 92 KiB of look-ups"
