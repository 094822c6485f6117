"""benchmarks/peers.py: what can be told without running a peer."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import kinds, table
from zygote.fleet.load import check

ROOT = Path(__file__).resolve().parents[2]


def test_sizes_become_megabytes_of_the_tree_and_of_the_median_worker() -> None:
    sizes = table.Sizes(100_000, 1_000, [1_000, 9_000, 2_000], 4)
    assert sizes.columns("idle") == {"idle_mb": 103.4, "private_idle_mb": 2.05}


@pytest.mark.parametrize(
    ("seconds", "median"),
    [([0.01, 0.5, 0.02], 20.0), ([0.01, None, 0.02], None), ([None], None), ([], None)],
)
def test_a_crash_that_was_not_made_good_leaves_no_figure(
    seconds: list[float | None], median: float | None
) -> None:
    assert table.crash_ms(seconds) == median


def test_the_extra_names_a_package_for_every_peer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = {table.name_of(each) for each in table.requirements(project, "peers")}
    assert {peer.package for peer in kinds.PEERS} - {"", "zygote-fleet"} <= named


@pytest.mark.parametrize(
    ("requirement", "name"),
    [("uWSGI>=2", "uwsgi"), ("a-b_c.d[x]<1", "a-b_c.d"), ("plain", "plain")],
)
def test_name_of(requirement: str, name: str) -> None:
    assert table.name_of(requirement) == name


def test_every_peer_gets_as_many_workers_as_asked(tmp_path: Path) -> None:
    for peer in kinds.PEERS:
        command = peer.command(tmp_path, 37)
        written = "".join(file.read_text() for file in tmp_path.iterdir())
        assert "37" in command or "numprocs = 37" in written or written.count('"line@') == 38
        for file in tmp_path.iterdir():
            file.unlink()


def test_our_fleet_file_is_valid(tmp_path: Path) -> None:
    [ours] = [peer for peer in kinds.PEERS if peer.name == "zygote"]
    ours.command(tmp_path, 3)
    fleet, errors = check(tmp_path / "fleet.toml")
    assert not errors and fleet is not None
    assert sorted(fleet.workers) == ["line@0", "line@1", "line@2"]


def test_the_table_shows_figures_gaps_and_what_is_missing() -> None:
    whole: dict[str, Any] = dict.fromkeys(table.COLUMNS, 1.5) | {"crash_ready_ms": None}
    rows = [
        whole | {"peer": "one", "note": "not restarted"},
        {"peer": "two", "version": None, "note": "not available: no compiler"},
    ]
    shown = table.text({"n": 2, "python": "3", "floor": "f", "rounds": 1, "peers": rows})
    one, two = shown.splitlines()[-2:]
    assert one.split()[:2] == ["one", "1.5"] and " - " in one and one.endswith("not restarted")
    assert two.split(maxsplit=1) == ["two", "not available: no compiler"]


def test_work_comes_to_the_same_answer_after_a_warm_up() -> None:
    """In a process of its own: its tables must not be among those of other tests."""
    code = (
        "from benchmarks.peers import app\n"
        "app.warm(); one = app.turn('work:9')['answer']\n"
        "assert app.turn('work:9')['answer'] == one\n"
        "app.warm(); assert app.work(9) == one\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=240)
