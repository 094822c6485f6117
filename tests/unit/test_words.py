"""What a worker says before the manager knows that it is up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.support.clock import FakeClock
from tests.support.specs import worker_spec
from zygote.manager.unit import State, Unit
from zygote.manager.words import Words


def test_words_ready_is_not_lost_behind_many_others() -> None:
    unit = Unit(worker_spec(type="notify"), FakeClock().clock, lambda: 0.5)
    worker: Any = SimpleNamespace(unit=unit)
    parts: Any = SimpleNamespace()
    words = Words(worker, parts)
    unit.start()
    unit.sent()
    for number in range(100):
        words.heard({"STATUS": f"step {number}"})
    words.heard({"READY": "1"})
    words.heard({"WATCHDOG": "1", "OTHER": "x"})
    unit.up(7, 1.0)
    words.take_early()
    assert (unit.state, unit.status) == (State.READY, "step 99")
    assert [event for event, _ in unit.told].count("status") == 1
