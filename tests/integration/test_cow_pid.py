"""`zygotectl cow --pid`: forks of programs that know nothing of us."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli

MANY = 10_000
PROGRAM = f"""
import gc, os, sys
COUNTER = 0
CACHE = {{}}
class Order:
    total = 0
    def __init__(self, number):
        self.number = number
ORDERS = [Order(number) for number in range({MANY})]
gc.collect()
gc.freeze()

def work():
    global COUNTER
    for number in range(3000):
        COUNTER += 1
        CACHE[number] = f"order {{number}}"
        Order.total += number
    return [(order,) for order in ORDERS]

def child():
    kept = work()
    print(os.getpid(), os.getppid(), flush=True)
    sys.stdin.read()
"""
BY_FORK = """
if not (pid := os.fork()):
    child()
    os._exit(0)
os.waitpid(pid, 0)
"""
BY_MULTIPROCESSING = """
import multiprocessing
def main():
    sys.stdin = open(0, closefd=False)
    child()
process = multiprocessing.get_context("fork").Process(target=main)
process.start()
process.join()
"""


@pytest.fixture(params=[BY_FORK, BY_MULTIPROCESSING], ids=["fork", "multiprocessing"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The pids of a child and its parent, while they wait."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + request.param)
    with subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        child, parent = map(int, process.stdout.readline().split())
        yield child, parent
        process.communicate("")


def kib(report: Any, **wanted: str) -> float:
    return sum(
        row["kib"]
        for row in report["objects"]
        if all(row[field] == value for field, value in wanted.items())
    )


def test_cow_names_the_objects_of_any_forked_program(pair: tuple[int, int], tmp_path: Path) -> None:
    child, parent = pair
    report = Cli(tmp_path)("cow", "--pid", str(child), "--json").json
    assert report["pid"] == child
    assert report["compared_with"] == f"pid {parent}"
    assert report["attributed_kib"] >= 0.9 * report["private_kib"]

    assert kib(report, cause="reference count", type="Order", module="__main__") > 300
    assert kib(report, cause="value written", module="__main__", name="COUNTER") > 0
    assert kib(report, cause="fresh allocation", module="__main__", name="CACHE") > 200
    assert kib(report, module="__main__", name="Order.total") > 0
    assert any("no witness" in note for note in report["notes"])


def test_cow_refuses_a_process_that_is_no_fork(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "100"]) as process:
        try:
            done = Cli(tmp_path)("cow", "--pid", str(process.pid), code=2)
        finally:
            process.kill()
    assert "was not forked from" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_cow_says_whose_process_it_may_not_look_at() -> None:
    """As nobody, on a process of root's."""
    code = f"""
import os
from zygote.errors import ZygoteError
from zygote.inspect.memory import Memory
os.setgid(65534)
os.setuid(65534)
try:
    Memory({os.getpid()})
except ZygoteError as error:
    print(error.exit_code, error.message, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.stdout.startswith("5 ")
    assert "belongs to uid 0, we are uid 65534: use sudo" in done.stdout
