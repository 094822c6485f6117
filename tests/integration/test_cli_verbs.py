"""Every verb as a user types it, on a real fleet under a real manager."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Cli, eventually, plain

FLEET = """
[fleet]
name = "verbs"
runtime_dir = "run"
[zygote.floor]
preload = ["habits"]
[worker.calm]
run = "habits:calm"
memory_max = "64M"
[worker.evil]
run = "habits:evil"
type = "notify"
after = ["calm"]
[worker.broken]
run = "habits:broken"
type = "notify"
restart = "no"
autostart = false
[worker.slow]
run = "habits:slow"
type = "notify"
autostart = false
[worker."inst@"]
run = "habits:calm"
"""
HABITS = """
import sys, time
from zygote import notify

def calm():
    print("calm runs", flush=True)
    while True: time.sleep(100)

def evil():
    notify.ready("fine \\x1b[31m")
    print("\\x1b]0;title\\x07one\\x1b[2J", flush=True)
    print("two", flush=True)
    while True: time.sleep(100)

def broken():
    raise RuntimeError("no good")

def slow():
    notify.status("warming up")
    while True: time.sleep(100)
"""


SAID = "calm | calm runs\nevil | two\n"
"""The last lines of those two."""


def make_fleet(folder: Path) -> Cli:
    (folder / "fleet.toml").write_text(FLEET)
    (folder / "habits.py").write_text(HABITS)
    return Cli(folder)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    cli = make_fleet(tmp_path_factory.mktemp("fleet"))
    cli("up", "--detach")
    # "Ready" is true of those that do not tell as soon as they are there.
    eventually(lambda: cli("logs", "calm", "evil", "-n", "1").out == SAID)
    yield cli
    cli("down")


def worker(cli: Cli, name: str) -> dict[str, object]:
    (found,) = cli("ps", name, "--json").json["workers"]
    return found


def test_ps_json_has_every_key_and_true_figures(cli: Cli) -> None:
    said = cli("ps", "--json").json
    assert {w["name"] for w in said["workers"]} >= {"calm", "evil", "broken", "slow"}
    calm = next(w for w in said["workers"] if w["name"] == "calm")
    keys = "name pid ppid state ready age_s restarts rss_kib pss_kib uss_kib private_dirty_kib " \
           "pagetables_kib cpu_s limit zygote generation spawn_ms"  # fmt: skip
    assert set(keys.split()) <= set(calm)
    assert (calm["state"], calm["ready"], calm["limit"]) == ("ready", True, 64 << 20)
    assert calm["ppid"] == said["manager"]["pid"], "a worker is the manager's own child"
    assert 0 < calm["uss_kib"] <= calm["pss_kib"] <= calm["rss_kib"]
    broken = next(w for w in said["workers"] if w["name"] == "broken")
    assert broken["pid"] is None and broken["rss_kib"] is None
    (zygote,) = said["zygotes"]
    assert (zygote["name"], zygote["state"]) == ("floor", "ready")
    rows = [*said["workers"], said["manager"], *said["zygotes"]]
    for figure in ("pss_kib", "uss_kib", "pagetables_kib"):
        assert said["totals"][figure] == sum(row[figure] or 0 for row in rows)


def test_ps_in_a_pipe_has_stable_columns(cli: Cli) -> None:
    lines = cli("ps").out.splitlines()
    titles = lines[0].split()
    assert titles == [
        "NAME", "STATE", "READY", "PID", "AGE", "RESTARTS", "RSS_MB", "PSS_MB", "USS_MB",
        "DIRTY_MB", "PTAB_MB", "CPU", "LIMIT", "ZYGOTE", "GEN", "RECYCLES",
    ]  # fmt: skip
    assert all(len(line.split()) == len(titles) for line in lines)
    assert [line.split()[0] for line in lines[-3:]] == ["zygote.floor", "manager", "total"]
    wide = cli("ps", "--wide").out.splitlines()[0].split()
    assert wide[: len(titles)] == titles and "STATUS" in wide


def test_ps_on_a_terminal_of_80_columns_fits(cli: Cli) -> None:
    with cli.terminal("ps", columns=80) as terminal:
        assert terminal.wait() == 0
    lines = plain(terminal.seen).splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    assert {"NAME", "STATE", "PID", "PSS", "USS", "DIRTY", "PTAB"} <= set(lines[0].split())
    assert "no room for" in plain(terminal.seen) and "GEN" not in lines[0]
    assert "\x1b[" in terminal.seen, "in colour"


def test_ps_without_colour_if_asked(cli: Cli) -> None:
    with cli.terminal("ps", env={"NO_COLOR": "1"}) as terminal:
        assert terminal.wait() == 0
    assert "calm" in terminal.seen
    colours = re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", terminal.seen)
    assert not colours, "bold and dim are no colours"


def test_spawn_waits_until_ready_and_tells_how_long_it_took(cli: Cli) -> None:
    done = cli("spawn", "inst@one", "inst@two")
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["inst@one", "ready"], ["inst@two", "ready"],
    ]  # fmt: skip
    assert "spawned in" in done.out
    pid = worker(cli, "inst@one")["pid"]
    assert cli("spawn", "inst@one", "--json").json["results"][0]["pid"] == pid, "left as it is"
    assert cli("stop", "inst@").out == "inst@one stopped\ninst@two stopped\n"
    assert cli("ps", "inst@one", code=4).err.startswith("zygotectl: no worker 'inst@one'")


def test_scale_starts_what_is_missing_and_stops_what_is_too_much(cli: Cli) -> None:
    assert cli("scale", "inst@s", "3").out == "inst@s: 3 running (0 kept, 3 started, 0 stopped)\n"
    pid = worker(cli, "inst@s-01")["pid"]
    again = cli("scale", "inst@s", "3", "--json").json
    assert (again["kept"], again["started"], again["stopped"]) == (3, [], []), "nothing to do"
    down = cli("scale", "inst@s", "1", "--json").json
    assert (down["kept"], sorted(down["stopped"])) == (1, ["inst@s-02", "inst@s-03"])
    assert worker(cli, "inst@s-01")["pid"] == pid, "left alone"
    cli("ps", "inst@s-02", code=4)
    assert cli("scale", "inst@s", "0").out == "inst@s: 0 running (0 kept, 0 started, 1 stopped)\n"


def test_scale_of_no_template_tells_it_once(cli: Cli) -> None:
    done = cli("scale", "nobody@x", "400", code=4)
    assert done.err.count("no worker 'nobody@x-01'") == 1
    assert len(done.err.splitlines()) <= 3
    assert "cannot scale 'inst' to 2" in cli("scale", "inst", "2", code=2).err


def test_spawn_of_one_that_fails_tells_why_and_where_to_look(cli: Cli) -> None:
    done = cli("spawn", "broken", code=1)
    assert done.out == ""
    assert "broken: exited(1)" in done.err
    assert "hint: its last words: zygotectl logs broken" in done.err
    assert "RuntimeError: no good" in cli("logs", "broken", "-n", "1").out
    status = cli("status", "broken", code=3).out
    assert status.startswith("broken failed")
    assert "last end: exited(1)" in status
    assert "RuntimeError: no good" in status
    assert "broken" in cli("status").out.partition("not as wished")[2]
    cli("stop", "broken")


def test_spawn_timeout_and_wait(cli: Cli) -> None:
    assert cli("spawn", "slow", "--wait", "up").out.startswith("slow up pid=")
    assert cli("spawn", "slow", "--wait", "no").code == 0
    eventually(lambda: worker(cli, "slow")["status"] == "warming up")
    done = cli("spawn", "slow", "--timeout", "200ms", code=1)
    assert "'slow' is not ready within 0.2 s: warming up" in done.err
    cli("stop", "slow")


def test_status_of_a_worker_has_all_details(cli: Cli) -> None:
    text = cli("status", "calm").out
    assert text.startswith("calm ready for")
    parts = "pid: |child of|spawned in|zygote: floor, generation 1|RSS|page tables|log: " \
            "|defined: fleet.toml:7|last words: calm runs"  # fmt: skip
    for part in parts.split("|"):
        assert part in text
    said = cli("status", "calm", "--json").json
    assert said["workers"][0]["last_words"] == ["calm runs"]


def test_status_of_the_manager(cli: Cli) -> None:
    text = cli("status").out
    assert text.startswith("fleet 'verbs' running")
    for part in ("limits: ", "spawn path: clone", "zygote 'floor' ready", "baked: in"):
        assert part in text
    said = cli("status", "--json").json
    assert said["manager"]["limits"].startswith(("enforced", "not enforced: "))
    assert said["zygotes"][0]["stages"]


def test_kill_sends_only_the_signal_and_the_policy_applies(cli: Cli) -> None:
    before = worker(cli, "calm")
    assert cli("kill", "calm", "--signal", "kill").out == f"calm pid={before['pid']} got KILL\n"

    def again() -> bool:
        now = worker(cli, "calm")
        return now["state"] == "ready" and now["pid"] != before["pid"]

    eventually(again)
    assert worker(cli, "calm")["restarts"] == int(str(before["restarts"])) + 1
    assert worker(cli, "calm")["last_end"] == "signalled(SIGKILL)"


def test_kill_without_a_signal_stops(cli: Cli) -> None:
    cli("spawn", "inst@killed")
    assert cli("kill", "inst@killed").out == "inst@killed stopped\n"
    done = cli("kill", "broken", "--signal", "TERM", code=3)
    assert "does not run" in done.err
    assert "no signal 'NOPE'" in cli("kill", "calm", "--signal", "NOPE", code=2).err


def test_restart_gives_a_new_process(cli: Cli) -> None:
    before = worker(cli, "calm")["pid"]
    assert cli("restart", "calm").out.startswith("calm ready pid=")
    assert worker(cli, "calm")["pid"] != before


@pytest.mark.parametrize("verb", ["spawn", "stop", "restart", "kill"])
def test_verb_without_a_name_does_nothing_to_all(cli: Cli, verb: str) -> None:
    done = cli(verb, code=2)
    assert "no worker named" in done.err and "'*' for all" in done.err


@pytest.mark.parametrize("words", [
    ["spawn"], ["stop"], ["restart"], ["kill"], ["kill", "--signal", "TERM"], ["ps"], ["status"],
], ids=" ".join)  # fmt: skip
def test_unknown_worker_is_exit_code_4_and_names_those_there_are(
    cli: Cli, words: list[str]
) -> None:
    done = cli(*words, "clam", code=4)
    assert "no worker 'clam' in fleet 'verbs'" in done.err
    assert "calm" in done.err.partition("hint: ")[2]


def test_logs_of_several_have_their_names_in_front(cli: Cli) -> None:
    done = cli("logs", "calm", "evil", "-n", "1")
    assert done.out == SAID
    assert cli("logs", "evil", "-n", "2").out == "\x1b]0;title\x07one\x1b[2J\ntwo\n", (
        "raw in a pipe"
    )
    assert "no log of 'clam'" in cli("logs", "clam", code=4).err
    assert cli("logs", "zygote.floor", "manager").code == 0


def test_logs_on_a_terminal_cannot_steer_it(cli: Cli) -> None:
    with cli.terminal("logs", "evil", "-n", "2") as terminal:
        assert terminal.wait() == 0
    assert terminal.seen == "one\r\ntwo\r\n"
    with cli.terminal("status", "evil") as terminal:
        assert terminal.wait() == 0
    assert "\x07" not in terminal.seen and "\x1b[2J" not in terminal.seen


def test_logs_follow_goes_on_across_a_restart_and_new_workers(cli: Cli) -> None:
    with cli.terminal("logs", "-f", "-n", "1") as terminal:
        terminal.expect(r"calm +\| \x1b\[0mcalm runs")
        cli("restart", "calm")
        terminal.expect(r"calm +\| \x1b\[0mcalm runs")
        cli("spawn", "inst@new")
        terminal.expect(r"inst@new +\| \x1b\[0mcalm runs")
        terminal.type("\x03")
        assert terminal.wait() == 0
    cli("stop", "inst@new")


def test_events_show_the_newest_and_follow(cli: Cli) -> None:
    cli("restart", "calm")
    lines = cli("events", "-n", "3").out.splitlines()
    assert len(lines) == 3
    assert [line.split()[1:3] for line in lines[-2:]] == [["calm", "up"], ["calm", "ready"]]
    process = cli.start("events", "-f", "-n", "1", "--json")
    with process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert (first["subject"], first["event"]) == ("calm", "ready")
        cli("kill", "calm", "--signal", "SIGKILL")
        second = json.loads(process.stdout.readline())
        assert second["seq"] == first["seq"] + 1
        assert (second["event"], second["detail"]) == ("ended", "signalled(SIGKILL)")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
    assert cli("events", "-n", "0").out == ""


def test_reload_tells_what_changed(cli: Cli) -> None:
    file = cli.folder / "fleet.toml"
    assert cli("reload", "--file").out == "nothing changed\n"
    assert cli("reload").out == "nothing to do: all that runs is what is on disk\n"
    file.write_text(FLEET + '[worker.extra]\nrun = "habits:calm"\n')
    assert "the file has changed" in cli("status").out
    assert "extra" in cli("reload").out
    eventually(lambda: worker(cli, "extra")["state"] == "ready")
    file.write_text(FLEET + '[worker.extra]\nrun = "habits:calm"\nrum = 1\n')
    done = cli("reload", code=7)
    assert "rum" in done.err and "zygotectl check" in done.err
    assert worker(cli, "extra")["state"] == "ready", "a wrong file changes nothing"
    file.write_text(FLEET)
    assert cli("reload", "--json").json["changes"]


def test_check_tells_every_mistake_with_its_line(cli: Cli, tmp_path: Path) -> None:
    assert "is well: 4 workers, 1 template, 1 zygote" in cli("check").out
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[fleet]\nname = "x"\n[worker.a]\nrun = "habits:calm"\nmemory_mix = "1M"\n'
                     'stop_grace = "5 parsecs"\n')  # fmt: skip
    done = cli("check", str(wrong), code=7)
    assert "wrong.toml:5: " in done.err and "memory_max" in done.err
    assert "wrong.toml:6: " in done.err
    said = cli("check", str(wrong), "--json", code=7).json
    assert said["ok"] is False and len(said["errors"]) == done.err.count("hint:")
    assert cli("check", "nowhere.toml", code=4).err.startswith("zygotectl: no fleet file")


def test_top_once_fits_and_shows_shares_of_cpu(cli: Cli) -> None:
    text = cli("top", "--once").out
    assert text.splitlines()[0].split()[:2] == ["NAME", "STATE"]
    assert "CPU%" in text
    with cli.terminal("top", "--once", columns=80) as terminal:
        assert terminal.wait() == 0
    assert all(len(line) <= 80 for line in plain(terminal.seen).splitlines())


def test_top_is_live_until_ctrl_c_and_restores_the_screen(cli: Cli) -> None:
    with cli.terminal("top", "--interval", "200ms") as terminal:
        terminal.expect(r"\x1b\[\?1049h")
        terminal.expect("calm")
        pid = worker(cli, "calm")["pid"]
        cli("restart", "calm")
        fresh = worker(cli, "calm")["pid"]
        assert fresh != pid
        terminal.expect(f"{fresh}")
        terminal.type("\x03")
        assert terminal.wait() == 0
    assert "\x1b[?1049l" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_no_manager_is_exit_code_6_in_text_and_json(cli: Cli, tmp_path: Path) -> None:
    for words in (["ps"], ["status"], ["down"], ["spawn", "x"], ["events"], ["top"], ["reload"]):
        done = cli("--runtime-dir", str(tmp_path), *words, code=6)
        assert "no manager answers" in done.err and "zygotectl up" in done.err
    said = cli("--runtime-dir", str(tmp_path), "ps", "--json", code=6)
    assert said.json["error"]["code"] == "no-manager"
    assert said.err == ""


def test_no_fleet_file_is_exit_code_4(tmp_path: Path) -> None:
    done = Cli(tmp_path)("ps", code=4)
    assert "no fleet.toml in" in done.err and "--fleet FILE" in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_not_allowed(cli: Cli) -> None:
    # Loaded as root first: where we are installed may be closed to others.
    code = (
        "import os, sys\n"
        "from zygote.client.blocking import BlockingClient\n"
        "from zygote.errors import ZygoteError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: BlockingClient(sys.argv[1]).stop(['calm'])\n"
        "except ZygoteError as error: print(error.exit_code, error.code, error.hint)\n"
    )
    control = cli.folder / "run" / "control.sock"
    for _ in range(5):  # another run of pytest closes the folder above ours when it starts
        for path in (cli.folder, *cli.folder.parents):
            if path.stat().st_uid == 0 and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o011)
        done = subprocess.run([sys.executable, "-c", code, control],
                              capture_output=True, text=True, check=False)  # fmt: skip
        if "the manager runs as" in done.stdout:
            break
    assert "5 not-allowed the manager runs as uid 0" in done.stdout, done


def test_output_to_a_reader_that_left_is_no_failure(cli: Cli) -> None:
    process = cli.start("ps")
    with process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.wait(120) == 0
        assert process.stderr.read() == ""
