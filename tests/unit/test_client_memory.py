"""The figures of a large fleet: some measured, some estimated, none invented in silence."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.client import memory
from zygote.client.memory import measure, measure_workers
from zygote.control.interface import WorkerState, ZygoteState


def workers(count: int, **keys: object) -> list[WorkerState]:
    return [
        WorkerState(f"w{number}", "ready", os.getpid(), zygote="floor", **keys)  # type: ignore[arg-type]
        for number in range(count)
    ]


def test_rows_are_all_measured_where_time_is_no_matter() -> None:
    rows = measure_workers(workers(5), None)
    assert [row.estimated for row in rows] == [False] * 5
    assert all(row.pss_kib for row in rows)


def test_rows_beyond_the_time_are_estimated_from_their_zygotes_others() -> None:
    rows = measure_workers(workers(9), 0.0)
    walked = [row for row in rows if not row.estimated]
    assert len(walked) == 1
    for row in rows:
        assert row.rss_kib and row.pagetables_kib, "these cost nothing, and are never estimated"
        assert row.pss_kib == walked[0].pss_kib


def test_row_of_a_zygote_that_nobody_measured_has_no_figure() -> None:
    other = [WorkerState(f"x{n}", "ready", os.getpid(), zygote=f"other{n}") for n in range(3)]
    estimated = [row for row in measure_workers(other, 0.0) if row.estimated]
    assert len(estimated) == 2
    assert all(row.pss_kib is None and row.rss_kib for row in estimated)


def test_row_without_a_process_is_empty_and_not_estimated() -> None:
    rows = measure_workers([*workers(1), *[WorkerState("y", "inactive")] * 3], 0.0)
    empty = [row for row in rows if row.pid is None]
    assert len(empty) == 3
    assert not any(row.estimated or row.rss_kib for row in empty)


def test_estimate_takes_the_cgroups_charge_for_the_private_part(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    leaf = Path(str(tmp_path))
    (leaf / "memory.stat").write_text("anon 2048000\nfile 4096\n")
    rows = measure_workers(workers(3, cgroup=str(leaf)), 0.0)
    estimated = [row for row in rows if row.estimated]
    assert {row.uss_kib for row in estimated} == {2000}


def test_measure_without_a_walk_leaves_out_what_needs_one() -> None:
    row = measure(os.getpid(), walk=False)
    assert row.rss_kib and row.pagetables_kib
    assert row.pss_kib is None and row.uss_kib is None


@given(st.integers(0, 500))
def test_sample_comes_to_everybody_once(count: int) -> None:
    assert sorted(memory._spread(count)) == list(range(count))


def test_sample_is_spread_over_the_whole_from_the_first_ones_on() -> None:
    first = sorted(list(memory._spread(1000))[:10])
    assert first[0] < 200 and first[-1] > 800


def test_generation_that_a_reload_has_made_is_a_row_of_its_own() -> None:
    floor = ZygoteState(
        "floor", "ready", 10, 3, next_pid=11, next_generation=4, next_state="baking"
    )
    rows = list(memory.with_next([floor, ZygoteState("other", "ready", 12)]))
    assert [(z.name, z.state, z.pid, z.generation) for z in rows] == [
        ("floor", "ready", 10, 3), ("floor", "baking", 11, 4), ("other", "ready", 12, 0),
    ]  # fmt: skip
