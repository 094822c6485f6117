"""The wall clock is set, by a day or a century: nobody is restarted, given up on or killed for it.

The machine's clock is not touched: units take theirs from outside, and every decision is made by
the monotonic one.
"""

from __future__ import annotations

import pytest

from tests.support.specs import worker_spec
from zygote.manager.policy import End
from zygote.manager.unit import Clock, Do, State, Unit

JUMPS = (-4e9, -86400.0, -1.0, 1.0, 86400.0, 4e9)


class Clocks:
    """A wall clock that somebody sets, beside a monotonic one that only goes on."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 1000.0, 1.7e9
        self.clock = Clock(lambda: self.monotonic, lambda: self.wall)

    def go(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def ready_unit(clocks: Clocks, **keys: object) -> Unit:
    unit = Unit(worker_spec(type="notify", **keys), clocks.clock, lambda: 0.0)
    unit.start()
    unit.sent()
    unit.up(42, 3.0)
    unit.said_ready()
    assert unit.state is State.READY
    return unit


@pytest.mark.parametrize("jump", JUMPS)
def test_watchdog_is_not_rung_by_a_set_clock(jump: float) -> None:
    clocks = Clocks()
    unit = ready_unit(clocks, watchdog=30.0)
    clocks.wall += jump
    clocks.go(29.0)
    assert unit.timed_out() is Do.NOTHING
    clocks.go(1.5)
    assert unit.timed_out() is Do.ABORT, "and is rung by time that went by"


@pytest.mark.parametrize("jump", JUMPS)
def test_start_and_stop_limits_are_not_reached_by_a_set_clock(jump: float) -> None:
    clocks = Clocks()
    unit = Unit(worker_spec(start_timeout=30.0, stop_grace=5.0), clocks.clock, lambda: 0.0)
    unit.start()
    unit.sent()
    clocks.wall += jump
    assert unit.timed_out() is Do.NOTHING and unit.state is State.STARTING
    unit.up(42, 3.0)
    unit.stop()
    clocks.wall -= 2 * jump
    assert unit.timed_out() is Do.NOTHING and unit.state is State.STOPPING


@pytest.mark.parametrize("jump", JUMPS)
def test_backoff_and_start_limit_count_time_that_went_by(jump: float) -> None:
    clocks = Clocks()
    keys = {"start_limit": 2, "start_limit_interval": 100.0, "restart_delay": 1.0}
    unit = ready_unit(clocks, **keys)
    assert unit.ended(End("signalled", 9)) is Do.SPAWN
    unit.sent()
    unit.up(43, 3.0)
    clocks.wall += jump
    assert unit.ended(End("signalled", 9)) is Do.NOTHING and unit.state is State.BACKOFF
    clocks.wall += jump
    assert unit.timed_out() is Do.NOTHING, "the delay has not gone by"
    clocks.go(1.1)
    assert unit.timed_out() is Do.SPAWN
    unit.sent()
    unit.up(44, 3.0)
    clocks.wall -= jump
    unit.ended(End("signalled", 9))
    assert unit.state is State.FAILED, "the third within the interval, whatever the clock says"


@pytest.mark.parametrize("jump", JUMPS)
def test_adopted_worker_is_not_older_or_younger_than_it_can_be(jump: float) -> None:
    clocks = Clocks()
    unit = Unit(worker_spec(watchdog=30.0), clocks.clock, lambda: 0.0)
    unit.adopt(42, clocks.wall + jump, ready=True, restarts=3)
    assert unit.state is State.READY
    assert unit.timed_out() is Do.NOTHING, "its watchdog begins with us"
