"""The differential test on a terminal: the same program, the same person typing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.children import wait
from tests.support.forkserver import DEADLINE, MiniManager
from tests.support.programs import FLOOR, Bench, Program
from tests.support.terminals import converse

PROGRAMS = Path(__file__).with_name("programs") / "tty"
ROOT = PROGRAMS.parents[3]


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniManager]:
    made = MiniManager(tmp_path_factory.mktemp("zygote") / "zygote.log", cwd=ROOT)
    try:
        made.bake(preload=FLOOR)
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_run_like_python_on_a_terminal(manager: MiniManager, tmp_path: Path, path: Path) -> None:
    program = Program([str(path)], env={"TERM": "dumb"})
    bench = Bench(tmp_path, manager)
    turns, size = script(path)
    statuses = []

    def by_python(terminal: int) -> None:
        nonlocal running
        running = subprocess.Popen(
            [sys.executable, *program.command],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=bench.env(program),
            cwd=tmp_path,
            process_group=0,
        )

    def by_zygote(terminal: int) -> None:
        statuses.append(bench.start(program, [terminal] * 3))

    running: subprocess.Popen[bytes]
    expected = converse(by_python, turns, size)
    status = running.wait(DEADLINE)
    assert converse(by_zygote, turns, size).decode() == expected.decode()
    assert wait(statuses[0]) == status
    assert expected


def script(path: Path) -> tuple[list[tuple[bytes, bytes]], tuple[int, int]]:
    """What is waited for and typed, by the leading comments, and the terminal's size."""
    seen, typed, size = [], [], (24, 80)
    for line in path.read_text().splitlines():
        key, _, value = line.removeprefix("# ").partition(": ")
        if key == "see":
            seen.append(ast.literal_eval(f"b{value}"))
        elif key == "type":
            typed.append(ast.literal_eval(f"b{value}"))
        elif key == "size":
            rows, columns = map(int, value.split())
            size = (rows, columns)
        else:
            break
    return list(zip(seen, typed, strict=True)), size


def test_stopped_program_goes_on(manager: MiniManager, tmp_path: Path) -> None:
    """Ctrl-Z's signal stops a program as `run` starts it: its group is not an orphan."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGTSTP); print('goes on')"
    bench = Bench(tmp_path, manager)
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = bench.start(Program(["-c", code]), [null, writer, null])
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        os.kill(pid, 18)
        assert wait(pid) == 0
        assert os.read(reader, 100) == b"goes on\n"
    finally:
        for descriptor in (reader, writer, null):
            os.close(descriptor)
