"""`decnet.log` and `decnet.json`: killed, full, rotated at any byte, each line is there once."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.collect.export import Exporter

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)


def row(number: int, event: str = "command") -> Any:
    return SimpleNamespace(
        id=number,
        timestamp=NOW + dt.timedelta(milliseconds=number),
        decky="d",
        service="ssh",
        event_type=event,
        attacker_ip="192.0.2.7",
        raw_line=f"line {number} é",
        fields={"n": str(number)},
        msg=None,
    )


def export(exporter: Exporter, rows: list[Any], notes: list[dict[str, Any]]) -> None:
    """As the worker does it; `notes` is the database."""
    if not exporter.is_pending:
        exporter.render([r for r in rows if r.id > exporter.last_id][:3])
    if exporter.is_pending:
        if exporter.is_moved():
            notes.append(exporter.note())
        exporter.flush()


def until_done(exporter: Exporter, rows: list[Any], notes: list[dict[str, Any]]) -> None:
    while exporter.last_id < rows[-1].id:
        export(exporter, rows, notes)
    exporter.close()


def check(folder: Path, rows: list[Any]) -> None:
    assert (folder / "x.log").read_text().splitlines() == [r.raw_line for r in rows]
    lines = (folder / "x.json").read_text().splitlines()
    assert [json.loads(line)["fields"]["n"] for line in lines] == [r.fields["n"] for r in rows]


def exporter_at(folder: Path, notes: list[dict[str, Any]]) -> Exporter:
    noted = json.loads(json.dumps(notes[-1])) if notes else None
    return Exporter(folder / "x.log", folder / "x.json", noted)


@contextlib.contextmanager
def dying_after(count: int) -> Iterator[None]:
    """The process is killed once it has written `count` bytes, in the middle of a write."""
    left, really_write = count, os.write

    def write(handle: int, data: bytes | memoryview) -> int:
        nonlocal left
        done = really_write(handle, data[:left])
        left -= done
        if done < len(data):
            raise Killed
        return done

    with mock.patch("decnet.collect.export.os.write", write), contextlib.suppress(Killed):
        yield


class Killed(BaseException):
    pass


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.integers(0, 2500), st.booleans()), max_size=5),
)
def test_export_killed_at_any_byte_doubles_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, count: int, kills: list[tuple[int, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    rows = [row(n) for n in range(1, count + 1)]
    notes: list[dict[str, Any]] = []
    for left, noted in kills:
        exporter = exporter_at(folder, notes)
        with dying_after(left):
            while exporter.last_id < count:
                export(exporter, rows, notes)
                if noted:
                    notes.append(exporter.note())
        exporter.close()
    until_done(exporter_at(folder, notes), rows, notes)
    check(folder, rows)


def test_export_follows_a_rotation(tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, 10)]
    notes: list[dict[str, Any]] = []
    exporter = exporter_at(tmp_path, notes)
    export(exporter, rows, notes)
    (tmp_path / "x.log").rename(tmp_path / "x.log.1")
    until_done(exporter, rows, notes)
    assert (tmp_path / "x.log.1").read_text().splitlines() == [r.raw_line for r in rows[:3]]
    assert (tmp_path / "x.log").read_text().splitlines() == [r.raw_line for r in rows[3:]]
    assert len(notes) == 2, "the new file is noted before its first byte"


def test_export_goes_on_behind_others_bytes(tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, 7)]
    notes: list[dict[str, Any]] = []
    (tmp_path / "x.log").write_text("already here\n")
    exporter = exporter_at(tmp_path, notes)
    export(exporter, rows, notes)
    with (tmp_path / "x.log").open("a") as file:
        file.write("somebody else\n")
    until_done(exporter, rows, notes)
    lines = (tmp_path / "x.log").read_text().splitlines()
    assert lines == [
        "already here",
        *[r.raw_line for r in rows[:3]],
        "somebody else",
        *[r.raw_line for r in rows[3:]],
    ]


def test_export_that_failed_half_way_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, 4)]
    notes: list[dict[str, Any]] = []
    (tmp_path / "x.json").mkdir()
    exporter = exporter_at(tmp_path, notes)
    for _ in range(3):
        with pytest.raises(OSError):
            export(exporter, rows, notes)
    (tmp_path / "x.json").rmdir()
    until_done(exporter, rows, notes)
    check(tmp_path, rows)


def test_export_thins_out_noise_in_the_json_file_only(tmp_path: Path) -> None:
    rows = [row(n, "connect") for n in range(1, 7)]
    notes: list[dict[str, Any]] = []
    exporter = exporter_at(tmp_path, notes)
    until_done(exporter, rows, notes)
    assert len((tmp_path / "x.log").read_text().splitlines()) == 6
    assert len((tmp_path / "x.json").read_text().splitlines()) == 1
    assert exporter.noise.suppressed == 5
