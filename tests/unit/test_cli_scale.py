"""From what there is to so many: what `scale` starts, and what it stops."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zygote.cli.scale import plan
from zygote.control.interface import WorkerState


def fleet(**states: str) -> list[WorkerState]:
    return [WorkerState(name.replace("__", "@").replace("_", "-"), s) for name, s in states.items()]


def test_scale_from_nothing_numbers_from_one() -> None:
    step = plan("decoy@ssh", 3, [])
    assert step.start == ("decoy@ssh-01", "decoy@ssh-02", "decoy@ssh-03")
    assert step.stop == () and step.kept == 0


def test_scale_takes_a_worker_of_the_bare_name_for_the_first() -> None:
    step = plan("decoy@ssh", 3, fleet(decoy__ssh="ready", decoy__ssh_02="inactive"))
    assert step.start == ("decoy@ssh-02", "decoy@ssh-03")
    assert step.kept == 1


def test_scale_down_stops_the_highest_first_and_no_stranger() -> None:
    there = fleet(decoy__ssh_01="ready", decoy__ssh_02="ready", decoy__ssh_10="starting",
                  decoy__ssh_111="backoff", decoy__sshd_09="ready", decoy__ssh_x="ready",
                  bus="ready")  # fmt: skip
    step = plan("decoy@ssh", 1, there)
    assert step.stop == ("decoy@ssh-111", "decoy@ssh-10", "decoy@ssh-02")
    assert step.start == () and step.kept == 1


def test_scale_starts_a_failed_one_again() -> None:
    assert plan("w@a", 1, fleet(w__a_01="failed")).start == ("w@a-01",)


def test_scale_without_a_prefix_has_bare_numbers() -> None:
    assert plan("w@", 2, []).start == ("w@01", "w@02")


@given(st.integers(0, 120), st.sets(st.integers(1, 150)))
def test_scale_said_twice_changes_nothing(count: int, running: set[int]) -> None:
    there = {f"w@a-{number:02}": "ready" for number in running}
    step = plan("w@a", count, [WorkerState(name, state) for name, state in there.items()])
    after = (set(there) | set(step.start)) - set(step.stop)
    again = plan("w@a", count, [WorkerState(name, "ready") for name in after])
    assert again.start == again.stop == ()
    assert again.kept == count == len(after)
