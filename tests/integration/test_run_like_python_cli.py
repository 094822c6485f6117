"""The differential test through the whole product: `zygotectl run -- …` against `python …`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.children import wait_for
from tests.support.forkserver import DEADLINE
from tests.support.programs import FLOOR, Bench, Program

PROGRAMS = Path(__file__).with_name("programs")
ROOT = PROGRAMS.parents[2]

NAMES = (
    "argv", "asyncio_interrupt", "atexits", "big_output", "broken_pipe", "command", "death_sigint",
    "death_sigkill", "death_sigpipe", "death_sigterm", "env", "exit_codes", "exit_negative",
    "exit_text", "fds", "folder", "full_stdout", "main_names", "missing_file", "missing_module",
    "module_package", "module_preloaded", "module_unittest", "multiprocessing_fork",
    "multiprocessing_spawn", "order", "process", "stdin_pipe", "streams",
    "streams_unbuffered", "subprocesses", "temporary", "threads_daemon", "traceback_of_file",
    "unflushed",
)  # fmt: skip
"""All that a stand-in for the program could spoil on the way: words, environment, streams, ends."""


@pytest.fixture(scope="module")
def zygotectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command, with a manager behind it."""
    folder = tmp_path_factory.mktemp("fleet")
    fleet, runtime = folder / "fleet.toml", folder / "run"
    fleet.write_text(
        f'[fleet]\nname = "programs"\n[zygote.floor]\n'
        f"preload = {json.dumps(FLOOR)}\npath = [{json.dumps(str(ROOT))}]\n"
    )
    reader, writer = os.pipe()
    with (folder / "manager.log").open("wb") as log:
        manager = subprocess.Popen(
            [
                *(sys.executable, "-m", "zygote.manager", "--fleet", str(fleet)),
                *("--runtime-dir", str(runtime), "--ready-fd", str(writer)),
            ],
            pass_fds=[writer],
            stdin=subprocess.DEVNULL,
            stderr=log,
            cwd=ROOT,
        )
    os.close(writer)
    try:
        with open(reader) as ready:
            answer = json.loads(ready.readline() or "{}")
        assert answer.get("ok"), (folder / "manager.log").read_text()
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        code += "from zygote.cli.app import main; sys.exit(main())"
        yield [sys.executable, "-c", code, "--runtime-dir", str(runtime), "run", "--"]
    finally:
        manager.send_signal(signal.SIGTERM)
        assert manager.wait(DEADLINE) == 0


@pytest.mark.parametrize("name", NAMES)
def test_zygotectl_run_like_python(zygotectl: list[str], tmp_path: Path, name: str) -> None:
    bench = Bench(tmp_path / "bench")
    program = Program.read(PROGRAMS / f"{name}.py", tmp_path)
    expected = bench.by_python(program)
    difference = expected.difference(bench.by_command(program, zygotectl))
    assert not difference, difference


WAITS = """
import signal, sys, time
signal.signal(signal.SIGUSR1, lambda number, frame: print("usr1", flush=True))
print("waits", flush=True)
try:
    while True:
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""


def test_zygotectl_run_passes_signals_on(zygotectl: list[str], tmp_path: Path) -> None:
    with (tmp_path / "output").open("wb") as output:
        running = subprocess.Popen(
            [*zygotectl, "-c", WAITS], stdout=output, stderr=subprocess.DEVNULL
        )
    wait_for(tmp_path / "output", "waits")
    running.send_signal(signal.SIGUSR1)
    wait_for(tmp_path / "output", "usr1")
    running.send_signal(signal.SIGINT)
    assert running.wait(DEADLINE) == -signal.SIGINT
    assert (tmp_path / "output").read_text() == "waits\nusr1\ninterrupted\n"
