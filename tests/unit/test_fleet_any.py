"""Whatever a fleet file holds, the answer is a fleet, or errors that are whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.fleetfile import write_fleet
from tests.unit.test_fleet_load import EVERY_KEY, LAYERS
from zygote.fleet.load import check
from zygote.fleet.model import Fleet
from zygote.fleet.schema import TABLES

KEYS = [(table, key) for table, model in TABLES.items() for key in model.model_fields]

NUMBERS = ["true", "false", "0", "-1", "1.5", "nan", "-inf", "1979-05-27", "07:32:00"]
GOOD = ["128M", "30s", "infinity", "50%", "SIGTERM", "CAP_KILL", "0022", "app.web:main"]
INNER_KEYS = ["A", "nofile", "thread", '"="', '""', "as"]


def array(items: list[str]) -> str:
    return f"[{', '.join(items)}]"


def table(pairs: dict[str, str]) -> str:
    return "{" + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + "}"


VALUES = st.recursive(
    st.one_of(
        st.integers(-(2**70), 2**70).map(str),
        st.sampled_from(NUMBERS),
        st.text("abXM%i${}:-@./ 019\u00e9", max_size=10).map(lambda text: f"'{text}'"),
        st.sampled_from(GOOD).map(lambda text: f'"{text}"'),
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(array)
        | st.dictionaries(st.sampled_from(INNER_KEYS), inner, max_size=3).map(table)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("any")
    write_fleet(folder, "")
    yield folder


def check_answer(folder: Path, text: str) -> None:
    """Check the text; the answer must be one that a person and the manager can use."""
    path = folder / "fleet.toml"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    fleet, errors = check(path, {"ARG": "x", "V": "v"})
    assert (fleet is None) == bool(errors)
    if fleet is not None:
        assert isinstance(Fleet.from_json(fleet.to_json()), Fleet)
        assert set(fleet.order) == set(fleet.workers)
    lines = text.count("\n") + 1
    for error in errors:
        assert error.message
        assert error.hint
        assert error.code
        match = re.fullmatch(r"fleet\.toml:(\d+)", error.place)
        assert match, error.place
        assert 1 <= int(match[1]) <= lines


@given(st.sampled_from(KEYS), VALUES)
@example(("worker", "args"), "[" * 10 + "]" * 10)
def test_fleet_any_value_for_any_key(folder: Path, key: tuple[str, str], value: str) -> None:
    table, name = key
    header = {"fleet": "[fleet]", "zygote": "[zygote.floor]", "worker": '[worker."w@1"]',
              "defaults": "[defaults]"}[table]  # fmt: skip
    rest = "" if table == "fleet" and name == "name" else 'name = "demo"\n'
    text = f"[fleet]\n{rest}{'' if table == 'fleet' else header}\n{name} = {value}\n"
    if table in ("worker", "defaults"):
        text += '[worker."w@"]\nrun = "app.%i"\n[worker.v]\nrun = "tool"\n'
    check_answer(folder, text)


@given(st.data())
def test_fleet_any_change_to_a_good_file(folder: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([EVERY_KEY, LAYERS]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        new = data.draw(st.text("ab[]{}=\"'\n.,#@%$0 \u00e9", max_size=4))
        text = text[:start] + new + text[end:]
    check_answer(folder, text)


@pytest.mark.parametrize("family", ["${UNSET}", "${:-}", "$${A}", "${V}", "${EMPTY:-}", "AF_UNIX"])
def test_fleet_any_variable_in_address_families(folder: Path, family: str) -> None:
    run = '[worker.w]\nrun = "tool"\naddress_families'
    check_answer(folder, f'[fleet]\nname = "demo"\n[zygote.floor]\n{run} = ["unix", "{family}"]\n')


@given(st.text(max_size=200))
def test_fleet_any_text(folder: Path, text: str) -> None:
    check_answer(folder, text.encode("utf-8", "replace").decode())
