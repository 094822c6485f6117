"""Many fall at once: the fleet's pace, and a group that is ill as a whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.specs import worker_spec
from zygote.manager.policy import Restarts
from zygote.manager.storm import Groups, Pace


def restarts(name: str, groups: Groups, pace: Pace | None = None, **keys: object) -> Restarts:
    spec = worker_spec(name, **keys)
    return Restarts(spec, lambda: 0.0, pace, groups.of(name))


def test_pace_lets_a_first_burst_go_and_spreads_the_rest() -> None:
    pace = Pace(50)
    delays = [pace.delay(100.0) for _ in range(1000)]
    assert delays[:50] == [0.0] * 50
    assert abs(delays[-1] - 19.0) < 0.01, "a thousand at 50 a second, one second's worth at once"
    assert delays == sorted(delays)


def test_pace_does_not_slow_a_worker_that_falls_alone() -> None:
    pace = Pace(50)
    assert [pace.delay(now) for now in (1.0, 2.0, 3.0, 1000.0)] == [0.0] * 4


def test_pace_lets_those_go_first_that_others_wait_for() -> None:
    pace = Pace(50)
    for _ in range(1000):
        pace.delay(0.0)
    assert pace.delay(0.0, first=True) == 0.0
    assert pace.delay(0.0) > 19


def test_pace_of_zero_is_no_limit() -> None:
    assert {Pace(0).delay(0.0) for _ in range(100)} == {0.0}


@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=300), st.integers(1, 200))
def test_pace_never_gives_more_than_its_rate_after_the_burst(gaps: list[float], rate: int) -> None:
    pace, now, starts = Pace(rate), 0.0, []
    for gap in gaps:
        now += gap
        starts.append(now + pace.delay(now))
    starts.sort()
    for first, start in enumerate(starts):
        within = sum(start <= other < start + 1.0 for other in starts[first:])
        assert within <= 2 * rate + 1, "one second's worth of burst, and one second's worth"


def test_pace_tells_of_a_storm_once() -> None:
    pace = Pace(10)
    told = []
    for _ in range(30):
        pace.delay(5.0)
        told.append(bool(pace.news(5.0)))
    assert told.count(True) == 1
    assert not pace.news(60.0)
    for _ in range(30):
        pace.delay(60.0)
    assert pace.news(60.0)


def test_worker_that_falls_with_many_waits_for_its_turn() -> None:
    groups, pace = Groups(), Pace(10)
    delays = [
        restarts(f"d@{n}", groups, pace).decide(failed=True, up_for=99, now=0.0).delay
        for n in range(40)
    ]
    assert delays[0] == 0.0
    assert delays[-1] is not None and 2.9 < delays[-1] < 3.1


def test_group_is_given_up_on_though_each_of_it_is_below_its_own_limit() -> None:
    groups = Groups()
    keys = {"max_restarts": 5, "max_restarts_per": 60.0}
    decisions = [
        restarts(f"d@{n}", groups, **keys).decide(failed=True, up_for=99, now=float(n))
        for n in range(6)
    ]
    assert [d.delay is not None for d in decisions] == [True] * 5 + [False]
    assert decisions[5].gave_up and "5 restarts of 'd@' within 60 s" in decisions[5].reason
    assert "spawn 'd@*'" in decisions[5].hint


def test_group_counts_within_its_interval_only() -> None:
    policy = restarts("d@1", Groups(), max_restarts=2, max_restarts_per=10.0, start_limit=0)
    for now in (0.0, 11.0, 22.0, 33.0):
        assert policy.decide(failed=True, up_for=99, now=now).delay is not None


def test_group_of_another_template_is_not_touched() -> None:
    groups = Groups()
    keys = {"max_restarts": 1, "max_restarts_per": 60.0}
    assert restarts("a@1", groups, **keys).decide(failed=True, up_for=0, now=0.0).delay is not None
    assert restarts("a@2", groups, **keys).decide(failed=True, up_for=0, now=1.0).delay is None
    assert restarts("b@1", groups, **keys).decide(failed=True, up_for=0, now=1.0).delay is not None


def test_group_begins_afresh_when_somebody_starts_one_of_it() -> None:
    groups = Groups()
    keys = {"max_restarts": 1, "max_restarts_per": 60.0}
    one, other = restarts("a@1", groups, **keys), restarts("a@2", groups, **keys)
    one.decide(failed=True, up_for=0, now=0.0)
    other.forget()
    assert other.decide(failed=True, up_for=0, now=1.0).delay is not None
