"""The page on the fleet file says what is so, and the words we know are the world's."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from tests.support.fleetfile import good_fleet
from zygote.audit.rules import RULES
from zygote.bake import pipeline
from zygote.fleet import words
from zygote.fleet.model import WorkerSpec, ZygoteSpec
from zygote.fleet.reference import PAGE, page
from zygote.fleet.schema import TABLES, WorkerTable, ZygoteTable, systemd_words
from zygote.sys import caps


def test_reference_page_is_what_the_schema_gives() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "python -m zygote.fleet.reference prints the page brought up to date"


def test_reference_names_every_key() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for table in TABLES.values():
        for key in table.model_fields:
            assert f"\n- `{key} = " in text


def test_reference_example_is_a_good_fleet(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shop = tmp_path / "shop"
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "nightly.py").write_text("")
    shop.mkdir()
    shop.joinpath("__init__.py").write_text("")
    for name in ("floor", "images", "queue", "web", "resize"):
        shop.joinpath(f"{name}.py").write_text("def main(): ...\ndef warm(): ...\n")
    fleet = good_fleet(tmp_path, example)
    assert fleet.order == ("queue", "web", "nightly", "resize@small", "resize@large")
    assert fleet.workers["resize@large"].args == ("--size", "large")
    assert fleet.workers["resize@large"].memory_max == 512 * 2**20
    assert fleet.runtime_dir == str(tmp_path / "run")
    assert fleet.warnings == ()


def test_page_on_zygotes_shows_a_good_tree(tmp_path: Path) -> None:
    text = (PAGE.parent / "zygotes.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    shop = tmp_path / "shop"
    shop.mkdir()
    for name in ("__init__", "floor", "images", "video", "web", "resize", "cut"):
        shop.joinpath(f"{name}.py").write_text("def main(): ...\ndef warm(): ...\n")
    fleet = good_fleet(tmp_path, example)
    assert [(spec.name, spec.parent) for spec in fleet.zygotes.values()] == [
        ("floor", ""),
        ("images", "floor"),
        ("video", "images"),
    ]
    assert fleet.warnings == ()


def test_reference_schema_has_the_model_s_keys_and_no_others() -> None:
    made = {"name", "place", "seccomp_filter", "seccomp_said"}
    assert set(WorkerTable.model_fields) == {each.name for each in fields(WorkerSpec)} - made
    assert set(ZygoteTable.model_fields) == {each.name for each in fields(ZygoteSpec)} - made


def test_reference_words_mean_keys_that_exist() -> None:
    keys = {key for table in TABLES.values() for key in table.model_fields}
    assert set(words.OTHER_WORDS.values()) <= keys
    assert not set(words.OTHER_WORDS) & keys
    assert set(systemd_words().values()) <= keys


def test_reference_words_are_those_of_the_other_packages() -> None:
    assert set(words.CAPABILITIES) == set(caps.NUMBERS)
    assert set(words.AUDIT_RULES) == set(RULES)
    audits = {"audit", "final audit"}
    assert set(words.BAKE_STAGES) == {stage.name for stage in pipeline.STAGES} - audits
