"""The state machine of one worker, without a process and without waiting."""

from __future__ import annotations

import pytest

from tests.support.clock import FakeClock
from tests.support.specs import worker_spec
from zygote.manager.policy import End
from zygote.manager.unit import Do, State, Unit


def unit_of(clock: FakeClock, **keys: object) -> Unit:
    return Unit(worker_spec(**keys), clock.clock, lambda: 0.0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def bring_up(unit: Unit, pid: int = 42) -> None:
    assert unit.start() is Do.SPAWN
    unit.sent()
    assert unit.up(pid, 2.5) is Do.NOTHING


def events(unit: Unit) -> list[str]:
    told, unit.told = unit.told, []
    return [event for event, _ in told]


def test_unit_simple_is_ready_when_it_is_up(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    assert unit.state is State.READY
    assert (unit.pid, unit.spawn_ms, unit.ready_ms) == (42, 2.5, 2.5)
    assert unit.deadline is None
    assert events(unit) == ["starting", "up", "ready"]


def test_unit_notify_is_ready_when_it_says_so(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify")
    bring_up(unit)
    assert unit.state is State.UP
    clock.go(1.5)
    unit.said_ready()
    assert unit.state is State.READY
    assert unit.ready_ms == pytest.approx(1500)
    unit.said_ready()
    assert events(unit) == ["starting", "up", "ready"]


@pytest.mark.parametrize("again", [True, False])
def test_unit_what_cannot_be_taken_over_ends_before_another_starts(
    clock: FakeClock, again: bool
) -> None:
    unit = unit_of(clock, stop_grace=3.0)
    assert unit.displace(42, clock.clock.wall(), again=again) is Do.STOP
    assert (unit.state, unit.wanted) == (State.STOPPING, again)
    clock.go(3.0)
    assert unit.timed_out() is Do.KILL
    assert unit.ended(End("unknown")) is (Do.SPAWN if again else Do.NOTHING)
    assert unit.state is (State.STARTING if again else State.INACTIVE)
    assert unit.restarts == 0, "it did not fail"


def test_unit_start_of_a_running_one_changes_nothing(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    assert unit.start() is Do.NOTHING
    assert (unit.state, unit.pid) == (State.READY, 42)


def test_unit_crash_is_restarted_at_once_then_later_and_later(clock: FakeClock) -> None:
    unit = unit_of(clock, restart_delay=1.0)
    bring_up(unit)
    assert unit.ended(End("exited", 3)) is Do.SPAWN
    assert (unit.state, unit.restarts, unit.error) == (State.STARTING, 1, "exited(3)")
    unit.sent()
    unit.up(43, 1.0)
    assert unit.ended(End("exited", 3)) is Do.NOTHING
    assert unit.state is State.BACKOFF
    assert unit.deadline == clock.now + 1.0
    assert unit.next_start_at == pytest.approx(clock.clock.wall() + 1.0)
    clock.go(0.9)
    assert unit.timed_out() is Do.NOTHING
    clock.go(0.1)
    assert unit.timed_out() is Do.SPAWN
    assert (unit.state, unit.restarts) == (State.STARTING, 2)
    assert unit.next_start_at is None


def test_unit_clean_end_is_left_alone_on_failure(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    assert unit.ended(End("exited", 0)) is Do.NOTHING
    assert (unit.state, unit.wanted, unit.error) == (State.INACTIVE, False, "")
    assert str(unit.last_end) == "exited(0)"


def test_unit_end_before_ready_is_a_failure_even_if_clean(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", restart="no")
    bring_up(unit)
    unit.ended(End("exited", 0))
    assert unit.state is State.FAILED
    assert unit.error == "exited(0) before it was ready"
    assert "zygotectl logs web" in unit.hint


def test_unit_crash_without_restart_is_failed_and_can_be_started_again(clock: FakeClock) -> None:
    unit = unit_of(clock, restart="no")
    bring_up(unit)
    unit.ended(End("signalled", 11))
    assert (unit.state, unit.error) == (State.FAILED, "signalled(SIGSEGV)")
    assert unit.start() is Do.SPAWN
    assert unit.error == ""


def test_unit_gives_up_at_its_start_limit(clock: FakeClock) -> None:
    unit = unit_of(clock, restart_delay=0.1, start_limit=2)
    bring_up(unit)
    for _ in range(2):
        if unit.ended(End("exited", 1)) is Do.NOTHING:
            clock.go(1)
            unit.timed_out()
        unit.sent()
        unit.up(43, 1.0)
    assert unit.ended(End("exited", 1)) is Do.NOTHING
    assert unit.state is State.FAILED
    assert "restarted 2 times within 300 s" in unit.error
    assert unit.start() is Do.SPAWN
    unit.sent()
    unit.up(44, 1.0)
    assert unit.ended(End("exited", 1)) is Do.SPAWN, "a start asked for starts the count over"


def test_unit_stop_signals_then_kills_at_the_grace(clock: FakeClock) -> None:
    unit = unit_of(clock, stop_grace=5.0)
    bring_up(unit)
    assert unit.stop() is Do.STOP
    assert (unit.state, unit.wanted) == (State.STOPPING, False)
    clock.go(4.9)
    assert unit.timed_out() is Do.NOTHING
    clock.go(0.2)
    assert unit.timed_out() is Do.KILL
    assert unit.deadline is not None, "it is killed again if that did not help"
    assert unit.ended(End("signalled", 9)) is Do.NOTHING
    assert (unit.state, unit.error, unit.restarts) == (State.INACTIVE, "", 0)
    assert str(unit.last_end) == "signalled(SIGKILL)"


def test_unit_stop_of_one_that_exits_badly_is_no_failure(clock: FakeClock) -> None:
    unit = unit_of(clock, restart="always")
    bring_up(unit)
    unit.stop()
    assert unit.ended(End("exited", 1)) is Do.NOTHING
    assert (unit.state, unit.failures) == (State.INACTIVE, 0)


def test_unit_stop_in_backoff_ends_it(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    unit.ended(End("exited", 1))
    unit.sent()
    unit.up(43, 1.0)
    unit.ended(End("exited", 1))
    assert unit.state is State.BACKOFF
    assert unit.stop() is Do.NOTHING
    assert (unit.state, unit.deadline, unit.error) == (State.INACTIVE, None, "")


def test_unit_stop_while_starting_gives_the_spawn_up(clock: FakeClock) -> None:
    unit = unit_of(clock)
    unit.start()
    assert unit.stop() is Do.CANCEL
    assert unit.start_failed("cancelled") is Do.NOTHING
    assert (unit.state, unit.failures) == (State.INACTIVE, 0)


def test_unit_up_that_comes_after_a_stop_is_stopped(clock: FakeClock) -> None:
    unit = unit_of(clock)
    unit.start()
    unit.sent()
    unit.stop()
    assert unit.up(42, 1.0) is Do.STOP
    assert unit.state is State.STOPPING


def test_unit_start_while_stopping_starts_it_again_at_its_end(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    unit.stop()
    assert unit.start() is Do.NOTHING
    assert unit.ended(End("exited", 0)) is Do.SPAWN
    assert (unit.state, unit.restarts) == (State.STARTING, 0)


def test_unit_not_ready_in_time_is_killed_and_counts_as_failed(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", start_timeout=3.0, restart="no")
    bring_up(unit)
    clock.go(3.0)
    assert unit.timed_out() is Do.KILL
    unit.ended(End("signalled", 9))
    assert (unit.state, unit.error) == (State.FAILED, "not ready within 3 s (start_timeout)")


def test_unit_start_timeout_counts_from_sending(clock: FakeClock) -> None:
    unit = unit_of(clock, start_timeout=3.0)
    unit.start()
    assert unit.deadline is None, "a zygote that bakes may take its time"
    clock.go(60)
    unit.sent()
    assert unit.deadline == clock.now + 3.0
    clock.go(3)
    assert unit.timed_out() is Do.CANCEL


def test_unit_may_ask_for_more_time_to_start(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", start_timeout=3.0)
    bring_up(unit)
    clock.go(2)
    unit.extend(10)
    clock.go(5)
    assert unit.timed_out() is Do.NOTHING
    unit.extend(0.1)
    assert unit.deadline == clock.now + 5, "asking for less takes nothing away"


def test_unit_watchdog_is_fed_by_signs_of_life(clock: FakeClock) -> None:
    unit = unit_of(clock, watchdog=2.0)
    bring_up(unit)
    for _ in range(5):
        clock.go(1.5)
        unit.alive()
        assert unit.timed_out() is Do.NOTHING
    clock.go(2.0)
    assert unit.timed_out() is Do.ABORT
    unit.alive()
    clock.go(unit.spec.stop_grace)
    assert unit.timed_out() is Do.KILL, "a sign of life after SIGABRT comes too late"
    assert unit.ended(End("signalled", 9)) is Do.SPAWN
    assert str(unit.last_end) == "watchdog_expired"
    assert unit.error == "watchdog_expired"


def test_unit_watchdog_sleeps_until_it_is_ready(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", watchdog=2.0, start_timeout=30.0)
    bring_up(unit)
    clock.go(10)
    assert unit.timed_out() is Do.NOTHING
    unit.said_ready()
    assert unit.deadline == clock.now + 2.0


def test_unit_failed_step_is_not_tried_again(clock: FakeClock) -> None:
    unit = unit_of(clock, restart="always")
    unit.start()
    assert unit.start_failed("setting uid 998", step="uid", errno=1, hint="be root") is Do.NOTHING
    assert (unit.state, unit.step, unit.errno, unit.hint) == (State.FAILED, "uid", 1, "be root")
    assert not unit.wanted


def test_unit_passing_fault_is_tried_again_by_the_policy(clock: FakeClock) -> None:
    unit = unit_of(clock)
    unit.start()
    assert unit.start_failed("no memory", transient=True, errno=12) is Do.SPAWN
    assert unit.start_failed("no memory", transient=True, errno=12) is Do.NOTHING
    assert (unit.state, unit.errno) == (State.BACKOFF, 12)


def test_unit_adopted_keeps_age_restarts_and_watchdog(clock: FakeClock) -> None:
    unit = unit_of(clock, watchdog=2.0)
    unit.adopt(42, clock.clock.wall() - 3600, ready=True, restarts=7)
    assert (unit.state, unit.restarts, unit.adopted, unit.wanted) == (State.READY, 7, True, True)
    assert unit.deadline == clock.now + 2.0
    assert unit.ended(End("exited", 1)) is Do.SPAWN
    assert unit.restarts == 8


def test_unit_adopted_for_long_is_stable(clock: FakeClock) -> None:
    unit = unit_of(clock, restart_delay=1.0)
    unit.policy.decide(failed=True, up_for=0, now=clock.now)
    unit.adopt(42, clock.clock.wall() - 3600, ready=True, restarts=7)
    assert unit.ended(End("exited", 1)) is Do.SPAWN, "backoff starts over after an hour up"


@pytest.mark.parametrize(
    ("restart", "state"), [("no", State.FAILED), ("on-failure", State.STARTING)]
)
def test_unit_lost_without_a_trace_is_unknown(clock: FakeClock, restart: str, state: State) -> None:
    unit = unit_of(clock, restart=restart)
    unit.lost(2)
    assert str(unit.last_end) == "unknown"
    assert unit.state is state


def test_unit_broken_fails_alone_and_its_late_end_changes_nothing(clock: FakeClock) -> None:
    unit = unit_of(clock, restart="always")
    bring_up(unit)
    assert unit.broke("KeyError('x')") is Do.KILL
    assert unit.state is State.FAILED
    assert unit.ended(End("signalled", 9)) is Do.NOTHING
    assert unit.state is State.FAILED
    assert "internal error: KeyError('x')" in unit.error


def test_unit_status_is_told_once(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    events(unit)
    unit.said_status("3 clients")
    unit.said_status("3 clients")
    assert events(unit) == ["status"]


def test_unit_recycled_ends_and_starts_again(clock: FakeClock) -> None:
    unit = unit_of(clock, restart="no")
    bring_up(unit)
    assert unit.recycle() is Do.STOP
    assert (unit.state, unit.recycles, unit.wanted) == (State.STOPPING, 1, True)
    assert unit.recycle() is Do.NOTHING
    assert unit.ended(End("signalled", 15)) is Do.SPAWN
    assert (unit.state, unit.recycles, unit.restarts) == (State.STARTING, 1, 0)


def test_unit_recycled_that_does_not_end_is_killed_at_the_grace(clock: FakeClock) -> None:
    unit = unit_of(clock, stop_grace=5.0)
    bring_up(unit)
    unit.recycle()
    clock.go(5)
    assert unit.timed_out() is Do.KILL


def test_unit_stop_while_it_is_recycled_keeps_it_stopped(clock: FakeClock) -> None:
    unit = unit_of(clock)
    bring_up(unit)
    unit.recycle()
    unit.stop()
    assert unit.ended(End("signalled", 15)) is Do.NOTHING
    assert unit.state is State.INACTIVE


def test_unit_that_is_not_ready_is_not_recycled(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify")
    bring_up(unit)
    assert unit.recycle() is unit.succeed() is Do.NOTHING
    assert (unit.state, unit.recycles) == (State.UP, 0)


def test_unit_succeeded_starts_at_once_and_can_be_rolled_back(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", watchdog=3.0)
    bring_up(unit)
    unit.said_ready()
    began = unit.started_at
    assert unit.succeed() is Do.SPAWN
    assert (unit.state, unit.pid, unit.recycles) == (State.STARTING, None, 1)
    unit.roll_back(42, began, "no")
    assert (unit.state, unit.pid, unit.started_at, unit.recycles) == (State.READY, 42, began, 0)
    assert unit.told[-1] == ("ready", "rolled back: no")
    clock.go(3)
    assert unit.timed_out() is Do.ABORT, "its watchdog goes on"


def test_unit_adopted_before_it_was_ready_is_taken_for_ready_not_killed(clock: FakeClock) -> None:
    """Its READY=1 may have come while there was no manager."""
    unit = unit_of(clock, type="notify", start_timeout=30.0)
    unit.adopt(42, clock.clock.wall() - 5, ready=False, restarts=0)
    clock.go(31)
    assert unit.timed_out() is Do.NOTHING
    assert unit.state is State.READY


def test_unit_that_could_not_be_heard_has_its_whole_time_again(clock: FakeClock) -> None:
    unit = unit_of(clock, type="notify", watchdog=10.0, start_timeout=30.0)
    unit.start()
    unit.sent()
    clock.go(40)
    assert unit.excuse()
    assert unit.timed_out() is Do.NOTHING and unit.state is State.STARTING
    unit.up(42, 3.0)
    clock.go(40)
    assert unit.excuse()
    assert unit.timed_out() is Do.NOTHING and unit.state is State.UP
    unit.said_ready()
    clock.go(40)
    assert unit.excuse()
    assert unit.timed_out() is Do.NOTHING
    clock.go(10.5)
    assert unit.timed_out() is Do.ABORT
    assert not unit.excuse(), "what was decided is decided"


def test_unit_that_stops_is_excused_nothing(clock: FakeClock) -> None:
    unit = unit_of(clock, watchdog=10.0, stop_grace=5.0)
    unit.start()
    unit.sent()
    unit.up(42, 3.0)
    unit.stop()
    clock.go(6)
    assert not unit.excuse()
    assert unit.timed_out() is Do.KILL
