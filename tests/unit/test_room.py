"""What is said before a fleet grows beyond what the machine allows."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from zygote.sys import room
from zygote.sys.room import SPARE_DESCRIPTORS, Bound, read_bounds, read_estimates, shortage


def test_shortage_names_the_limit_what_is_free_and_the_way_out() -> None:
    bounds = [Bound("descriptors", 1024, 100, "raise it to {most}", spare=SPARE_DESCRIPTORS)]
    error = shortage(1000, bounds)
    assert error is not None and error.code == "no-room"
    assert "1,600 descriptors" in error.message and "924 are free" in error.message
    assert error.hint == f"raise it to {100 + 1000 + SPARE_DESCRIPTORS}"


def test_shortage_is_none_up_to_the_last_one_that_fits() -> None:
    bounds = [Bound("descriptors", 1024, 0, "{most}", spare=SPARE_DESCRIPTORS)]
    assert shortage(1024 - SPARE_DESCRIPTORS, bounds) is None
    assert shortage(1025 - SPARE_DESCRIPTORS, bounds) is not None


def test_bounds_have_this_machines_own_limits() -> None:
    bounds = {bound.name: bound for bound in read_bounds(held=7)}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        assert (bounds["descriptors"].most, bounds["descriptors"].used) == (hard, 7)
    tasks = bounds["tasks (kernel.pid_max)"]
    assert 0 < tasks.used < tasks.most


def test_shortage_counts_what_a_worker_takes_and_what_is_needed_besides() -> None:
    memory = Bound("MB of memory", 1000, 0, "it takes {most:,} MB", each=1.2, spare=100)
    assert shortage(750, [memory]) is None
    error = shortage(751, [memory])
    assert error is not None and "1,002 MB of memory" in error.message
    assert error.hint == "it takes 1,002 MB"


@pytest.mark.parametrize("workers", [1, 100_000_000])
def test_estimates_name_memory_files_and_mappings(workers: int) -> None:
    bounds = {bound.name: bound for bound in read_estimates()}
    assert set(bounds) == {
        "MB of memory",
        "open files (fs.file-max)",
        "mappings a process (vm.max_map_count)",
    }
    assert bool(shortage(workers, [bounds["MB of memory"]])) == (workers > 1)


def test_inotify_is_asked_for_only_where_somebody_watches() -> None:
    (bound,) = [bound for bound in read_estimates(watching=10**9) if "inotify" in bound.name]
    error = shortage(0, [bound])
    assert error is not None and "fs.inotify.max_user_instances=1000000000" in error.hint


def test_groups_above_bound_their_descendants(tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("40\n")
    (tmp_path / "pids.current").write_text("7\n")
    (tmp_path / "cgroup.max.descendants").write_text("9\n")
    (tmp_path / "cgroup.stat").write_text("nr_descendants 3\nnr_dying_descendants 0\n")
    found = {bound.name: (bound.most, bound.used) for bound in room.bounds_of(tmp_path)}
    assert found == {
        f"tasks (pids.max of {tmp_path.name})": (40, 7),
        f"cgroups (cgroup.max.descendants of {tmp_path.name})": (9, 3),
    }
    (tmp_path / "cgroup.max.descendants").write_text("max\n")
    assert len(room.bounds_of(tmp_path)) == 1
