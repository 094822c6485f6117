"""Figures and tables: their form, and what gives way on a narrow terminal."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from zygote.cli import render
from zygote.cli.render import Column


@dataclass(frozen=True)
class Row:
    name: str
    size: str


COLUMNS = (
    Column("NAME", lambda row: row.name),
    Column("SIZE", lambda row: row.size, right=True, drop=1, plain="SIZE_MB"),
    Column("NOTE", lambda row: "some note", drop=2),
)
ROWS = [Row("a", "1.5"), Row("longer", "")]


def test_plain_has_aligned_columns_and_no_empty_cell() -> None:
    assert render.plain(COLUMNS, ROWS) == (
        "NAME    SIZE_MB  NOTE\n"
        "a           1.5  some note\n"
        "longer        -  some note\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, ["NAME", "SIZE", "NOTE"]),
        (23, ["NAME", "SIZE", "NOTE"]),
        (22, ["NAME", "SIZE"]),
        (12, ["NAME", "SIZE"]),
        (11, ["NAME"]),
        (1, ["NAME"]),
    ],
)
def test_fitting_drops_the_least_important_first(width: int, titles: list[str]) -> None:
    assert [column.title for column in render.fitting(COLUMNS, ROWS, width)] == titles


def test_rich_table_names_what_was_left_out() -> None:
    table = render.rich_table(COLUMNS, ROWS, 12, note="hello")
    assert table.caption == "hello; no room for NOTE (--wide)"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"),
        (86399, "23h59m"), (86400, "1d00h"), (99 * 86400, "99d00h"), (1000 * 86400, "1000d"),
        (-3, "0s"),
    ],
)  # fmt: skip
def test_age_has_six_characters_at_most(seconds: float | None, text: str) -> None:
    assert render.age(seconds) == text
    assert len(text) <= 6


def test_megabytes_are_of_ten_to_the_six() -> None:
    assert render.megabytes(1000) == "1.0"
    assert render.megabytes(83888) == "85.9"
    assert render.megabytes(None) == ""


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.42, "0.4ms"), (9.94, "9.9ms"), (41, "41ms"), (3100, "3.1s")]
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert render.milliseconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0, "0.00s"), (9.5, "9.50s"), (61.3, "61.3s"), (7500, "2h05m")]
)
def test_cpu(value: float | None, text: str) -> None:
    assert render.cpu(value) == text
