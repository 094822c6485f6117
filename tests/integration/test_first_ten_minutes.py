"""What a newcomer meets in the first ten minutes: it works, or it says what to do.

Each case is tried on a real fleet, small, with `zygotectl`; set-up and `make run` are in
test_first_setup.py.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import mounts
from tests.support.cli import COMMAND, eventually, plain
from tests.support.newcomer import APP, FLEET, NOBODY, Newcomer, in_namespace, needs_root

Case = Callable[[Newcomer], None]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """One line of the list."""
    CASES[function.__name__] = function
    return function


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Newcomer]:
    person = Newcomer(tmp_path).write()
    yield person
    for socket_path in tmp_path.rglob("control.sock"):  # where a case has failed half-way
        person.at("--runtime-dir", str(socket_path.parent), "down")


# The file ------------------------------------------------------------------------------------


@case
def no_fleet_file(person: Newcomer) -> None:
    (person.folder / "fleet.toml").unlink()
    person.says("up", "no fleet.toml in", "zygotectl init", code=4)
    person.says("ps", "no fleet.toml in", code=4)


@case
def fleet_file_is_a_folder_without_one(person: Newcomer) -> None:
    (person.folder / "sub").mkdir()
    person.says("-f sub up", "sub", code=7)


@case
def typo_in_a_key(person: Newcomer) -> None:
    person.add('memmory_max = "64M"\n')
    person.says("check", "fleet.toml:9", "memmory_max", "memory_max", code=7)


@case
def typo_in_a_table(person: Newcomer) -> None:
    person.add('[workers.other]\nrun = "app:calm"\n')
    person.says("up", "fleet.toml:9", "[worker", code=7)


@case
def not_toml(person: Newcomer) -> None:
    person.add("run = app:calm\n")
    person.says("up", "fleet.toml:9", "quotes", code=7)


@case
def a_command_line_as_run(person: Newcomer) -> None:
    person.add('[worker.x]\nrun = "python -m app --port 80"\n')
    person.says("up", "fleet.toml:10", 'run = "app" and args = ["--port", "80"]', code=7)


@case
def wrong_module(person: Newcomer) -> None:
    person.add('[worker.x]\nrun = "apq:calm"\n')
    person.says("up", "no module 'apq'", 'did you mean "app"', code=7)


@case
def wrong_function(person: Newcomer) -> None:
    person.add('[worker.x]\nrun = "app:clam"\n')
    person.says("up", "no 'clam'", 'did you mean "app:calm"', code=7)


@case
def wrong_unit(person: Newcomer) -> None:
    person.add('memory_max = "64 megs"\n')
    person.says("check", "not a size", "128M", code=7)


@case
def windows_line_ends_and_a_byte_order_mark(person: Newcomer) -> None:
    text = FLEET.replace("\n", "\r\n").encode("utf-8-sig")
    (person.folder / "fleet.toml").write_bytes(text)
    person.works()


# The code ------------------------------------------------------------------------------------


@case
def floor_raises(person: Newcomer) -> None:
    person.write(app="raise LookupError('no map')\n" + APP)
    person.says("up", "LookupError: no map", "app.py", code=1)


@case
def floor_has_a_syntax_error(person: Newcomer) -> None:
    person.write(app=APP + "def broken(:\n")
    person.says("up", "SyntaxError", "app.py", code=1)


@case
def floor_starts_a_thread(person: Newcomer) -> None:
    start = "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    person.write(app=f"import threading, time\n{start}\n{APP}")
    person.says("up", "thread", "app", code=1)


@case
def worker_ends_at_once(person: Newcomer) -> None:
    person.add('[worker.x]\nrun = "app:broken"\nrestart = "no"\n')
    person.says("--runtime-dir run up --detach", "up: 1 of 2", "x: exited(1)", "zygotectl logs x",
                "it wrote: RuntimeError: no good", code=1)  # fmt: skip


@case
def worker_never_says_that_it_is_ready(person: Newcomer) -> None:
    person.add('[worker.x]\nrun = "app:mute"\ntype = "notify"\nstart_timeout = "300ms"\n'
               'restart = "no"\n')  # fmt: skip
    person.says("--runtime-dir run up --detach", "x: not ready", "zygote.notify.ready()", code=1)


@case
def port_is_taken(person: Newcomer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        person.write(app=f"{APP}\ndef serve():\n    import socket\n"
                     f"    socket.create_server(('127.0.0.1', {port}))\n")  # fmt: skip
        person.add('[worker.x]\nrun = "app:serve"\nrestart = "no"\ntype = "notify"\n')
        person.says("--runtime-dir run up --detach", "x: exited(1)", "Address already in use",
                    code=1)  # fmt: skip


# The command line ----------------------------------------------------------------------------


@case
def wrong_command(person: Newcomer) -> None:
    person.says("strat", "did you mean", code=2)


@case
def wrong_option(person: Newcomer) -> None:
    person.says("up --detatch", "--detach", code=2)


@case
def asked_before_it_runs(person: Newcomer) -> None:
    for words in ("ps", "top --once", "stop calm"):
        person.says(f"--runtime-dir run {words}", "no manager answers", "zygotectl up", code=6)


@case
def runs_already(person: Newcomer) -> None:
    there = ("--runtime-dir", "run")
    assert person.at(*there, "up", "-d").code == 0
    person.says("--runtime-dir run up", "run", "zygotectl", code=1)
    person.says("--runtime-dir run stop clam", "clam", "calm", code=4)
    assert person.at(*there, "ps").code == 0, "the first one is well"


@case
def stale_socket_of_a_killed_manager(person: Newcomer) -> None:
    there = ("--runtime-dir", "run")
    assert person.at(*there, "up", "-d").code == 0
    said = Newcomer(person.folder)(*there, "ps", "--json").json
    os.kill(said["manager"]["pid"], signal.SIGKILL)
    eventually(lambda: person.at(*there, "ps").code == 6)
    person.says("--runtime-dir run ps", "nobody listens", "zygotectl up", code=6)
    again = person.at(*there, "up", "-d")
    assert again.code == 0, again
    pids = [each["pid"] for each in said["workers"]]
    assert [each["pid"] for each in person(*there, "ps", "--json").json["workers"]] == pids


@case
def terminal_is_closed(person: Newcomer) -> None:
    with person.terminal("--runtime-dir", "run", "up") as terminal:
        terminal.expect(r"calm .*ready")
        pid = person("--runtime-dir", "run", "ps", "--json").json["manager"]["pid"]
    # The terminal is gone, with a SIGHUP or a SIGTERM for its program.
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the fleet was stopped")


@case
def nobody_reads_the_output(person: Newcomer) -> None:
    assert person.at("--runtime-dir", "run", "up", "-d").code == 0
    for end in ("| true", ">&- 2>&-", ">/dev/full"):
        line = f"{' '.join(COMMAND)} --runtime-dir run ps {end}"
        done = subprocess.run(["sh", "-c", line], cwd=person.folder, capture_output=True,
                              text=True, env=person.env(), timeout=60, check=False)  # fmt: skip
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, (
            end,
            done,
        )


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
def dumb_terminal(person: Newcomer) -> None:
    assert person.at("--runtime-dir", "run", "up", "-d").code == 0
    for words in (["ps"], ["--help"], ["top", "--once"]):
        with person.terminal("--runtime-dir", "run", *words, env={"TERM": "dumb"}) as terminal:
            assert os.waitstatus_to_exitcode(terminal.wait()) == 0
        assert "\x1b" not in terminal.seen, "no sequences for a terminal that knows none"


@case
def no_colour_wanted(person: Newcomer) -> None:
    assert person.at("--runtime-dir", "run", "up", "-d").code == 0
    with person.terminal("--runtime-dir", "run", "ps", env={"NO_COLOR": "1"}) as terminal:
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert "calm" in plain(terminal.seen) and "\x1b[3" not in terminal.seen


@case
def proxies_are_set(person: Newcomer) -> None:
    proxy = "http://127.0.0.1:9"
    person.works(http_proxy=proxy, https_proxy=proxy, ALL_PROXY=proxy, HTTP_PROXY=proxy)


@case
def few_open_files(person: Newcomer) -> None:
    """64 are enough for a small fleet; with 12 it says what is short."""
    person.works(through=("prlimit", "--nofile=48:48"))
    person.says("--runtime-dir run up -d", "ulimit -n", code=1,
                through=("prlimit", "--nofile=12:12"))  # fmt: skip


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
        env=person.env(), capture_output=True, text=True, timeout=100, check=False,
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


@pytest.mark.parametrize("name", CASES)
def test_first_ten_minutes(person: Newcomer, name: str) -> None:
    CASES[name](person)


def test_first_ten_minutes_are_a_long_list() -> None:
    assert len(CASES) >= 30
