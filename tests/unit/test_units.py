"""Sizes and times: what is read, what is refused and how, and what people see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.errors import ZygoteError
from zygote.units import (
    UnitError,
    format_bytes,
    format_seconds,
    parse_bytes,
    parse_seconds,
    spell_bytes,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128M", 128 * 2**20),
        ("1.5G", 3 * 2**29),
        ("512K", 2**19),
        ("64 MiB", 2**26),
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        (" 1T ", 2**40),
        (123, 123),
    ],
)
def test_bytes_are_read(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("128m", '"128M"'),
        ("128MB", '"128M"? (M is 2^20 bytes)'),
        ("128 mb", '"128M"'),
        ("1.5 gib", '"1.5G"'),
        ("12X", "powers of 1024"),
        ("", "powers of 1024"),
        ("iB", "powers of 1024"),
        ("-1", "powers of 1024"),
        (-1, "powers of 1024"),
        ("50%", "share"),
        ("1e6", "powers of 1024"),
        ("٣M", "powers of 1024"),
        (True, "powers of 1024"),
        (1.5, "powers of 1024"),
        ("9E", "powers of 1024"),
    ],
)
def test_bytes_refused_with_the_way_out(text: str | int, hint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_bytes(text)
    assert hint in caught.value.hint
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, ZygoteError)
    assert caught.value.code == "bad-unit"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5min", 300),
        ("5 min", 300),
        ("200ms", 0.2),
        ("1h 30min", 5400),
        ("1h30min", 5400),
        ("1.5h", 5400),
        ("50us", 5e-5),
        ("2d", 172800),
        ("1w", 604800),
        ("90", 90),
        ("0", 0),
        (7, 7),
        (0.25, 0.25),
    ],
)
def test_seconds_are_read(text: str | float, seconds: float) -> None:
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30S", '"30s"'),
        ("5Min", '"5min"'),
        ("5M", '"5min"'),
        ("3 fortnights", '"200ms"'),
        ("soon", '"200ms"'),
        ("", '"200ms"'),
        ("-5s", '"200ms"'),
        ("1h 30", '"200ms"'),
        ("30 40s", '"200ms"'),
        (-0.5, '"200ms"'),
        (float("inf"), '"200ms"'),
        (float("nan"), '"200ms"'),
        (True, '"200ms"'),
        ([], '"200ms"'),
    ],
)
def test_seconds_refused_with_the_way_out(text: str | float, hint: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_seconds(text)
    assert hint in caught.value.hint


@given(st.integers(0, 2**63 - 1))
def test_bytes_spelt_are_read_back(size: int) -> None:
    assert parse_bytes(spell_bytes(size)) == size


@given(st.text(max_size=12))
def test_bytes_and_seconds_of_any_text_are_a_number_or_our_error(text: str) -> None:
    for parse in (parse_bytes, parse_seconds):
        try:
            assert parse(text) >= 0
        except UnitError as error:
            assert error.hint


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "min", "h", "d"]))
def test_seconds_with_a_unit_scale(number: int, unit: str) -> None:
    factor = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}[unit]
    assert parse_seconds(f"{number}{unit}") == pytest.approx(number * factor)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MB"), (85_900_000, "85.9 MB"), (2_570_000_000, "2570.0 MB"), (10**10, "10.0 GB")],
)
def test_bytes_shown_in_decimal_megabytes(size: int, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.041, "41ms"),
        (0.9999, "1.0s"),
        (2.5, "2.5s"),
        (9.96, "10s"),
        (59.6, "1min 00s"),
        (200, "3min 20s"),
        (7500, "2h 05min"),
        (86400 * 3 + 3600 * 4, "3d 4h"),
        (-5, "-5.0s"),
    ],
)
def test_seconds_shown(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@given(st.floats(0, 1e9))
def test_seconds_shown_fit_a_column(seconds: float) -> None:
    assert len(format_seconds(seconds)) <= 11
