"""`zygotectl bake`: a floor baked beside its fleet, once and stage by stage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import bake as benchmark
from tests.support.cli import Cli
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.fleet.words import BAKE_STAGES
from zygote.inspect import bakes

FLEET = """
[fleet]
name = "bakes"
runtime_dir = "run"
[zygote.other]
preload = ["json"]
bake = ["freeze"]
[zygote.floor]
preload = ["thing"]
warm = ["thing:warm"]
[worker.idle]
run = "thing:idle"
zygote = "other"
"""
THING = """
import os
objects = [object() for _ in range(100_000)]
def warm():
    touched = [each for each in objects]  # a reference more of each: their pages are written to
    global kept
    kept = touched
async def work():
    global own
    own = bytes(range(250)) * 4000 * int(os.environ.get("WORK_MB", "7"))
def fails():
    raise RuntimeError("no work today")
def idle():
    import time
    time.sleep(1000)
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "fleet.toml").write_text(FLEET)
    (tmp_path / "thing.py").write_text(THING)
    return Cli(tmp_path)


def test_bake_tells_of_each_stage(cli: Cli) -> None:
    found = cli("bake", "--json").json
    assert found["zygote"] == "floor", "of several that one"
    told = [stage["name"] for stage in (*found["stages"], *found["skipped"])]
    assert set(told) == {"import", "audit", "final audit", *BAKE_STAGES}
    assert found["memory"]["rss_kib"] > 5000 and found["modules"] > 50
    other = cli("bake", "other", "--json").json
    skipped = {stage["name"]: stage["why"] for stage in other["skipped"]}
    assert set(skipped) == set(BAKE_STAGES) - {"freeze"}
    text = cli("bake", "other").out
    assert "zygote 'other': " in text and "not among the stages that `bake` names" in text
    assert not (cli.folder / "run").exists(), "no manager was needed or started"


def test_bake_of_a_branch_bakes_its_parent_and_forks_it(cli: Cli) -> None:
    branch = '[zygote.leaf]\nparent = "floor"\npreload = ["leaf"]\n[worker.l]\nrun = "leaf:run"\n'
    (cli.folder / "fleet.toml").write_text(FLEET + branch + 'zygote = "leaf"\n')
    (cli.folder / "leaf.py").write_text(
        "import thing\nown = bytes(range(250)) * 40_000\ndef run(): ...\n"
    )
    floor, leaf = cli("bake", "--json").json, cli("bake", "leaf", "--json").json
    assert leaf["modules"] >= floor["modules"] + 1 and leaf["zygote"] == "leaf"
    assert leaf["memory"]["uss_kib"] < floor["memory"]["uss_kib"] + 12_000, "it shares the floor"
    words = ("bake", "leaf", "--compare", "--rows", "nothing,last", "--work", "leaf:run", "--json")
    nothing, last = cli(*words).json["stages"]
    # What the branch adds is one object: its stages have nothing to save, and it varies by 0.02 MB.
    assert last["idle_mb"] < nothing["idle_mb"] + 0.2 < 10
    layers = cli("floor", "--zygote", "leaf", "--json").json["layers"]
    assert [row["layer"] for row in layers] == ["interpreter", "thing", "leaf"]


def test_bake_that_fails_shows_why(cli: Cli) -> None:
    (cli.folder / "thing.py").write_text(THING + "import nothing_there\n")
    done = cli("bake", code=1)
    assert "Traceback" in done.err and "No module named 'nothing_there'" in done.err
    assert "fleet.toml" in done.err and "  hint: " in done.err
    assert cli("bake", "--json", code=1).json["error"]["code"] == "preload-raised"


def test_bake_that_hangs_is_given_up(cli: Cli) -> None:
    (cli.folder / "thing.py").write_text(THING + "import time; time.sleep(100)\n")
    for seconds in (4, 40):
        more = f'preload = ["thing"]\nbake_timeout = "{seconds}s"'
        fleet = FLEET.replace('preload = ["thing"]', more)
        (cli.folder / "fleet.toml").write_text(fleet)
        done = cli("bake", code=1)
        if "import thing" in done.err:
            break  # else the time was over before the zygote's interpreter was there
    assert f"import thing was not done within {seconds} s" in done.err


def test_compare_shows_what_each_stage_saves(cli: Cli) -> None:
    found = cli("bake", "--compare", "--rows", "last,nothing,freeze", "--json").json
    assert found["work"] == ["thing:warm"] and found["rounds"] == 3
    nothing, freeze, last = found["stages"]
    names = [row["name"] for row in found["stages"]]
    assert names == ["nothing", "+ freeze", f"+ {bakes.order()[-1]}"]
    assert freeze["gc_mb"] < nothing["gc_mb"], "a collection writes to nothing that is frozen"
    assert last["idle_mb"] <= freeze["idle_mb"]
    if sys.version_info >= (3, 12):
        assert last["worked_mb"] < freeze["worked_mb"] - 1, "1.6 MB of objects stay shared"


def test_compare_does_the_work_that_is_named(cli: Cli) -> None:
    words = ("bake", "--compare", "--last", "--work", "thing:work", "--rounds", "1", "--json")
    row = cli(*words).json["stages"][0]
    assert 6.5 < row["worked_mb"] - row["idle_mb"] < 9
    done = cli("bake", "other", "--compare", "--rows", "nothing")
    assert "worked: nothing to do: the zygote has no `warm`" in done.err
    assert done.out.splitlines()[1].split()[3] == "-"


def test_compare_shows_work_that_fails(cli: Cli) -> None:
    done = cli("bake", "--compare", "--last", "--work", "thing:fails", code=1)
    assert "RuntimeError: no work today" in done.err and "ended before its work" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--last",), ("--work", "a:b"), ("--compare", "--work", "a"),
        ("--compare", "--rounds", "0"), ("--compare", "--rows", "no-such"), ("no-such",),
    ],
)  # fmt: skip
def test_bake_refuses_what_makes_no_sense(cli: Cli, words: tuple[str, ...]) -> None:
    done = cli("bake", *words, code=Exit.USAGE)
    assert "  hint: " in done.err and not done.out


def test_rows_add_every_stage_once_in_one_order_for_tool_and_benchmark() -> None:
    rows = bakes.rows_of(ZygoteSpec("floor"))
    assert rows["nothing"] == () and set(list(rows.values())[-1]) == set(BAKE_STAGES)
    assert list(rows)[1:] == [f"+ {name}" for name in bakes.order()]
    assert bakes.rows_of(benchmark.SPEC) == rows
    some = bakes.rows_of(ZygoteSpec("floor", bake=("warm", "freeze")))
    assert list(some) == ["nothing", "+ freeze", "+ warm"]
    assert bakes.chosen(benchmark.SPEC, ["last"]) == {list(rows)[-1]: list(rows.values())[-1]}
    with pytest.raises(ZygoteError, match="no row is called"):
        bakes.chosen(benchmark.SPEC, ["melt"])
