"""What `cow` makes of what it found: causes, sums, differences, advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from zygote.cli import cow_text
from zygote.errors import ZygoteError
from zygote.inspect import causes, layout, report
from zygote.inspect.objects import Type
from zygote.inspect.report import Found, Key, Report, Size

LAYOUT = layout.calibrate()


def kind(base: str, gc: bool = True) -> Type:
    return Type(base or "Node", "builtins", gc, base, 48, 0)


@pytest.mark.parametrize(
    ("base", "before", "offset", "cause"),
    [
        ("", 16, 0, causes.REFCOUNT),
        ("", 16, -8, causes.GC_HEADER),
        ("", 16, -16, causes.GC_HEADER),
        ("", 32, -24, causes.WRITTEN),
        ("", 16, 24, causes.WRITTEN),
        ("code", 0, LAYOUT.code_units + 8, causes.INLINE),
        ("code", 0, LAYOUT.code_units - 8, causes.CACHE),
        ("code", 0, LAYOUT.code_units + 800, causes.CACHE),
        ("type", 16, 200, causes.CACHE),
        ("dict", 16, layout.DICT_VERSION, causes.CACHE),
        ("dict", 16, layout.DICT_USED, causes.WRITTEN),
        ("str", 0, layout.STR_HASH, causes.CACHE),
    ],
)
def test_cause_of_a_changed_word(base: str, before: int, offset: int, cause: str) -> None:
    assert causes.in_object(kind(base), before, offset, LAYOUT, 50) == cause


@pytest.mark.parametrize(
    ("offset", "cause"), [(0, causes.REFCOUNT), (8, causes.CACHE), (40, causes.WRITTEN)]
)
def test_cause_in_the_keys_of_a_dict(offset: int, cause: str) -> None:
    assert causes.in_keys(offset) == cause


def test_every_cause_is_explained() -> None:
    names = {
        value for name, value in vars(causes).items() if name.isupper() and isinstance(value, str)
    }
    assert names == causes.CAUSES.keys()


def key(cause: str = causes.WRITTEN, name: str = "COUNTER", module: str = "shop") -> Key:
    return Key(cause, "keys of dict", module, name, "heap (Python)")


def a_report(rows: dict[Key, Size]) -> Report:
    return Report("orders", 812, "its zygote", Found(rows, {causes.WRITTEN: 4.0}), at=100.0)


def test_report_survives_being_saved() -> None:
    before = a_report({key(): Size(6.0, 4.0), key(causes.FRESH, ""): Size(10.0, 8.0)})
    again = report.from_dict(before.as_dict(), "file")
    assert again.rows == before.rows
    assert again.found.alone == {causes.WRITTEN: 4.0, causes.FRESH: 0.0}
    assert (again.subject, again.pid, again.at) == ("orders", 812, 100.0)


@pytest.mark.parametrize("saved", [{}, {"version": 99}, [], None, {"version": 1, "objects": [3]}])
def test_a_file_that_is_no_snapshot_is_refused(saved: object) -> None:
    with pytest.raises(ZygoteError, match=r"some\.json is no snapshot"):
        report.from_dict(saved, "some.json")


def test_unknown_memory_is_not_attributed() -> None:
    rows = {
        key(): Size(6.0, 0.0),
        key(causes.UNKNOWN): Size(2.0, 0.0),
        Key(causes.FRESH, "memory of C code", "", "", "heap (malloc)"): Size(2.0, 0.0),
    }
    found = a_report(rows)
    assert (found.private_kib, found.attributed_kib) == (10.0, 6.0)


def test_changes_are_what_came_and_what_went() -> None:
    before = {key(): Size(6.0, 4.0), key(name="OLD"): Size(4.0, 4.0)}
    after = {key(): Size(7.0, 4.0), key(name="NEW"): Size(2.0, 0.0)}
    found = {each.name: size.kib for each, size in report.changes(before, after).items()}
    assert found == {"COUNTER": 1.0, "OLD": -4.0, "NEW": 2.0}
    assert report.changes(before, before) == {}


def test_advice_names_the_object_that_is_written_and_the_package_that_learns() -> None:
    rows = {
        key(): Size(6.0, 0.0),
        key(causes.INLINE, "a", "sqlalchemy.sql"): Size(5.0, 0.0),
        key(causes.INLINE, "b", "sqlalchemy.orm"): Size(5.0, 0.0),
        key(causes.FRESH, ""): Size(100.0, 0.0),
        key(causes.SAME, "x", "json"): Size(1.0, 0.0),
        key(causes.HOLE, "", ""): Size(0.5, 0.0),
    }
    advice = report.advise(rows)
    assert [(each.cause, each.what, each.kib) for each in advice] == [
        (causes.INLINE, "sqlalchemy", 10.0),
        (causes.WRITTEN, "keys of dict shop.COUNTER", 6.0),
        (causes.SAME, "json", 1.0),
    ]


def test_module_of_a_file(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "prices"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").touch()
    assert report.module_of(str(inner / "gold.py")) == "shop.prices.gold"
    assert report.module_of(str(inner / "__init__.py")) == "shop.prices"
    assert report.module_of(str(tmp_path / "alone.py")) == "alone"
    assert report.module_of("<frozen importlib._bootstrap>") == "importlib._bootstrap"
    assert report.module_of("<string>") == "<string>"


def test_summary_in_a_pipe_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    found = a_report({key(): Size(6.0, 4.0)})
    cow_text.show(found, 5)
    out = capsys.readouterr().out
    assert "orders: 0.0 MB private" in out
    assert "100% of it named" in out
    assert "value written" in out and "shop.COUNTER" in out


def test_changes_tell_of_another_process(capsys: pytest.CaptureFixture[str]) -> None:
    before = a_report({key(): Size(6000.0, 4.0)})
    after = a_report({key(): Size(9000.0, 4.0)})
    after.pid, after.at = 900, 160.0
    cow_text.show_changes(before, after, 5)
    out = capsys.readouterr().out
    assert "+3.07 MB private in 1min" in out
    assert "it was pid 812 then, it is 900 now" in out
