"""What a newcomer meets in the first ten minutes: it works, or it says what to do.

Each case is tried on a real fleet, small, with `zygotectl`; set-up and `make run` are in
test_first_setup.py, machines that are unlike ours in test_first_machine.py.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import eventually
from tests.support.newcomer import APP, FLEET, Cases, Newcomer, at_home

case = Cases()


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Newcomer]:
    with at_home(tmp_path) as person:
        yield person


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
    person.add('[worker.x]\nrun = "app:mute"\ntype = "notify"\nstart_timeout = "5s"\n'
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


@pytest.mark.parametrize("name", case)
def test_first_ten_minutes(person: Newcomer, name: str) -> None:
    case[name](person)
