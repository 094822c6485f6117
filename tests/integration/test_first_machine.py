"""A newcomer's machine that is unlike ours: a fleet works on it, or it is said what is missing."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import test_first_ten_minutes as first
from tests.support import mounts
from tests.support.cli import COMMAND, plain
from tests.support.newcomer import (
    APP,
    FLEET,
    NOBODY,
    Cases,
    Newcomer,
    at_home,
    in_namespace,
    needs_root,
)  # fmt: skip

case, on_running = Cases(), Cases()


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Newcomer]:
    with at_home(tmp_path) as person:
        yield person


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """One whose fleet runs."""
    with at_home(tmp_path_factory.mktemp("runs")) as person:
        assert person.at("--runtime-dir", "run", "up", "-d").code == 0
        yield person


# The machine ---------------------------------------------------------------------------------


@case
def home_is_unset(person: Newcomer) -> None:
    person.works(unset=("HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR"))


@case
def home_cannot_be_written(person: Newcomer) -> None:
    person.works(HOME="/proc/none", TMPDIR="/proc/none", XDG_CONFIG_HOME="/proc/none")


@case
def umask_077(person: Newcomer) -> None:
    person.works(through=("sh", "-c", 'umask 077; exec "$@"', "sh"))


@case
def spaces_and_unicode_in_the_path(person: Newcomer) -> None:
    folder = person.folder / "My Projects – 工作 %i ${x}"
    folder.mkdir()
    Newcomer(folder).write().works(runtime=person.folder / "run")


@case
def path_of_200_characters(person: Newcomer) -> None:
    folder = person.folder / ("x" * 100) / ("y" * 100)
    folder.mkdir(parents=True)
    long = Newcomer(folder).write()
    long.works(runtime=person.folder / "run")
    long.write(FLEET.replace('name = "first"', 'name = "first"\nruntime_dir = "run"'))
    long.says("check", "107", "shorter", code=7)


@case
def plain_locale(person: Newcomer) -> None:
    """LANG=C, and Python told not to mend that."""
    folder = person.folder / "wörk"
    folder.mkdir()
    plainly = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    # What a program prints itself is its own affair: under this locale Python refuses an umlaut.
    Newcomer(folder).write(app=APP.replace(": äöü", "")).works(**plainly)
    for words in ("--help", "help fleet-file", "nonsense"):
        done = Newcomer(folder).at(*words.split(), **plainly)
        assert done.code in (0, 2), (words, done)


@case
def proxies_are_set(person: Newcomer) -> None:
    proxy = "http://127.0.0.1:9"
    person.works(http_proxy=proxy, https_proxy=proxy, ALL_PROXY=proxy, HTTP_PROXY=proxy)


@case
def few_open_files(person: Newcomer) -> None:
    """48 are enough for a small fleet; with 12 it says what is short."""
    person.works(through=("prlimit", "--nofile=48:48"))
    for few in ("10", "12"):  # the command itself runs short of them, or the manager does
        person.says("--runtime-dir run up -d", "ulimit -n", code=1,
                    through=("prlimit", f"--nofile={few}:{few}"))  # fmt: skip


@case
def clock_is_wrong(person: Newcomer) -> None:
    """The year 1971 while it runs, files from the future; nothing is late, nothing expires."""
    (person.folder / "sitecustomize.py").write_text(
        "import time\n_now = time.time\ntime.time = lambda: _now() % 31536000 + 31536000\n"
    )
    os.utime(person.folder / "fleet.toml", (4e9, 4e9))
    person.works(PYTHONPATH=str(person.folder))


@case
def no_bytecode_may_be_written(person: Newcomer) -> None:
    person.works(PYTHONDONTWRITEBYTECODE="1")


@case
def started_with_nohup(person: Newcomer) -> None:
    person.works(through=("nohup",))


@case
def current_folder_is_gone(person: Newcomer) -> None:
    gone = person.folder / "gone"
    gone.mkdir()
    line = f'rmdir "{gone}"; exec "$@"'
    done = person.at("ps", cwd=gone, through=("sh", "-c", line, "sh"))
    assert done.code != 0 and "hint:" in done.err, done


@case
def read_only_checkout(person: Newcomer) -> None:
    needs_root()
    with mounts.tmpfs(person.folder / "disc", "1m") as disc:
        Newcomer(disc).write()
        mounts.make_read_only(disc)
        Newcomer(disc).works(runtime=person.folder / "run")
        Newcomer(disc).says("--runtime-dir run up", "Read-only file system", code=1)
        Newcomer(disc).says("init --force", "Read-only file system", "--dry-run", code=1)


@case
def disk_is_full(person: Newcomer) -> None:
    needs_root()
    with mounts.tmpfs(person.folder / "disc", "1m") as disc:
        Newcomer(disc).write()
        mounts.fill(disc)
        done = Newcomer(disc).says("--runtime-dir run up -d", "No space left on device", code=1)
        assert "--runtime-dir" in done.err
        Newcomer(disc).says("init --force", "No space left on device", code=1)


@case
def folder_may_not_be_written(person: Newcomer) -> None:
    """As nobody, in a folder of somebody else's."""
    needs_root("setpriv")
    person.folder.chmod(0o755)
    person.says("--runtime-dir run up", "Permission denied", code=5, through=NOBODY)


@case
def another_user(person: Newcomer) -> None:
    """nobody runs a fleet of their own; of root's they are told that it is not theirs."""
    needs_root("setpriv")
    person.folder.chmod(0o755)
    with tempfile.TemporaryDirectory(prefix="ten-") as own:
        os.chown(own, 65534, 65534)
        person.works(runtime=Path(own, "run"), through=NOBODY)
    assert person.at("--runtime-dir", "run", "up", "-d").code == 0
    person.says("--runtime-dir run stop calm", "not", "sudo", code=5, through=NOBODY)
    assert "calm" in person.at("--runtime-dir", "run", "ps").out


@case
def user_of_a_worker_does_not_exist(person: Newcomer) -> None:
    person.add('user = "no-such-user"\n')
    person.says("--runtime-dir run up -d", "no-such-user", code=1)


@case
def container_without_dev_shm(person: Newcomer) -> None:
    needs_root()
    through = in_namespace(
        "umount -l /dev/shm 2>/dev/null; mount -t tmpfs -o ro none /dev/shm", "-m"
    )
    person.works(through=through)


@case
def container_with_its_own_pids(person: Newcomer) -> None:
    """As process 1's child in a container: its numbers, its /proc."""
    needs_root()
    line = f"{' '.join(COMMAND)} --runtime-dir run"
    script = f"{line} up -d && {line} ps && {line} logs calm && {line} down"
    done = subprocess.run(
        ["unshare", "-m", "-p", "-f", "--mount-proc", "sh", "-c", script], cwd=person.folder,
        env=person.env(), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "up: 1 of 1" in done.stdout, done


@case
def no_network_and_no_ipv6(person: Newcomer) -> None:
    """A network namespace with nothing in it: the manager needs no network at all."""
    needs_root()
    person.works(through=("unshare", "-n"))


@case
def no_proc(person: Newcomer) -> None:
    """A chroot without /proc says so."""
    needs_root()
    through = in_namespace("mount -t tmpfs none /proc", "-m")
    person.says("--runtime-dir run up -d", "/proc", code=1, through=through)


# The terminal, of a fleet that runs ----------------------------------------------------------


@on_running
def nobody_reads_the_output(person: Newcomer) -> None:
    for end in ("| true", ">&- 2>&-", ">/dev/full"):
        line = f"{' '.join(COMMAND)} --runtime-dir run ps {end}"
        done = subprocess.run(["sh", "-c", line], cwd=person.folder, capture_output=True,
                              text=True, env=person.env(), timeout=180, check=False)  # fmt: skip
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, (
            end,
            done,
        )


@on_running
def dumb_terminal(person: Newcomer) -> None:
    for words in (["ps"], ["--help"], ["top", "--once"]):
        with person.terminal("--runtime-dir", "run", *words, env={"TERM": "dumb"}) as terminal:
            assert os.waitstatus_to_exitcode(terminal.wait()) == 0
        assert "\x1b" not in terminal.seen, "no sequences for a terminal that knows none"


@on_running
def no_colour_wanted(person: Newcomer) -> None:
    with person.terminal("--runtime-dir", "run", "ps", env={"NO_COLOR": "1"}) as terminal:
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert "calm" in plain(terminal.seen) and "\x1b[3" not in terminal.seen


@pytest.mark.parametrize("name", case)
def test_first_machine(person: Newcomer, name: str) -> None:
    case[name](person)


@pytest.mark.parametrize("name", on_running)
def test_first_machine_with_a_fleet_that_runs(runner: Newcomer, name: str) -> None:
    on_running[name](runner)


def test_first_ten_minutes_are_a_long_list() -> None:
    assert len(first.case) + len(case) + len(on_running) >= 30
