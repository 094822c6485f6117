"""Wrong fleet files through the command line and the manager: refused as a whole, with the way out.

What is said of each single fault is tested in tests/unit/test_fleet_wrong.py. Here: that it comes
to the person who typed the command, and that nothing is started, made or lost for it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.fleetfile import write_fleet
from tests.support.managers import Manager, alive, managers, worker
from tests.unit.test_fleet_wrong import WRONG, Wrong
from zygote.errors import Exit

ZYGOTECTL = str(Path(sys.executable).with_name("zygotectl"))
BY_NAME = {wrong.name: wrong for wrong in WRONG}
CHOSEN = [
    "unquoted_size", "table_twice", "no_fleet", "bad_name", "variable_unset", "unknown_table",
    "worker_without_name", "near_miss", "systemd_word", "size_unit", "time_unit", "restart_word",
    "env_number", "zygote_unknown", "after_unknown", "cycle", "run_missing_module",
    "run_missing_function", "run_file_missing", "preload_missing",
]  # fmt: skip
"""One of each kind; starting a command for all of them would take minutes."""


def zygotectl(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ZYGOTECTL, *words],
        cwd=cwd,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize("wrong", [BY_NAME[name] for name in CHOSEN], ids=CHOSEN)
def test_bad_fleet_check_names_line_value_and_remedy(tmp_path: Path, wrong: Wrong) -> None:
    write_fleet(tmp_path, wrong.text)
    done = zygotectl("check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (Exit.FLEET_FILE, "")
    fault, hint, *_ = done.stderr.splitlines()
    assert fault.startswith(f"fleet.toml:{wrong.line}: ")
    assert wrong.says in fault
    assert hint.startswith("  hint: ")
    assert wrong.hint in hint


def test_bad_fleet_check_as_json(tmp_path: Path) -> None:
    write_fleet(tmp_path, BY_NAME["size_unit"].text + 'nice = 99\nfoo = "bar"\n')
    done = zygotectl("check", "--json", cwd=tmp_path)
    assert done.returncode == Exit.FLEET_FILE
    answer = json.loads(done.stdout)
    assert answer["ok"] is False
    assert [(each["code"], each["place"]) for each in answer["errors"]] == [
        ("bad-unit", "fleet.toml:6"),
        ("out-of-range", "fleet.toml:7"),
        ("unknown-key", "fleet.toml:8"),
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("check",), Exit.NO_SUCH_WORKER),
        (("check", "gone.toml"), Exit.NO_SUCH_WORKER),
        (("--fleet", "gone.toml", "up"), Exit.NO_SUCH_WORKER),
    ],
)
def test_bad_fleet_that_is_not_there(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    done = zygotectl(*words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert str(tmp_path) in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\xff\xfe[\0", "is not UTF-8"),
        (b"#" * 2**20 + b"\n", "at most 1048576"),
    ],
)
def test_bad_fleet_that_is_no_text(tmp_path: Path, content: bytes, says: str) -> None:
    write_fleet(tmp_path, content)
    done = zygotectl("check", cwd=tmp_path)
    assert done.returncode == Exit.FLEET_FILE
    assert says in done.stderr
    assert "hint: " in done.stderr


@pytest.mark.parametrize("words", [("up",), ("up", "--detach")], ids=["foreground", "detached"])
@pytest.mark.parametrize("name", ["unquoted_size", "cycle", "preload_missing"])
def test_bad_fleet_up_starts_nothing(tmp_path: Path, words: tuple[str, ...], name: str) -> None:
    wrong = BY_NAME[name]
    write_fleet(tmp_path, wrong.text)
    run = tmp_path / "run"
    done = zygotectl("--runtime-dir", str(run), *words, cwd=tmp_path)
    assert done.returncode == Exit.FLEET_FILE, done.stderr
    assert f"fleet.toml:{wrong.line}" in done.stderr
    assert wrong.says in done.stderr
    assert wrong.hint in done.stderr
    assert "Traceback" not in done.stderr
    made = {entry.name for entry in run.iterdir()} if run.exists() else set()
    assert made <= {"manager.log"}, "no socket, lock, state or log of a fleet that cannot start"


def test_bad_fleet_up_tells_all_faults(tmp_path: Path) -> None:
    write_fleet(tmp_path, BY_NAME["size_unit"].text + 'nice = 99\nfoo = "bar"\n')
    done = zygotectl("--runtime-dir", str(tmp_path / "run"), "up", cwd=tmp_path)
    assert done.returncode == Exit.FLEET_FILE
    for line in (6, 7, 8):
        assert f"fleet.toml:{line}" in done.stderr


# A fleet that runs


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Manager]]:
    async with managers(tmp_path) as make:
        yield make


async def test_bad_fleet_reload_is_refused_and_the_fleet_runs_on(
    make: Callable[..., Manager],
) -> None:
    manager = await make(worker("web", "sleeper")).start()
    web = await manager.until("web", lambda w: w.ready)
    good = manager.file.read_text()
    line = good.count("\n") + 1
    manager.file.write_text(good + 'memory_max = "128MB"\nnice = 99\n')
    words = ("--fleet", str(manager.file), "--runtime-dir", str(manager.run))
    done = await asyncio.to_thread(zygotectl, *words, "reload", cwd=manager.folder)
    assert done.returncode == Exit.FLEET_FILE, done.stderr
    assert f"fleet.toml:{line}" in done.stderr
    assert 'did you mean "128M"?' in done.stderr
    assert "1 more" in done.stderr, "that there is a second fault, too"
    assert (await manager.worker("web")).pid == web.pid
    assert alive(web.pid)


async def test_bad_fleet_file_keeps_nobody_from_the_manager(make: Callable[..., Manager]) -> None:
    manager = make(worker("web", "sleeper"))
    text = manager.file.read_text().replace('name = "tiny"', 'name = "tiny"\nruntime_dir = "run"')
    manager.file.write_text(text)
    await manager.start()
    await manager.until("web", lambda w: w.ready)
    manager.file.write_text(text + "memory_max = 128M\n")
    done = await asyncio.to_thread(zygotectl, "ps", "--json", cwd=manager.folder)
    assert done.returncode == Exit.DONE, done.stderr
    assert '"web"' in done.stdout
