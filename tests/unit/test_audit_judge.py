"""The judgement over findings."""

from __future__ import annotations

import pytest

from zygote.audit import RULES, AuditRefusedError, Finding, judge
from zygote.audit.rules import REFUSE, TABLE, WARN
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


def test_judge_lets_warnings_pass_and_puts_them_last() -> None:
    warning = Finding("secret", "secrets in the environment: TOKEN")
    accepted = judge(spec(thread="fine"), [warning, THREAD])
    assert [(f.rule, f.severity, f.refused) for f in accepted] == [
        ("secret", "warn", False),
        ("thread", "refuse", False),
    ]
    with pytest.raises(AuditRefusedError) as caught:
        judge(spec(), [warning, THREAD])
    assert [f.rule for f in caught.value.findings] == ["thread", "secret"]
    assert "(and " not in caught.value.message


def test_findings_have_the_words_of_their_rule() -> None:
    plain = Finding("timer", "a timer that runs")
    assert (plain.why, plain.remedy) == (TABLE["timer"].why, TABLE["timer"].remedy)
    assert plain.as_dict()["severity"] == "refuse"


@pytest.mark.parametrize("rule", RULES)
def test_rules_say_what_why_and_the_way_out(rule: str) -> None:
    severity, title, why, remedy = TABLE[rule]
    assert severity in (REFUSE, WARN)
    assert title and why and remedy
    assert not any(text.endswith(".") for text in (title, why, remedy))
