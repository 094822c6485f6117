"""Webhooks without a process: addresses, patterns, bodies, signatures."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decnet.bus import topics
from decnet.webhook import address, event, patterns
from decnet.webhook.engine import all_feeds
from decnet.webhook.event import BODY_MOST, Event
from decnet.webhook.settings import WebhookSettings

INSIDE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1"]
NEVER = [
    *("0.0.0.0", "::", "169.254.169.254", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1"),
    *("240.0.0.1", "255.255.255.255", "::ffff:169.254.169.254", "2002:a9fe:a9fe::"),
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", INSIDE + LOOPBACK)
def test_webhook_addresses_inside_are_for_those_who_allow_them(text: str) -> None:
    assert address.why_not(text, allow_private=False)
    assert not address.why_not(text, allow_private=True)


@pytest.mark.parametrize("text", NEVER)
def test_webhook_addresses_that_are_never_a_receiver(text: str) -> None:
    assert address.why_not(text, allow_private=True)


@pytest.mark.parametrize("text", OUTSIDE)
def test_webhook_public_addresses(text: str) -> None:
    assert not address.why_not(text, allow_private=False)


@settings(max_examples=200)
@given(st.ip_addresses())
def test_webhook_strict_allows_global_addresses_only(found: Any) -> None:
    if not address.why_not(str(found), allow_private=False):
        assert address.embedded(found).is_global


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "ftp://a/", "http:///x", "https://user:pw@a/", "http://a:99999/", "http://a\n/"),
        "http://" + "a" * 3000,
    ],
)
def test_webhook_urls_that_are_refused(url: str) -> None:
    with pytest.raises(address.Refused):
        address.parse_url(url)


@settings(max_examples=100)
@given(st.text(max_size=60))
def test_webhook_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, "http://" + text):
        try:
            assert address.parse_url(url).host
        except address.Refused:
            pass


async def test_webhook_a_name_with_one_private_address_is_refused() -> None:
    for url in ("http://127.0.0.1/", "http://0x7f.1/", "http://[::1]:80/", "http://017700000001/"):
        with pytest.raises(address.Refused, match="loopback"):
            await address.resolve(address.parse_url(url), allow_private=False)


def test_webhook_body_is_sorted_and_signed() -> None:
    made = Event.make("attacker.observed", "192.0.2.1", 1.5, {"b": 1, "a": "\x1bé"})
    content = event.body(made)
    assert (
        content == json.dumps(json.loads(content), sort_keys=True, separators=(",", ":")).encode()
    )
    assert set(json.loads(content)) == {"v", "id", "ts", "topic", "type", "payload"}
    signed = event.headers(made, "key", content)
    digest = hmac.new(b"key", content, hashlib.sha256).hexdigest()
    assert signed["X-DECNET-Signature"] == f"sha256={digest}"
    assert signed["X-DECNET-Event-Id"] == made.id and len(made.id) == 32
    assert signed["X-DECNET-Timestamp"] == "1.5"


def test_webhook_ids_follow_from_what_happened() -> None:
    first = Event.make("a.b", "key", 1, {"x": 1})
    assert Event.make("a.b", "key", 2, {"x": 2}).id == first.id
    assert Event.make("a.c", "key", 1, {"x": 1}).id != first.id
    assert Event.make("a.b", "other", 1, {"x": 1}).id != first.id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=9), JSON, max_size=5), st.integers(0, 40_000))
def test_webhook_bodies_have_a_limit(payload: dict[str, Any], more: int) -> None:
    payload |= {"long": "é" * more, "many": list(range(more))}
    made = Event.make("a.b", "key", 1, payload)
    assert len(event.body(made)) <= BODY_MOST
    if more == 0:
        assert made.payload == payload


def test_webhook_patterns() -> None:
    assert patterns.expand(["AttackerDetail", "attacker.>", "a.*"]) == ["attacker.>", "a.*"]
    for words in ([], ["a..b"], [">.a"], [f"a.b{n}" for n in range(40)]):
        with pytest.raises(ValueError, match="pattern"):
            patterns.expand(words)
    assert patterns.wants(["system.log"], "system.log")
    assert not patterns.wants(["system.>"], "system.log")
    assert patterns.wants_from_bus(["system.>"], "system.log")
    assert not patterns.wants_from_bus(["system.log"], "system.log")


TOKENS = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4)


@settings(max_examples=300)
@given(TOKENS, st.booleans(), TOKENS, st.booleans(), st.lists(st.sampled_from("ab"), min_size=1))
def test_webhook_patterns_that_share_a_topic_overlap(
    one: list[str], one_open: bool, other: list[str], other_open: bool, topic: list[str]
) -> None:
    first = ".".join(one + [">"] * one_open)
    second = ".".join(other + [">"] * other_open)
    name = ".".join(topic)
    if topics.matches(first, name) and topics.matches(second, name):
        assert patterns.overlap(first, second) and patterns.overlap(second, first)


def test_webhook_patterns_without_a_common_topic_do_not_overlap() -> None:
    for one, other in [("a.b", "a.c"), ("a.b", "a.b.c"), ("a.*", "b.>"), ("a.>", "b.a")]:
        assert not patterns.overlap(one, other) and not patterns.overlap(other, one)


def test_webhook_feeds_have_names_and_topics_of_their_own() -> None:
    feeds = all_feeds()
    assert len({feed.name for feed in feeds}) == len(feeds)
    assert all(topics.is_pattern(pattern) for feed in feeds for pattern in feed.patterns)


def test_webhook_settings() -> None:
    read = WebhookSettings.from_env({"DECNET_WEBHOOK_TIMEOUT_MS": "500"})
    assert (read.timeout, read.allow_private, read.threshold) == (0.5, False, 5)
