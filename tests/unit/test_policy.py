"""Restart policies, backoff and the start limit."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.specs import worker_spec
from zygote.manager.policy import JITTER, End, Restarts, signal_name


def restarts(chance: float = 0.0, **keys: object) -> Restarts:
    return Restarts(worker_spec(**keys), lambda: chance)


def delays(policy: Restarts, count: int, up_for: float = 0.0) -> list[float | None]:
    now, found = 0.0, []
    for _ in range(count):
        delay = policy.decide(failed=True, up_for=up_for, now=now).delay
        found.append(delay)
        now += (delay or 0.0) + up_for
    return found


@pytest.mark.parametrize(
    ("restart", "failed", "restarted"),
    [
        ("no", True, False),
        ("no", False, False),
        ("on-failure", True, True),
        ("on-failure", False, False),
        ("always", True, True),
        ("always", False, True),
    ],
)
def test_policy_restarts_as_its_word_says(restart: str, failed: bool, restarted: bool) -> None:
    decision = restarts(restart=restart).decide(failed=failed, up_for=99.0, now=0.0)
    assert (decision.delay is not None) is restarted
    assert not decision.gave_up


def test_backoff_starts_at_once_then_doubles_and_is_capped() -> None:
    policy = restarts(restart_delay=0.5, restart_max_delay=3.0, start_limit=0)
    assert delays(policy, 6) == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]


def test_backoff_is_capped_after_a_thousand_restarts() -> None:
    policy = restarts(restart_delay=0.5, restart_max_delay=3.0, start_limit=0)
    assert delays(policy, 1000)[-1] == 3.0


@given(st.floats(0, 1, exclude_max=True), st.integers(2, 40))
def test_backoff_is_only_ever_shortened_by_chance(chance: float, count: int) -> None:
    policy = restarts(chance, restart_delay=0.5, restart_max_delay=3.0, start_limit=0)
    full = min(3.0, 0.5 * 2 ** (count - 2))
    last = delays(policy, count)[-1]
    assert last is not None
    assert full * (1 - JITTER) <= last <= full


def test_backoff_starts_over_after_a_stable_run() -> None:
    policy = restarts(restart_delay=1.0, stable_after=10.0, start_limit=0)
    assert delays(policy, 3) == [0.0, 1.0, 2.0]
    assert policy.decide(failed=True, up_for=9.9, now=50.0).delay == 4.0
    assert policy.decide(failed=True, up_for=10.0, now=60.0).delay == 0.0


def test_start_limit_gives_up_with_a_reason_and_a_way_out() -> None:
    policy = restarts(start_limit=3, start_limit_interval=60.0, restart_delay=0.1)
    assert None not in delays(policy, 3)
    decision = policy.decide(failed=True, up_for=0.0, now=5.0)
    assert decision.delay is None
    assert decision.gave_up
    assert "3 times within 60 s" in decision.reason
    assert "zygotectl logs web" in decision.hint


def test_start_limit_forgets_what_is_older_than_its_interval() -> None:
    policy = restarts(start_limit=2, start_limit_interval=60.0)
    assert policy.decide(failed=True, up_for=0.0, now=0.0).delay is not None
    assert policy.decide(failed=True, up_for=99.0, now=50.0).delay is not None
    assert policy.decide(failed=True, up_for=99.0, now=61.0).delay is not None


def test_start_limit_of_zero_never_gives_up() -> None:
    assert None not in delays(restarts(start_limit=0), 200)


def test_restarts_forgotten_start_over() -> None:
    policy = restarts(start_limit=3)
    delays(policy, 3)
    policy.forget()
    assert policy.decide(failed=True, up_for=0.0, now=0.0).delay == 0.0


@pytest.mark.parametrize("code", range(256))
def test_end_keeps_every_exit_code(code: int) -> None:
    end = End.from_wait_status(code << 8)
    assert (end.kind, end.code, end.wait_status) == ("exited", code, code << 8)
    assert end.clean is (code == 0)


@pytest.mark.parametrize("number", range(1, 65))
def test_end_keeps_every_signal(number: int) -> None:
    end = End.from_wait_status(number)
    assert (end.kind, end.code) == ("signalled", number)
    assert os.WTERMSIG(end.wait_status) == number
    clean = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    assert end.clean is (number in clean)


def test_end_with_a_core_is_told_by_its_signal() -> None:
    assert str(End.from_wait_status(signal.SIGSEGV | 0x80)) == "signalled(SIGSEGV)"


def test_end_reads_as_words() -> None:
    assert str(End("exited", 3)) == "exited(3)"
    assert str(End("signalled", 9)) == "signalled(SIGKILL)"
    assert str(End("oom_killed")) == "oom_killed"
    assert not End("unknown").clean
    assert not End("watchdog_expired").clean
    assert not End("oom_killed").clean


def test_signal_name_knows_real_time_signals() -> None:
    assert signal_name(signal.SIGRTMIN + 3) == "SIGRTMIN+3"
    assert signal_name(33) == "SIG33"
    assert sys.platform == "linux"
