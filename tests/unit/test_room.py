"""What is said before a fleet grows beyond what the machine allows."""

from __future__ import annotations

import resource

from zygote.sys.room import SPARE_DESCRIPTORS, Bound, read_bounds, shortage


def test_shortage_names_the_limit_what_is_free_and_the_way_out() -> None:
    bounds = [Bound("descriptors", 1024, 100, "raise it to {most}")]
    error = shortage(1000, bounds)
    assert error is not None and error.code == "no-room"
    assert "1,600 descriptors" in error.message and "924 are free" in error.message
    assert error.hint == f"raise it to {100 + 1000 + SPARE_DESCRIPTORS}"


def test_shortage_is_none_up_to_the_last_one_that_fits() -> None:
    bounds = [Bound("descriptors", 1024, 0, "{most}")]
    assert shortage(1024 - SPARE_DESCRIPTORS, bounds) is None
    assert shortage(1025 - SPARE_DESCRIPTORS, bounds) is not None


def test_bounds_have_this_machines_own_limits() -> None:
    bounds = {bound.name: bound for bound in read_bounds(held=7)}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        assert (bounds["descriptors"].most, bounds["descriptors"].used) == (hard, 7)
    tasks = bounds["tasks (kernel.pid_max)"]
    assert 0 < tasks.used < tasks.most
