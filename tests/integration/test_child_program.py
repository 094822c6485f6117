"""Workers: what they run beside what `python` can, what they inherit, and how they end."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.children import Made, private_bytes, spawn, started, wait_for
from tests.support.forkserver import MiniManager
from tests.support.programs import FLOOR

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    made = MiniManager(tmp_path_factory.mktemp("zygote") / "zygote.log", cwd=ROOT)
    try:
        made.bake(preload=FLOOR)
        yield made
    finally:
        made.close()


def call(manager: MiniManager, folder: Path, name: str) -> Made:
    target = f"tests.support.callables:{name}"
    return spawn(manager, folder, run={"kind": "function", "target": target}, args=["a", "b"])


@pytest.mark.parametrize(
    ("name", "status"),
    [("none", 0), ("number", 7), ("coroutine", 5), ("later", 6), ("Holder.inner", 9)],
)
def test_function_result_is_the_status(
    manager: MiniManager, tmp_path: Path, name: str, status: int
) -> None:
    assert call(manager, tmp_path, name).status == status


def test_function_sees_its_arguments(manager: MiniManager, tmp_path: Path) -> None:
    made = call(manager, tmp_path, "none")
    argv = ["tests.support.callables:none", "a", "b"]
    assert made.lines == [f"called tests.support.callables {argv} None"]


def test_function_message_goes_to_stderr(manager: MiniManager, tmp_path: Path) -> None:
    made = call(manager, tmp_path, "message")
    assert (made.status, made.output) == (1, "a message for stderr\n")


@pytest.mark.parametrize("name", ["raises", "raises_later"])
def test_function_traceback_has_no_frame_of_ours(
    manager: MiniManager, tmp_path: Path, name: str
) -> None:
    made = call(manager, tmp_path, name)
    assert made.status == 1
    assert made.lines[-1].startswith("ValueError: from a ")
    assert "zygote/child" not in made.output


@pytest.mark.parametrize(
    ("target", "last_line"),
    [
        ("no_such_module:main", "ModuleNotFoundError: No module named 'no_such_module'"),
        (
            "tests.support.callables:missing",
            "AttributeError: module 'tests.support.callables' has no attribute 'missing'",
        ),
        ("tests.support.callables:Holder.none", "AttributeError: type object 'Holder' has no"),
    ],
)
def test_function_missing_is_told(
    manager: MiniManager, tmp_path: Path, target: str, last_line: str
) -> None:
    made = spawn(manager, tmp_path, run={"kind": "function", "target": target})
    assert made.status == 1
    assert made.lines[-1].startswith(last_line)


def test_worker_elsewhere_still_finds_its_floors_modules(
    manager: MiniManager, tmp_path: Path
) -> None:
    """The floor's folder stays on the path of a worker that runs in another one, at its end."""
    run = {"kind": "module", "target": "tests.support.callables"}
    assert spawn(manager, tmp_path, run=run).status == 0
    code = "import sys, os; print(sys.path[0] == '', sys.path[-1])"
    assert spawn(manager, tmp_path, code).lines == [f"True {ROOT}"]


INHERITED = {
    "context variable": ("from tests.support import floor; print(floor.CONTEXT.get())", "none"),
    "decimal context": ("import decimal; print(decimal.getcontext().prec)", "28"),
    "environment": ("import os; print('FLOOR_WAS_HERE' in os.environ)", "False"),
    "signal handler": ("import signal; print(int(signal.getsignal(signal.SIGUSR1)))", "0"),
    "ignored signal": ("import signal; print(int(signal.getsignal(signal.SIGHUP)))", "0"),
    "signal mask": ("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))", "set()"),
    "temporary folder": ("import tempfile; print(tempfile.gettempdir())", "{folder}"),
    "exit callbacks": ("print('end')", "end"),
    "unwritten output": ("print('alone')", "alone"),
    "collector": ("import gc; print(gc.isenabled())", "True"),
    "main module": (
        "import __main__; print(sorted(n for n in vars(__main__) if n[0] != '_'))",
        "[]",
    ),
    "thread": (
        "import threading, os; "
        "print(threading.main_thread().native_id == os.getpid(), threading.active_count())",
        "True 1",
    ),
}


@pytest.mark.parametrize("case", INHERITED)
def test_worker_does_not_inherit(manager: MiniManager, tmp_path: Path, case: str) -> None:
    code, expected = INHERITED[case]
    made = spawn(manager, tmp_path, code, env={"TMPDIR": str(tmp_path)})
    assert made.output == expected.format(folder=tmp_path) + "\n"


def test_worker_keeps_logging_of_its_floor(manager: MiniManager, tmp_path: Path) -> None:
    """A handler that the floor put on its stderr writes to the worker's."""
    code = (
        "import logging, sys; sys.stderr.reconfigure(write_through=False, line_buffering=False)\n"
    )
    code += "logging.getLogger('floor').error('seen')\n"
    code += "print(logging.getLogger('floor').handlers[0].stream is sys.stderr, flush=True)"
    assert spawn(manager, tmp_path, code).lines == ["seen", "True"]


NUMPY = "import numpy.random; print(numpy.random.random())"


def test_worker_numpy_is_seeded_anew(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    # Its BLAS starts threads while it is imported if it may.
    manager = MiniManager(tmp_path / "zygote.log", env={"OPENBLAS_NUM_THREADS": "1"})
    try:
        manager.bake(preload=("numpy",))
        drawn = {spawn(manager, tmp_path, NUMPY).output for _ in range(3)}
        assert len(drawn) == 3
    finally:
        manager.close()


IDLE = """
import os, signal

def linger(code):
    print("at the end", flush=True)
    signal.pause()

os._exit = linger  # the very last of the end, when all else of it is done
print("idle", flush=True)
signal.sigwait({signal.SIGTERM})
"""


def test_end_costs_little_private_memory(manager: MiniManager, tmp_path: Path) -> None:
    """A whole finalisation would copy the floor; the part that is done must not."""
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
    with started(manager, tmp_path, block + IDLE) as made:
        wait_for(tmp_path / "output", "idle")
        before = private_bytes(made.pid)
        os.kill(made.pid, signal.SIGTERM)
        wait_for(tmp_path / "output", "at the end")
        grown = private_bytes(made.pid) - before
    assert grown < 5_000_000, f"{grown / 1e6:.1f} MB"


def test_end_by_interrupt_is_a_signal(manager: MiniManager, tmp_path: Path) -> None:
    made = spawn(manager, tmp_path, "raise KeyboardInterrupt")
    assert made.status == -signal.SIGINT
    assert re.fullmatch(r"Traceback.*KeyboardInterrupt", made.output.strip(), re.DOTALL)
