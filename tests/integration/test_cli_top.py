"""`top` as a person uses it: on a terminal, with keys, on a small screen, and on a dumb one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest

from tests.support.cli import Cli, Terminal, plain

FLEET = """
[fleet]
name = "tops"
runtime_dir = "run"
[zygote.floor]
preload = ["habits"]
bake = ["freeze"]
[worker.alpha]
run = "habits:calm"
[worker.beta]
run = "habits:hungry"
[worker.campaign-clusterer]
run = "habits:calm"
"""
HABITS = """
import time

def calm():
    print("calm runs", flush=True)
    while True: time.sleep(100)

def hungry():
    kept = bytearray(b"x" * 20_000_000)
    while True: time.sleep(100)
"""


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "fleet.toml").write_text(FLEET)
    (folder / "habits.py").write_text(HABITS)
    cli = Cli(folder)
    cli("up", "--detach")
    yield cli
    cli("down")


def frame(terminal: Terminal) -> str:
    """The newest whole screen."""
    frames = [plain(part) for part in re.split(r"\x1b\[H", terminal.seen)]
    whole = [part for part in frames if "quit" in part or "y:" in part or "this fleet" in part]
    return whole[-1] if whole else ""


def until(terminal: Terminal, *parts: str) -> str:
    terminal.until(lambda: all(p in frame(terminal) for p in parts), f"never shown: {parts}")
    return frame(terminal)


def rows(screen: str) -> list[str]:
    names = ("alpha", "beta", "campaign-clusterer")
    return [w for line in screen.split("\n") if (w := line.split(" ")[0]) in names]


def until_row(terminal: Terminal, at: int, name: str, *parts: str) -> None:
    """Until a screen with these parts has that worker there: its memory may just be growing."""

    def look() -> bool:
        screen = frame(terminal)
        return all(p in screen for p in parts) and rows(screen)[at : at + 1 or None] == [name]

    terminal.until(look, f"{name} was never in row {at}")


def pid(cli: Cli, name: str) -> int:
    found: int = cli("ps", "--json", name).json["workers"][0]["pid"]
    return found


def test_top_fits_80_columns_with_history_and_sums(cli: Cli) -> None:
    with cli.terminal("top", "--interval", "200ms", columns=80) as terminal:
        screen = until(terminal, "campaign-clusterer", "HISTORY", "q quit")
        assert all(len(line.rstrip()) <= 80 for line in screen.split("\n"))
        fleet = re.search(
            r"this fleet: ([\d.]+) MB; as cold processes: at most ([\d.]+) MB", screen
        )
        assert fleet, screen
        # Three workers that have what the floor has: more as cold processes than here.
        assert float(fleet[2]) > float(fleet[1]) * 0.8
        assert "estimate" in screen
        until(terminal, "▁▁▁▁")
        terminal.type("q")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert "\x1b[?1049l" in terminal.seen, "the screen is given back"


def test_top_sorts_by_any_column(cli: Cli) -> None:
    with cli.terminal("top", "--interval", "200ms", "--sort", "uss") as terminal:
        until_row(terminal, 0, "beta", "by uss", "alpha", "q quit")
        terminal.type("r")
        until_row(terminal, -1, "beta", "by uss reversed", "alpha", "q quit")
        terminal.type("r>")
        until(terminal, "by dirty")
        terminal.type("\x1b[D\x1b[D")
        until(terminal, "by pss")
        terminal.type("q")
        terminal.wait()
    lines = cli("top", "--once", "--sort", "name", "--reverse").out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["campaign-clusterer", "beta", "alpha"]


def test_top_keys_restart_stop_log_and_cow(cli: Cli) -> None:
    before = pid(cli, "alpha")
    with cli.terminal("top", "--interval", "200ms", columns=100) as terminal:
        until(terminal, "q quit")
        terminal.type("R")
        until(terminal, "choose a worker first")
        terminal.type("\x1b[B")
        terminal.type("R")
        until(terminal, "restart alpha? y")
        terminal.type("n")
        until(terminal, "q quit")
        assert pid(cli, "alpha") == before
        terminal.type("R")
        until(terminal, "restart alpha? y")
        terminal.type("y")
        until(terminal, "alpha restarted")
        assert pid(cli, "alpha") != before
        terminal.type("l")
        terminal.expect("calm runs")
        terminal.expect("back to the table")
        terminal.type(" ")
        terminal.expect("this fleet")
        terminal.type("c")
        terminal.expect("alpha")
        terminal.expect("back to the table")
        terminal.type(" ")
        terminal.expect("this fleet")
        terminal.type("jS")
        until(terminal, "stop beta? y")
        terminal.type("y")
        until(terminal, "beta stopped")
        terminal.type("\x03")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert cli("ps", "--json", "beta").json["workers"][0]["state"] == "inactive"
    cli("spawn", "beta")


def test_top_after_the_log_and_a_stop_of_itself_gives_the_terminal_back(cli: Cli) -> None:
    """Ctrl-Z and fg; a log that is shown ends with Ctrl-C, and the table goes on."""
    with cli.terminal("top", "--interval", "200ms") as terminal:
        until(terminal, "q quit")
        terminal.type("jl")
        terminal.expect("back to the table")
        terminal.type("\x03")
        terminal.expect("this fleet")
        terminal.type("q")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0


def test_top_on_a_dumb_terminal_repeats_plain_tables(cli: Cli) -> None:
    with cli.terminal("top", "--interval", "200ms", env={"TERM": "dumb"}) as terminal:
        for _ in range(2):
            terminal.expect(r"\d\d:\d\d:\d\d  this fleet: [\d.]+ MB")
            terminal.expect("NAME +STATE")
            terminal.expect("campaign-clusterer")
        terminal.type("\x03")
        assert os.waitstatus_to_exitcode(terminal.wait()) in (0, 130)
    assert "\x1b" not in terminal.seen


def test_top_without_colour_and_without_unicode(cli: Cli) -> None:
    env = {"NO_COLOR": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with cli.terminal("top", "--interval", "200ms", env=env) as terminal:
        until(terminal, "q quit", "jk choose", "____")
        terminal.type("q")
        assert os.waitstatus_to_exitcode(terminal.wait()) == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.seen), "no colour"


def test_top_on_a_tiny_screen_that_grows(cli: Cli) -> None:
    with cli.terminal("top", "--interval", "200ms", rows=9, columns=40) as terminal:
        terminal.expect("more workers")
        terminal.type("jjjj")
        until(terminal, "campaign-clus")
        terminal.resize(30, 120)
        until(terminal, "alpha", "beta", "campaign-clusterer", "RESTARTS")
        terminal.type("q")
        terminal.wait()
