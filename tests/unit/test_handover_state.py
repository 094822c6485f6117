"""What is carried over an exec of the manager: as JSON and back, or politely refused."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zygote.errors import ZygoteError
from zygote.fleet.model import Run, WorkerSpec
from zygote.manager import carried, handover, plain
from zygote.manager.budget import Budget
from zygote.manager.policy import End, Restarts
from zygote.manager.storm import Pace
from zygote.manager.unit import Clock, State, Unit

simple = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
values = st.recursive(
    simple
    | st.binary()
    | st.sampled_from(list(State))
    | st.builds(End, st.sampled_from(["exited", "signalled"]), st.integers(0, 255)),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.lists(inner).map(deque)
        | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_value_comes_back_as_it_was(value: Any) -> None:
    back = plain.decode(json.loads(json.dumps(plain.encode(value))))
    assert back == value
    assert type(back) is type(value)


def test_value_that_cannot_be_carried_is_named() -> None:
    class Thing:
        def __init__(self) -> None:
            self.callback = print

    with pytest.raises(TypeError, match=r"Thing\.callback"):
        plain.attributes(Thing())


def test_attribute_that_the_new_code_has_not_is_dropped() -> None:
    pace = Pace(3.0)
    plain.restore(pace, {"rate": 5.0, "of_a_later_version": 1})
    assert pace.rate == 5.0
    assert not hasattr(pace, "of_a_later_version")


def test_all_that_workers_remember_can_be_carried() -> None:
    """An attribute of another type, added to one of these, must be left out or made plain."""
    spec = WorkerSpec("web", "floor", Run("module", "web"))
    unit = Unit(spec, Clock(lambda: 10.0, lambda: 1000.0), lambda: 0.5)
    unit.start()
    unit.sent()
    unit.up(7, 2.0)
    unit.ended(End("exited", 3))
    data = json.loads(json.dumps(plain.attributes(unit, carried.UNIT)))
    other = Unit(spec, unit.clock, lambda: 0.5)
    plain.restore(other, data)
    for name in data:
        assert getattr(other, name) == getattr(unit, name)
    policy: Restarts = unit.policy
    plain.restore(other.policy, json.loads(json.dumps(plain.attributes(policy, carried.POLICY))))
    assert vars(other.policy)["_times"] == vars(policy)["_times"] != deque()
    plain.attributes(Budget())
    plain.attributes(Pace(1.0))


def write_raw(text: bytes) -> int:
    memfd = os.memfd_create("test")
    os.write(memfd, text)
    return memfd


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "state-unreadable"),
        (b"{", "state-unreadable"),
        (b"[]", "state-unreadable"),
        (b'{"format": 2, "version": "9.9"}', "state-format"),
        (b'{"format": 1, "version": "9.9"}', "state-unreadable"),
        (b'{"format": 1, "workers": [{}], "zygotes": [], "fleet": {}}', "state-unreadable"),
    ],
)
def test_state_that_cannot_be_read_is_refused(text: bytes, code: str) -> None:
    memfd = write_raw(text)
    try:
        with pytest.raises(ZygoteError) as refused:
            handover.read(memfd)
    finally:
        os.close(memfd)
    assert refused.value.code == code
    assert refused.value.hint
    if code == "state-format":
        assert "9.9" in refused.value.message


def test_check_says_so_in_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    memfd = write_raw(b'{"format": 77}')
    try:
        assert handover.check(memfd) == 1
    finally:
        os.close(memfd)
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "state-format"
