"""Topic names and patterns."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus import topics

tokens = st.text("abcXYZ019_-@", min_size=1, max_size=6)
some_topics = st.lists(tokens, min_size=1, max_size=6).map(".".join)


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("system.log", "system.log", True),
        ("system.log", "system.logs", False),
        ("system.*.health", "system.bus.health", True),
        ("system.*.health", "system.health", False),
        ("system.*.health", "system.a.b.health", False),
        ("system.*", "system.a.b", False),
        ("attacker.>", "attacker.observed", True),
        ("attacker.>", "attacker.session.ended", True),
        ("attacker.>", "attacker", False),
        (">", "a", True),
        (">", "a.b.c", True),
        ("*", "a.b", False),
        ("*.*.>", "a.b", False),
        ("*.*.>", "a.b.c", True),
    ],
)
def test_topics_match_as_in_nats(pattern: str, topic: str, expected: bool) -> None:
    assert topics.matches(pattern, topic) is expected


@given(some_topics, st.data())
def test_topics_pattern_made_from_a_topic_matches_it(topic: str, data: st.DataObject) -> None:
    parts = topic.split(".")
    cut = data.draw(st.integers(0, len(parts)))
    pattern = [data.draw(st.sampled_from([part, "*"])) for part in parts[:cut]]
    if cut < len(parts):
        pattern.append(">")
    text = ".".join(pattern)
    assert topics.is_pattern(text)
    assert topics.matches(text, topic)
    assert topics.is_wild(text) or text == topic


@given(st.lists(st.one_of(tokens, st.just("*")), min_size=1, max_size=4), some_topics)
def test_topics_stars_agree_with_a_second_matcher(pattern: list[str], topic: str) -> None:
    parts = topic.split(".")
    expected = len(parts) == len(pattern) and all(
        fnmatch.fnmatchcase(part, token) for part, token in zip(parts, pattern, strict=True)
    )
    assert topics.matches(".".join(pattern), topic) is expected


@given(st.text(max_size=40))
def test_topics_any_text_becomes_one_token(name: str) -> None:
    token = topics.token(name)
    assert topics.is_topic(token)
    assert "." not in token
    assert topics.is_topic(topics.health(name))


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "a\n", "a.*", ">", "ä", "a" * 513, "a\0b"]
)
def test_topics_malformed_topic_is_refused(text: str) -> None:
    assert not topics.is_topic(text)


@pytest.mark.parametrize("text", ["", "a.>.b", "a*", "a.>b", ">>", "a..*", "* ", "ä.*", "a\r"])
def test_topics_malformed_pattern_is_refused(text: str) -> None:
    assert not topics.is_pattern(text)


def test_topics_names_on_the_bus_are_the_ones_operators_know() -> None:
    assert topics.health("collect") == "system.collector.health"
    assert topics.control("decoy@ssh") == "system.decoy@ssh.control"
    assert topics.is_control("system.collector.control")
    assert not topics.is_control("system.control")
    assert not topics.is_control("decky.x.control")
