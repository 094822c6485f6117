"""`up` and `down`: in the foreground, detached, and everything that keeps a fleet from starting."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import PATIENCE, Cli, Terminal, eventually, plain
from zygote.sys import procfs

FLEET = """
[fleet]
name = "ups"
runtime_dir = "run"
[zygote.floor]
preload = ["habits"]
[worker.calm]
run = "habits:calm"
[worker.late]
run = "habits:late"
type = "notify"
start_timeout = "2min"
after = ["calm"]
"""
HABITS = """
import pathlib, sys, time
from zygote import notify

def calm():
    while True: time.sleep(100)

def late():
    notify.status("nearly there")
    while not pathlib.Path("go").exists(): time.sleep(0.01)
    notify.ready()
    while True: time.sleep(100)

def broken():
    raise RuntimeError("no good")

def once():
    print("work done")
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "habits.py").write_text(HABITS)
    cli = Cli(tmp_path)
    yield cli
    cli("down", code=None)


def add(cli: Cli, more: str) -> None:
    file = cli.folder / "fleet.toml"
    file.write_text(file.read_text() + more)


def go(cli: Cli) -> None:
    (cli.folder / "go").touch()


def gone(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is None or stat.is_zombie  # init may take its time to reap it


def test_up_detached_returns_when_all_are_ready(cli: Cli) -> None:
    process = cli.start("up", "--detach")
    with process:
        assert process.stderr and process.stdout
        for line in process.stderr:
            if "late: up, nearly there" in line:
                break
        assert process.poll() is None, "it waits for the last one"
        go(cli)
        assert process.wait(120) == 0
        assert process.stdout.read().startswith("up: 2 of 2 workers ready, manager pid ")
    said = cli("ps", "--json").json
    assert {w["state"] for w in said["workers"]} == {"ready"}
    manager = said["manager"]["pid"]
    assert os.getsid(manager) == manager, "a session of its own"
    log = (cli.folder / "run" / "manager.log").read_text()
    assert "event=serving" in log
    done = cli("down")
    assert done.out == f"the manager (pid {manager}) has stopped\n"
    assert gone(manager)
    assert cli("down", code=6).err.startswith("zygotectl: no manager answers")


def test_up_detached_says_which_worker_is_not_ready(cli: Cli) -> None:
    add(cli, '[worker.broken]\nrun = "habits:broken"\ntype = "notify"\nrestart = "no"\n'
             '[worker.once]\nrun = "habits:once"\n')  # fmt: skip
    with cli.start("up", "--detach") as process:

        def ended() -> bool:
            found = cli("ps", "once", "--json", code=None)
            return found.code == 0 and found.json["workers"][0]["state"] == "inactive"

        eventually(ended, "once does not end")
        go(cli)  # it waits for that one, and only now counts those who are ready
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
    assert "zygotectl: broken: exited(1)" in err
    assert "hint: its last words: zygotectl logs broken" in err
    assert "the fleet runs without them" in err
    assert "once" not in err.replace("once: up", ""), "one that did its work is well"
    assert out.startswith("up: 2 of 4 workers ready")
    assert cli("status", "calm").code == 0


def test_up_detached_json(cli: Cli) -> None:
    go(cli)
    said = cli("up", "--detach", "--json").json
    assert said["ok"] is True and said["failed"] == []
    assert said["ready"] == ["calm", "late"]
    assert said["runtime_dir"] == str(cli.folder / "run")
    assert cli("down", "--json").json == {"ok": True, "pid": said["pid"], "gone": True}


def test_up_twice_names_the_first(cli: Cli) -> None:
    go(cli)
    pid = cli("up", "--detach", "--json").json["pid"]
    done = cli("up", "--detach", code=1)
    assert f"another manager (pid {pid})" in done.err
    assert "zygotectl status" in done.err
    assert "Traceback" not in done.err
    assert cli("status").code == 0, "the first one is not hurt"


def foreground(cli: Cli) -> Terminal:
    go(cli)
    return cli.terminal("up")


def test_up_in_the_foreground_shows_events_and_stops_with_ctrl_c(cli: Cli) -> None:
    with foreground(cli) as terminal:
        terminal.expect("late +.*ready")
        manager = cli("ps", "--json").json["manager"]["pid"]
        terminal.type("\x03")
        terminal.expect("stopping the fleet")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert gone(manager)
    shown = plain(terminal.seen)
    assert "calm" in shown and "stopping" in shown and "Traceback" not in shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_up_in_the_foreground_stops_the_fleet_on_a_signal(cli: Cli, number: int) -> None:
    go(cli)
    process = cli.start("up")
    with process:
        assert process.stdout
        for line in process.stdout:
            if " late ready" in line:
                break
        process.send_signal(number)
        rest = process.stdout.read()
        assert process.wait(120) == 0
    assert "manager stopping" in rest
    assert rest.endswith("the fleet has stopped\n")


def test_up_in_the_foreground_json_is_lines_of_objects(cli: Cli) -> None:
    go(cli)
    process = cli.start("up", "--json")
    with process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert first["ok"] is True
        for line in process.stdout:
            event = json.loads(line)
            if (event["subject"], event["event"]) == ("late", "ready"):
                break
        process.terminate()
        assert "stopping" in {json.loads(line)["event"] for line in process.stdout}
        assert process.wait(120) == 0


def test_up_in_the_foreground_client_killed_leaves_the_fleet(cli: Cli) -> None:
    go(cli)
    process = cli.start("up")
    with process:
        assert process.stdout
        for line in process.stdout:
            if " late ready" in line:
                break
        process.kill()
    assert cli("status", "late").code == 0
    cli("down")


def test_up_in_the_foreground_tells_that_the_manager_was_killed(cli: Cli) -> None:
    go(cli)
    process = cli.start("up")
    with process:
        assert process.stdout and process.stderr
        for line in process.stdout:
            if " late ready" in line:
                break
        said = cli("ps", "--json").json
        os.kill(said["manager"]["pid"], signal.SIGKILL)
        assert process.wait(120) == 128 + signal.SIGKILL
        assert "its workers live on: zygotectl up adopts them" in process.stderr.read()
    pids = {w["pid"] for w in said["workers"]}
    again = cli("up", "--detach")
    assert again.out.startswith("up: 2 of 2 workers ready")
    assert {w["pid"] for w in cli("ps", "--json").json["workers"]} == pids
    assert "adopted from an earlier manager" in cli("status", "calm").out


def test_up_ctrl_c_while_the_floor_bakes(cli: Cli) -> None:
    (cli.folder / "habits.py").write_text("import time\ntime.sleep(60)\n" + HABITS)
    with cli.terminal("up") as terminal:
        terminal.expect("baking")
        terminal.type("\x03")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 130
    assert "interrupted; nothing runs" in plain(terminal.seen)


BAD_FLOORS = {
    "raises": ("\nraise LookupError('no map')\n", ["LookupError: no map", "habits.py", "line 2"]),
    "is-missing": (None, ["habits"]),
    "starts-a-thread": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n",
        ["thread", "habits"],
    ),
    "opens-a-socket": ("import socket\nleft = socket.create_server(('127.0.0.1', 0))\n",
                       ["socket", "habits"]),
    "exits": ("import os\nos._exit(3)\n", ["floor"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FLOORS)
@pytest.mark.parametrize("how", [["up"], ["up", "--detach"]], ids=" ".join)
def test_up_with_a_floor_that(cli: Cli, name: str, how: list[str]) -> None:
    """It does not half-start: the reason is told in full, once, and nothing is left."""
    code, says = BAD_FLOORS[name]
    floor = cli.folder / "habits.py"
    floor.write_text(code + HABITS) if code else floor.unlink()
    # The checker finds a missing module before anything is started.
    done = cli(*how, code=7 if name == "is-missing" else 1)
    for part in says:
        assert part in done.err, done.err
    assert "hint:" in done.err
    assert "zygote/manager" not in done.err, "no traceback of ours"
    assert cli("ps", code=6)
    said = json.loads(cli("up", "--json", code=None).out)
    assert said["ok"] is False and said["errors"][0]["message"]


def test_up_with_a_wrong_file_tells_every_mistake(cli: Cli) -> None:
    add(cli, '[worker.x]\nrun = "habits:calm"\nrestart = "maybe"\nmemory_max = "much"\n')
    done = cli("up", code=7)
    assert "fleet.toml:16: " in done.err and "fleet.toml:17: " in done.err
    (cli.folder / "fleet.toml").write_text("[fleet\n")
    assert "fleet.toml:1" in cli("up", code=7).err
    (cli.folder / "fleet.toml").unlink()
    assert "no fleet.toml in" in cli("up", code=4).err


def test_up_with_a_runtime_folder_that_cannot_be(cli: Cli) -> None:
    (cli.folder / "file").write_text("")
    done = cli("--runtime-dir", str(cli.folder / "file" / "run"), "up", code=None)
    assert done.code not in (0, 7)
    assert "file" in done.err and "hint" in done.err and "Traceback" not in done.err
    long = cli.folder / ("x" * 100)
    done = cli("--runtime-dir", str(long), "up", code=1)
    assert "107" in done.err and "shorter" in done.err


def test_up_on_a_terminal_shows_progress_while_it_bakes(cli: Cli) -> None:
    (cli.folder / "habits.py").write_text(
        "import pathlib, time\nwhile not pathlib.Path('bake').exists(): time.sleep(0.01)\n" + HABITS
    )
    go(cli)
    with cli.terminal("up", "--detach") as terminal:
        terminal.expect("starting the fleet")
        terminal.expect("floor: baking")
        (cli.folder / "bake").touch()
        terminal.expect("up: 2 of 2 workers ready")
        assert terminal.wait() == 0
    cli("down")
