"""`zygotectl cow` on a real fleet, in which each worker un-shares its memory in one known way."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, eventually
from zygote.sys import pagemap, procfs

SEEDS = Path(__file__).resolve().parents[1] / "support/seeds"
BAKED = ("idle", "counter", "attribute", "unwarmed", "unwarmed_lru", "inline", "mapped")
BARE = ("collect",)
COUNTED = ("hold", "touch", "holes")
ALL = (*BAKED, *BARE, *COUNTED)
HEAD = f"""
[fleet]
name = "seeds"
runtime_dir = "run"
[zygote.floor]
preload = ["seeds"]
warm = ["seeds:warm"]
path = ["{SEEDS}"]
[zygote.bare]
preload = ["seeds"]
path = ["{SEEDS}"]
bake = ["warm"]
[zygote.counted]
preload = ["seeds"]
path = ["{SEEDS}"]
bake = ["warm", "collect", "freeze"]
[defaults]
type = "notify"
"""
CAN_IMMORTALISE = sys.version_info >= (3, 12)


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("cow")
    (folder / "a.file").write_bytes(bytes(400_000))
    text = HEAD
    for zygote, names in (("floor", BAKED), ("bare", BARE), ("counted", COUNTED)):
        for name in names:
            env = f'env = {{ SEED_FILE = "{folder}/a.file" }}\n'
            text += f'[worker.{name}]\nzygote = "{zygote}"\nrun = "seeds:{name}"\n{env}'
    (folder / "fleet.toml").write_text(text)
    cli = Cli(folder)
    cli("up", "--detach")
    yield cli
    cli("down")


@pytest.fixture(scope="module")
def seen(cli: Cli) -> dict[str, Any]:
    """What `cow` says of each worker, from few commands."""
    reports = []
    for names in (BAKED[:4], BAKED[4:], (*BARE, *COUNTED)):
        reports += cli("cow", *names, "--json").json["workers"]
    return {report["subject"]: report for report in reports}


def rows(report: Any, **wanted: str) -> float:
    """KiB of the rows in which these fields have these values."""
    return sum(
        row["kib"]
        for row in report["objects"]
        if all(row[field] == value for field, value in wanted.items())
    )


def kib(report: Any, cause: str) -> float:
    return sum(each["kib"] for each in report["causes"] if each["cause"] == cause)


@pytest.mark.parametrize("name", ALL)
def test_cow_names_nine_tenths_of_the_private_bytes(seen: dict[str, Any], name: str) -> None:
    report = seen[name]
    assert report["attributed_kib"] >= 0.9 * report["private_kib"], report["objects"][:20]


@pytest.mark.parametrize("name", ALL)
def test_cow_counts_what_the_kernel_counts(cli: Cli, seen: dict[str, Any], name: str) -> None:
    memory = procfs.read_memory(seen[name]["pid"])
    assert memory
    assert seen[name]["private_kib"] == pytest.approx(memory.uss_kib, rel=0.05)
    assert sum(each["kib"] for each in seen[name]["causes"]) == pytest.approx(
        seen[name]["private_kib"], rel=0.001
    )


def test_pagemap_counts_what_smaps_counts(cli: Cli, seen: dict[str, Any]) -> None:
    for report in seen.values():
        pages = sum(each.count for each in pagemap.read_private(report["pid"]))
        memory = procfs.read_memory(report["pid"])
        assert memory
        assert pages * 4 == pytest.approx(memory.uss_kib, rel=0.05)


def test_cow_a_global_counter_is_named(seen: dict[str, Any]) -> None:
    wanted = {"cause": "value written", "module": "seeds", "name": "COUNTER"}
    assert rows(seen["counter"], **wanted) > 0
    assert rows(seen["idle"], **wanted) == 0


def test_cow_a_class_attribute_is_named(seen: dict[str, Any]) -> None:
    wanted = {"cause": "value written", "module": "seeds", "name": "Settings.hits"}
    assert rows(seen["attribute"], **wanted) > 0
    assert rows(seen["idle"], **wanted) == 0
    # Each such write makes the interpreter forget what it knew of the class, and learn it anew;
    # up to 3.12 the class has the same bytes afterwards.
    of_class = {"type": "type", "module": "seeds", "name": "Settings"}
    assert rows(seen["attribute"], **of_class) > 0


def test_cow_an_unwarmed_cache_is_named(seen: dict[str, Any]) -> None:
    """6,000 keys, values and entries: 0.8 MB, less what does not fit a row of its own."""
    report = seen["unwarmed"]
    cache = rows(report, cause="fresh allocation", module="seeds", name="CACHE")
    assert cache > 500
    assert cache > 0.5 * (report["private_kib"] - seen["idle"]["private_kib"])
    lru = rows(seen["unwarmed_lru"], cause="fresh allocation", module="seeds", name="price")
    lru += rows(seen["unwarmed_lru"], type="_lru_list_elem")
    assert lru > 500


def test_cow_an_inline_cache_is_named(seen: dict[str, Any]) -> None:
    wanted = {"cause": "inline cache", "type": "code", "module": "seeds", "name": "rarely"}
    assert rows(seen["inline"], **wanted) > 0
    assert rows(seen["idle"], **wanted) == 0


def test_cow_a_collection_is_named(seen: dict[str, Any]) -> None:
    report = seen["collect"]
    assert kib(report, "gc header") > 0.6 * report["private_kib"], report["causes"]
    assert rows(report, cause="gc header", type="Node", module="seeds") > 200
    assert kib(seen["idle"], "gc header") < 0.2 * seen["idle"]["private_kib"]


def test_cow_reference_counts_are_named(seen: dict[str, Any]) -> None:
    held = rows(seen["hold"], cause="reference count", type="Node", module="seeds")
    assert held > 200
    touched = rows(seen["touch"], cause="written with the same bytes", type="Node", module="seeds")
    assert touched > 200


def test_cow_allocator_holes_are_named(seen: dict[str, Any]) -> None:
    assert rows(seen["holes"], cause="allocator hole", type="bytes") > 150
    assert kib(seen["idle"], "allocator hole") < 300


def test_cow_a_file_mapping_is_named(seen: dict[str, Any]) -> None:
    assert rows(seen["mapped"], cause="file mapping", name="a.file") == pytest.approx(392, abs=8)


def test_cow_costs_the_fleet_nothing(cli: Cli) -> None:
    status = cli("status", "--json").json
    zygote = next(each["pid"] for each in status["zygotes"] if each["name"] == "floor")
    worker = next(each["pid"] for each in status["workers"] if each["name"] == "counter")
    cli("cow", "counter", "--json")  # what any spawn costs the zygote is paid now
    before = [procfs.read_memory(pid) for pid in (zygote, worker)]
    cli("cow", "counter", "--json")
    after = [procfs.read_memory(pid) for pid in (zygote, worker)]
    for one, two in zip(before, after, strict=True):
        assert one and two
        assert two.uss_kib - one.uss_kib < 100


def test_cow_shows_a_summary_a_person_reads(cli: Cli) -> None:
    out = cli("cow", "counter", "--top", "3").out
    assert "counter: " in out
    assert "MB private of" in out
    assert "compared with: its zygote 'floor'" in out
    assert "what would help" in out
    assert out.rstrip().splitlines()[-4].split()[:2] == ["MB", "ALONE"]


def test_cow_diff_tells_what_came_since(cli: Cli) -> None:
    snapshot = cli.folder / "snapshot.json"
    cli("cow", "idle", "--save", str(snapshot))
    same = cli("cow", "idle", "--diff", str(snapshot), "--json").json["since"]
    assert abs(same["private_kib"]) < 100
    # Of another worker's snapshot the difference is what that one has more.
    cli("cow", "unwarmed", "--save", str(snapshot))
    less = cli("cow", "idle", "--diff", str(snapshot), "--json").json["since"]
    assert less["private_kib"] < -500
    assert less["objects"][0]["name"] == "CACHE"
    assert "-" in cli("cow", "idle", "--diff", str(snapshot)).out


def test_cow_fleet_adds_up(cli: Cli, seen: dict[str, Any]) -> None:
    found = cli("cow", "--fleet", "--json").json
    assert {each["worker"] for each in found["workers"]} == set(seen)
    assert found["private_kib"] == pytest.approx(
        sum(each["private_kib"] for each in found["workers"]), rel=0.001
    )
    assert 1 <= len(found["advice"]) <= 3
    assert found["advice"][0]["kib"] >= found["advice"][-1]["kib"]
    assert "what would help" in cli("cow", "--fleet").out


def test_cow_draws_a_picture(cli: Cli) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra `plot`")
    path = cli.folder / "out.png"
    cli("cow", "unwarmed", "--plot", str(path))
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_cow_without_a_witness_says_what_is_missing(cli: Cli) -> None:
    found = cli("cow", "counter", "--no-witness", "--json").json
    assert any("no witness" in note for note in found["notes"])
    assert found["attributed_kib"] >= 0.85 * found["private_kib"]


def test_cow_wrong_words(cli: Cli) -> None:
    assert "nothing to look at" in cli("cow", code=2).err
    assert "--pid" in cli("cow", "--parent", "1", code=2).err
    assert "no worker 'nobody'" in cli("cow", "nobody", code=4).err
    assert "no process" in cli("cow", "--pid", str(2**22 + 1), code=3).err
    (cli.folder / "bad.json").write_text(json.dumps({"version": 99}))
    assert "no snapshot" in cli("cow", "idle", "--diff", "bad.json", code=2).err
    exec_d = cli("cow", "--pid", str(os.getpid()), "--parent", str(os.getppid()), code=None)
    assert exec_d.code != 0


def test_cow_of_a_worker_whose_zygote_is_gone_says_so(cli: Cli) -> None:
    """The last test: it kills zygotes. A worker is then compared with a sibling, or with nobody."""
    for zygote in cli("status", "--json").json["zygotes"]:
        if zygote["name"] != "counted":
            os.kill(zygote["pid"], signal.SIGKILL)
    eventually(
        lambda: all(
            each["generation"] == 2 and each["state"] == "ready"
            for each in cli("status", "--json").json["zygotes"]
            if each["name"] != "counted"
        )
    )
    beside = cli("cow", "counter", "--json").json
    assert beside["compared_with"].startswith("its sibling 'attribute'")
    assert "generation 1 is gone" in beside["notes"][0]
    assert beside["attributed_kib"] >= 0.8 * beside["private_kib"]
    assert rows(beside, cause="value written", module="seeds", name="COUNTER") > 0
    alone = cli("cow", "collect", "--json").json
    assert alone["compared_with"] == "nobody"
    assert kib(alone, "nobody left to share with") > 0.5 * alone["private_kib"]
    assert "generation 1 is gone" in cli("cow", "collect").out
