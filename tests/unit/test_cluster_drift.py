"""How steady a habit is, at the boundaries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.cluster.drift import (
    CONFLICTED,
    DRIFTING,
    MULTI_ACTOR,
    MULTI_ACTOR_MOST,
    STABLE,
    UNKNOWN,
    Seen,
    gather_simhashes,
    judge,
)


def of(*values: Any, attacker: str = "a") -> list[Seen]:
    return [Seen(attacker, value) for value in values]


@pytest.mark.parametrize(
    ("values", "state", "value"),
    [
        ((), UNKNOWN, None),
        (("typed", "typed"), UNKNOWN, "typed"),
        (("typed",) * 3, STABLE, "typed"),
        (("typed", "typed", "pasted"), CONFLICTED, "pasted"),
        (("typed",) * 4 + ("pasted",), STABLE, "typed"),
        (("typed",) * 3 + ("pasted",) * 2, CONFLICTED, "pasted"),
        (("typed",) * 5 + ("pasted",) * 4, DRIFTING, "pasted"),
        ((True, True, True), STABLE, True),
        ((10, 10, 10), STABLE, 10.0),
        ((10, 10.5, 9.5, 10, 10), STABLE, None),
        ((1, 100, 1, 1, 1), CONFLICTED, None),
        ((10.0,) * 5 + (16.0,) * 5, DRIFTING, None),
        ((10.0,) * 5 + (13.0,) * 5, STABLE, None),
        ((5, 10, 5, 10, 5), DRIFTING, None),
        ((0, 0, 0), STABLE, 0.0),
    ],
)
def test_drift_states(values: tuple[Any, ...], state: str, value: Any) -> None:
    verdict = judge(of(*values))
    assert verdict.state == state
    if value is not None:
        assert verdict.value == value


def test_drift_two_steady_addresses_that_differ_are_several_actors() -> None:
    both = of(*["typed"] * 4) + of(*["pasted"] * 4, attacker="b")
    verdict = judge(both)
    assert verdict.state == MULTI_ACTOR
    assert 0 < verdict.confidence <= MULTI_ACTOR_MOST
    assert judge(of(10, 10, 10) + of(20, 20, 20, attacker="b")).state == MULTI_ACTOR
    assert judge(of(10, 10, 10) + of(12, 12, 12, attacker="b")).state != MULTI_ACTOR
    assert judge(of("x", "x", "x") + of("y", "y", attacker="b")).state != MULTI_ACTOR, "too few"


def test_drift_near_simhashes_are_one_hand() -> None:
    hashes = ["00000000000000ff", "00000000000000fe", "00000000000001ff", "ffffffffffffffff"]
    assert judge(of(*hashes[:3])).state == CONFLICTED
    near = gather_simhashes(of(*hashes))
    assert [one.value for one in near] == [*["00000000000000ff"] * 3, "f" * 16]
    assert judge(near[:3]).state == STABLE
    odd = of(None, "no hash", 7, "f" * 40)
    assert gather_simhashes(odd) == odd


@given(
    st.lists(
        st.builds(
            Seen,
            st.sampled_from("abc"),
            st.one_of(
                st.none(),
                st.booleans(),
                st.text(max_size=3),
                st.floats(),
                st.integers(),
                st.just(10**400),
                st.lists(st.integers(), max_size=2),
            ),
            st.floats(0, 1),
        ),
        max_size=40,
    )
)
def test_drift_judges_anything(seen: list[Seen]) -> None:
    assert len(gather_simhashes(seen)) == len(seen)
    verdict = judge(seen)
    assert 0 <= verdict.confidence <= 1
    assert verdict.state in (UNKNOWN, STABLE, DRIFTING, CONFLICTED, MULTI_ACTOR)
