"""`zygotectl floor` on packages whose size is known, and on a running fleet."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, eventually, plain
from zygote.errors import Exit
from zygote.sys import procfs

MB = 1_000_000


def block(megabytes: int) -> str:
    """A statement that keeps so many MB of private memory, made at run time."""
    return f"block = bytes(range(250)) * {megabytes * 4000}\n"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A folder with modules, none of them compiled yet."""
    sources = {
        "twenty": block(20),
        "five": block(5),
        "outer": "import json\nimport inner.deep\n" + block(2),
        "inner/__init__": "",
        "inner/deep": block(10),
        "prints": "print('hello')\n",
        "thread": "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(9999,), daemon=True).start()\n",
        "sockets": "import socket\nkept = socket.socketpair()\n",
        "broken": "raise RuntimeError('no good')\n",
        "leaves": "import os; os._exit(3)\n",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text(text)
    return Cli(tmp_path)


def near(kib: int, megabytes: float, by: float = 0.7) -> bool:
    return abs(kib * 1024 / MB - megabytes) < by


def test_floor_shows_what_each_layer_adds(cli: Cli) -> None:
    found = cli("floor", "twenty", "five,prints", "--repeat", "3", "--json").json
    below, twenty, five = found["layers"]
    assert [row["layer"] for row in found["layers"]] == ["interpreter", "twenty", "five,prints"]
    assert near(twenty["added_rss_kib"], 20) and near(twenty["added_uss_kib"], 20)
    assert near(five["added_rss_kib"], 5) and near(five["added_uss_kib"], 5)
    assert five["rss_kib"] >= twenty["rss_kib"] + five["added_rss_kib"] - 300
    assert below["rss_kib"] == below["added_rss_kib"] and near(below["rss_kib"], 10, 4)
    assert (twenty["added_modules"], five["added_modules"]) == (1, 2)
    assert all((row["threads"], row["fds"], row["sockets"]) == (1, 3, 0) for row in found["layers"])
    assert found["bytecode"] == {"compiled_before": True, "compiled_while_measured": []}


def test_floor_each_measures_over_a_bare_interpreter(cli: Cli) -> None:
    found = cli("floor", "five", "outer", "--each", "--json").json
    below, five, outer = found["layers"]
    assert found["mode"] == "each"
    assert near(five["rss_kib"] - below["rss_kib"], 5)
    assert near(outer["rss_kib"] - below["rss_kib"], 13, 2) and near(outer["added_uss_kib"], 13, 2)


def test_floor_deep_tells_a_module_from_what_it_imports(cli: Cli) -> None:
    found = cli("floor", "five", "outer", "--deep", "--json").json
    rows = {row["module"]: row for row in found["modules"]}
    assert near(rows["outer"]["own_kib"], 2) and near(rows["outer"]["with_kib"], 12.5, 1.5)
    assert near(rows["inner.deep"]["own_kib"], 10) and rows["inner.deep"]["importer"] == "outer"
    assert rows["json.decoder"]["importer"] == "json"
    assert "five" not in rows and found["over"] == ["five"]
    packages = {row["package"]: row["own_kib"] for row in found["packages"]}
    assert near(packages["inner"], 10)
    dearest = cli("floor", "outer", "--deep", "--top", "1").out.splitlines()
    assert dearest[1].startswith("inner.deep ") and dearest[4].startswith("inner ")


def test_floor_shows_threads_and_sockets_and_what_a_bake_would_say(cli: Cli) -> None:
    found = cli("floor", "thread", "sockets", "--json").json["layers"]
    assert [row["threads"] for row in found] == [1, 2, 2]
    assert [row["sockets"] for row in found] == [0, 0, 2]
    assert [row["fds"] for row in found] == [3, 3, 5]
    assert "after thread: 2 threads, 0 sockets: a bake refuses" in cli("floor", "thread").err


def test_floor_names_what_was_compiled_while_measured(cli: Cli) -> None:
    (cli.folder / "__pycache__").write_text("in the way")
    found = cli("floor", "five", "--json").json["bytecode"]["compiled_while_measured"]
    assert found == [str(cli.folder / "five.py")]
    assert "1 sources were compiled while measured" in cli("floor", "five").err


def test_floor_compiles_though_the_shell_says_not_to(cli: Cli) -> None:
    found = cli("floor", "five", "--json", PYTHONDONTWRITEBYTECODE="1").json
    assert found["bytecode"]["compiled_while_measured"] == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("broken",), 1, "cannot import broken: RuntimeError: no good"),
        (("nothing_there",), 1, "No module named 'nothing_there'"),
        (("leaves",), 1, "the measured process ended at: leaves (exit status 3)"),
        (("five", "--python", "/no/python"), 1, "cannot start /no/python"),
        (("five", "--zygote", "x"), 4, "no fleet"),
        ((), 4, "no fleet"),
        (("five", "--repeat", "0"), 2, "at least 1"),
        (("a b",), 2, "no module can be called 'a b'"),
        (("five", "--deep", "--each"), 2, "--deep measures once"),
    ],
)
def test_floor_says_what_is_wrong(cli: Cli, words: tuple[str, ...], code: int, says: str) -> None:
    done = cli("floor", *words, code=None)
    assert (done.code, says in done.err) == (code, True), done
    assert "  hint: " in done.err and "Traceback" not in done.err


def test_floor_of_another_interpreter_and_folder(cli: Cli, tmp_path: Path) -> None:
    """One that knows nothing of ours: a bare copy of the venv's base, without site-packages."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    python.chmod(0o755)
    words = ("--python", str(python), "--cwd", str(cli.folder), "--json")
    found = Cli(Path("/"))("floor", "twenty", *words).json
    assert near(found["layers"][1]["added_uss_kib"], 20) and found["python"] == str(python)
    assert cli("floor", "rich", *words, code=1).json["error"]["code"] == "import-failed"


def test_floor_draws_a_picture(cli: Cli) -> None:
    cli("floor", "five", "twenty", "--plot", "floor.png")
    assert (cli.folder / "floor.png").read_bytes().startswith(b"\x89PNG")
    done = cli("floor", "five", "--plot", "floor.none", code=1)
    assert "cannot write the picture floor.none" in done.err


def test_floor_of_a_zygote_takes_its_preload_path_and_environment(cli: Cli) -> None:
    (cli.folder / "lib").mkdir()
    (cli.folder / "lib" / "by_env.py").write_text(
        "import os\nblock = bytes(range(250)) * 4000 * int(os.environ['BY_MB'])\n"
    )
    (cli.folder / "fleet.toml").write_text(
        '[fleet]\nname = "x"\n[zygote.a]\npreload = ["five"]\n[zygote.b]\n'
        'preload = ["five", "by_env"]\npath = ["lib"]\nenv = { BY_MB = "8" }\n'
        '[worker.w]\nrun = "five"\nzygote = "a"\n[worker.v]\nrun = "five"\nzygote = "b"\n'
    )
    elsewhere = Cli(Path("/"))
    fleet = ("--fleet", str(cli.folder / "fleet.toml"), "floor", "--json")
    first = elsewhere(*fleet).json["layers"]
    assert [row["layer"] for row in first] == ["interpreter", "five"]
    second = elsewhere(*fleet, "--zygote", "b").json["layers"]
    assert [row["layer"] for row in second] == ["interpreter", "five", "by_env"]
    assert near(second[2]["added_uss_kib"], 8)
    assert "has no zygote 'c'" in elsewhere(*fleet[:3], "--zygote", "c", code=Exit.USAGE).err


def test_floor_on_a_terminal_is_told_what_it_waits_for(cli: Cli) -> None:
    (cli.folder / "slow.py").write_text("import time; time.sleep(0.6)\n")
    with cli.terminal("floor", "slow", columns=70) as terminal:
        assert terminal.wait() == 0
    seen = plain(terminal.seen)
    assert "compiling bytecode" in seen and "importing slow" in seen
    assert "no room for" in seen and "fresh interpreters" in seen


FLEET = """
[fleet]
name = "late"
runtime_dir = "run"
[zygote.floor]
preload = {preload}
[defaults]
type = "notify"
[worker.one]
run = "jobs:one"
[worker.two]
run = "jobs:two"
[worker.idle]
run = "jobs:idle"
"""
JOBS = """
import time
from zygote import notify
def idle():
    notify.ready()
    while True: time.sleep(9999)
def one():
    import user_a
    idle()
def two():
    import user_b, thread
    idle()
"""


@pytest.fixture
def late_fleet(cli: Cli) -> Any:
    (cli.folder / "jobs.py").write_text(JOBS)
    (cli.folder / "user_a.py").write_text("import twenty, thread\n" + block(5))
    (cli.folder / "user_b.py").write_text("from inner import deep\nimport twenty\n")

    def up(preload: str, change: Callable[[str], str] = str) -> dict[str, dict[str, Any]]:
        (cli.folder / "fleet.toml").write_text(change(FLEET.format(preload=preload)))
        cli("up", "--detach")
        rows = cli("ps", "--json").json
        return {row["name"]: row for row in [*rows["workers"], rows["totals"] | {"name": "all"}]}

    yield up
    cli("down", code=None)


def test_from_running_finds_what_workers_imported_and_the_proposal_saves_it(
    cli: Cli, late_fleet: Any
) -> None:
    before = late_fleet('["jobs"]')
    (found,) = cli("floor", "--from-running", "--json").json["zygotes"]
    rows = {row["module"]: row for row in found["modules"]}
    assert rows["twenty"]["workers"] == ["one", "two"] and near(rows["twenty"]["kib"], 20)
    assert rows["user_a"]["workers"] == ["one"] and near(rows["user_a"]["kib"], 5)
    assert near(rows["user_b"]["kib"], 10) and "inner.deep" not in rows, "it came with user_b"
    assert rows["thread"]["refused"] == "it starts 1 thread(s)"
    assert found["workers"] == ["one", "two", "idle"] and not found["unread"]
    assert found["added"] == ["twenty"] and near(found["saved_kib"], 20)
    settled = procfs.read_memory(before["two"]["pid"])
    shown = cli("floor", "--from-running").out
    assert '[zygote.floor]\npreload = ["jobs", "twenty"]\n' in shown
    now = procfs.read_memory(before["two"]["pid"])
    assert settled and now and now.private_dirty_kib == settled.private_dirty_kib, "left alone"

    cli("down")
    after = late_fleet('["jobs", "twenty"]')
    for name in ("one", "two"):
        assert near(before[name]["uss_kib"] - after[name]["uss_kib"], 20), name
    assert near(before["all"]["pss_kib"] - after["all"]["pss_kib"], 20, 1.5)
    (found,) = cli("floor", "--from-running", "--json").json["zygotes"]
    assert not found["added"], "nothing is left to propose"


def test_tree_proposes_a_branch_that_saves_what_it_says(cli: Cli, late_fleet: Any) -> None:
    before = late_fleet('["jobs"]')
    found = cli("floor", "--from-running", "--tree", "--json").json
    floor, branch = found["zygotes"]
    assert (floor["zygote"], floor["added"], floor["workers"]) == ("floor", [], ["idle"])
    assert (branch["parent"], branch["added"]) == ("floor", ["twenty"])
    assert branch["workers"] == ["one", "two"]
    assert near(branch["added_kib"], 20) and 0 < branch["own_kib"] < 4000
    assert found["exposure_kib"] == 0 and set(found["left"]) >= {"user_a", "user_b"}
    shown = cli("floor", "--from-running", "--tree").out
    assert found["fleet_toml"] in shown and "ADDS_MB" in shown
    tables = tomllib.loads(found["fleet_toml"])
    assert tables["worker"] == {"one": {"zygote": "twenty"}, "two": {"zygote": "twenty"}}

    # Less than the branch takes can only be had with the module in the floor, for `idle`, too.
    budget = f"{found['then_kib'] * 1024 - 500_000}"
    tight = cli("floor", "--from-running", "--tree", "--budget", budget, "--json").json
    assert tight["fits"] and near(tight["exposure_kib"], 20)
    assert [z["added"] for z in tight["zygotes"]] == [["twenty"]]
    never = cli("floor", "--from-running", "--tree", "--budget", "1M", code=Exit.FAILED).out
    assert "above the budget; no tree of these imports takes less than" in never

    cli("down")
    pasted = found["fleet_toml"].partition("[worker")[0]

    def paste(text: str) -> str:
        for name, table in tables["worker"].items():
            head = f"[worker.{name}]\n"
            text = text.replace(head, f'{head}zygote = "{table["zygote"]}"\n')
        return text.replace("[defaults]", f"{pasted}[defaults]")

    after = late_fleet('["jobs"]', paste)
    for name in ("one", "two"):
        assert near(before[name]["uss_kib"] - after[name]["uss_kib"], 20), name
    saved = before["all"]["pss_kib"] - after["all"]["pss_kib"]
    assert near(saved - found["saved_kib"], 0, 2.5), "as much as was said"


def test_from_running_says_whose_zygote_is_gone(cli: Cli, late_fleet: Any) -> None:
    late_fleet('["jobs"]')
    zygote = cli("ps", "--json").json["zygotes"][0]
    os.kill(zygote["pid"], signal.SIGKILL)
    eventually(lambda: [(z["state"], z["generation"]) for z in cli("ps", "--json").json["zygotes"]]
               == [("ready", zygote["generation"] + 1)])  # fmt: skip
    cli("restart", "two")
    (found,) = cli("floor", "--from-running", "--json").json["zygotes"]
    assert set(found["unread"]) == {"one", "idle"} and found["workers"] == ["two"]
    assert "generation 1, which is gone: restart it" in found["unread"]["one"]


def test_from_running_without_a_fleet(cli: Cli) -> None:
    (cli.folder / "fleet.toml").write_text(FLEET.format(preload='["jobs"]'))
    (cli.folder / "jobs.py").write_text(JOBS)
    assert cli("floor", "--from-running", code=Exit.NO_MANAGER).err
    assert "takes workers" in cli("floor", "--from-running", "--each", code=Exit.USAGE).err
    assert "--from-running --tree" in cli("floor", "json", "--tree", code=Exit.USAGE).err
    assert "--tree" in cli("floor", "--from-running", "--budget", "9M", code=Exit.USAGE).err
