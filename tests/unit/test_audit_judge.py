"""The judgement over findings."""

from __future__ import annotations

import pytest

from zygote.audit import RULES, AuditRefusedError, Finding, judge
from zygote.fleet.model import ZygoteSpec

THREAD = Finding("thread", "thread 'a' (id 3)", "why", "start it later", "lib.inner")
SOCKET = Finding("socket", "socket (fd 5)", "why", "open it later")


def spec(**allow: str) -> ZygoteSpec:
    return ZygoteSpec("floor", allow=allow, place="fleet.toml:4")


def test_judge_accepts_an_empty_list() -> None:
    assert judge(spec(), []) == []


def test_judge_keeps_the_reason_with_what_is_allowed() -> None:
    [accepted] = judge(spec(thread="it only sleeps"), [THREAD])
    assert (accepted.rule, accepted.allowed) == ("thread", "it only sleeps")


def test_judge_refuses_and_names_module_remedy_and_place() -> None:
    with pytest.raises(AuditRefusedError) as caught:
        judge(spec(), [THREAD, SOCKET])
    error = caught.value
    assert error.code == "audit-refused"
    assert error.place == "fleet.toml:4"
    assert "thread 'a' (id 3), made by lib.inner: why (and 1 more)" in error.message
    assert error.hint == (
        'start it later; or accept it: allow = { thread = "why this is safe" } in [zygote.floor]'
    )


def test_judge_refuses_in_spite_of_what_else_is_allowed() -> None:
    with pytest.raises(AuditRefusedError) as caught:
        judge(spec(thread="fine"), [THREAD, SOCKET])
    assert [(f.rule, bool(f.allowed)) for f in caught.value.findings] == [
        ("socket", False),
        ("thread", True),
    ]


def test_judge_does_not_take_an_empty_reason() -> None:
    with pytest.raises(AuditRefusedError):
        judge(spec(thread=""), [THREAD])


def test_rules_are_the_documented_ones() -> None:
    assert RULES == ("thread", "socket", "fd", "loop", "child-process", "sqlite")
