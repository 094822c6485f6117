"""Intelligence: files and answers of any kind, breakers, retries, and what stays at home."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from decnet.intel.ask import RETRY_MOST, Asker, Outcome
from decnet.intel.breaker import FAILURES, OPEN_FIRST, OPEN_MOST, Breaker
from decnet.intel.offline import Blocklists, Feodo, read_feodo, read_list
from decnet.intel.online import KINDS
from decnet.intel.provider import Finding, ProviderError, aggregate, may_leave
from decnet.intel.settings import IntelSettings
from decnet.settings import SettingsError
from tests.support.intel import Services, environment, services

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
PUBLIC = "8.8.4.4"
"""Any address that is public; nothing is sent to it."""


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ([], "unknown"),
        (["benign", "unknown"], "benign"),
        (["benign", "suspicious", "unknown"], "suspicious"),
        (["unknown", "malicious", "benign"], "malicious"),
    ],
)
def test_verdict_the_worst_counts(verdicts: list[str], worst: str) -> None:
    assert aggregate(verdicts) == worst


@pytest.mark.parametrize(
    ("address", "leaves"),
    [
        (PUBLIC, True),
        ("2600::1", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("224.0.0.5", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.4.4", True),
        ("nonsense", False),
        ("", False),
    ],
)
def test_only_public_addresses_leave(address: str, leaves: bool) -> None:
    assert may_leave(address) is leaves


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_breaker_opens_doubles_tries_once_and_closes() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        assert breaker.enter()
        breaker.failure()
    assert not breaker.enter() and breaker.remaining == OPEN_FIRST
    clock.now += OPEN_FIRST
    assert breaker.enter()
    assert not breaker.enter(), "one call decides, others wait for it"
    breaker.failure()
    assert breaker.remaining == 2 * OPEN_FIRST
    clock.now += 2 * OPEN_FIRST
    assert breaker.enter()
    breaker.success()
    assert breaker.enter() and not breaker.is_open


def test_breaker_obeys_retry_after_within_reason() -> None:
    breaker = Breaker(Clock())
    assert breaker.enter()
    breaker.failure(120)
    assert breaker.remaining == 120
    breaker.failure(1e9)
    assert breaker.remaining == OPEN_MOST


# -- files


async def test_blocklists_by_their_names(tmp_path: Path) -> None:
    lists = Blocklists(tmp_path)
    lists.refresh()
    assert await lists.ask("192.0.2.1") == Finding("unknown", {"blocklists": []})
    (tmp_path / "drop.netset").write_text("# a remark\n192.0.2.0/25 ; SBL1\n2001:db8::/32\nodd\n")
    (tmp_path / "suspicious-tor.txt").write_text("192.0.2.1\n198.51.100.7 # exit\n")
    (tmp_path / "benign-search.cidr").write_text("198.51.100.0/24\n")
    (tmp_path / "ignored.md").write_text("192.0.2.0/24\n")
    lists.refresh()
    assert await lists.ask("192.0.2.1") == Finding(
        "malicious", {"blocklists": ["drop", "suspicious-tor"]}
    )
    assert (await lists.ask("198.51.100.7")).verdict == "suspicious"
    assert (await lists.ask("198.51.100.8")).verdict == "benign"
    assert (await lists.ask("2001:db8::9")).verdict == "malicious"
    assert (await lists.ask("192.0.2.200")).columns == {"blocklists": []}
    (tmp_path / "drop.netset").unlink()
    lists.refresh()
    assert (await lists.ask("2001:db8::9")).verdict == "unknown"


async def test_feodo_by_its_header(tmp_path: Path) -> None:
    feodo = Feodo(tmp_path / "feodo.csv")
    feodo.refresh()
    assert (await feodo.ask("192.0.2.1")).columns["feodo_listed"] is None
    (tmp_path / "feodo.csv").write_text(
        "# remark\n"
        '"first_seen_utc","dst_ip","dst_port","c2_status","last_online","malware"\n'
        '"2026-01-01","192.0.2.1","443","online","2026-11-20","Emotet"\n'
        '"2026-01-01","nonsense","443","online","",""\n'
    )
    feodo.refresh()
    assert await feodo.ask("192.0.2.1") == Finding(
        "malicious",
        {"feodo_listed": True, "feodo_malware": "Emotet", "feodo_last_online": "2026-11-20"},
    )
    assert (await feodo.ask("192.0.2.2")).columns["feodo_listed"] is False
    (tmp_path / "feodo.csv").unlink()
    (tmp_path / "feodo.csv").mkdir()
    feodo.refresh()
    assert feodo.troubles
    assert (await feodo.ask("192.0.2.1")).verdict == "malicious", "what was read stays in use"


@given(st.binary(max_size=400))
def test_lists_of_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("lists") / "x.txt"
    file.write_bytes(data)
    assert set(read_list(file)) == {4, 6}
    read_feodo(file)


# -- answers


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "classification", "query_status", "abuseConfidenceScore"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(KINDS)), JSON.map(lambda v: json.dumps(v).encode()) | st.binary())
def test_answers_of_any_kind_are_read_or_refused(name: str, body: bytes) -> None:
    provider = KINDS[name](None, "", "")  # type: ignore[arg-type]
    try:
        finding = provider.read(body)
    except (ValidationError, ProviderError):
        return
    assert finding.verdict in ("malicious", "suspicious", "benign", "unknown")
    json.dumps(finding.columns)


@pytest.mark.parametrize(
    ("name", "verdict", "column", "value"),
    [
        ("greynoise", "malicious", "greynoise_name", "Bot\\x07"),
        ("abuseipdb", "malicious", "abuseipdb_categories", [18, 22]),
        ("threatfox", "malicious", "threatfox_confidence", 90),
    ],
)
async def test_services_are_asked_and_understood(
    name: str, verdict: str, column: str, value: object
) -> None:
    async with services() as stub, httpx2.AsyncClient(timeout=30) as client:
        provider = KINDS[name](client, stub.url, f"key-{name}")
        found = await provider.ask(PUBLIC)
        assert (found.verdict, found.columns[column]) == (verdict, value)
        assert stub.keys == {f"key-{name}"} and PUBLIC in stub.seen[0]
        stub.mode = "unknown"
        nothing = await provider.ask(PUBLIC)
        assert nothing.verdict == "unknown" and set(nothing.columns) == set(found.columns)
        for mode in ("down", "nonsense", "limit"):
            stub.mode = mode
            with pytest.raises(ProviderError) as caught:
                await provider.ask(PUBLIC)
        assert caught.value.retry_after == 120


# -- asking


class Fake:
    """A provider that does as it is told."""

    def __init__(self, name: str, say: Callable[[], Finding], online: bool = True) -> None:
        self.name, self.say, self.is_online, self.asked = name, say, online, 0

    async def ask(self, address: str) -> Finding:
        self.asked += 1
        return self.say()


def fail() -> Finding:
    raise ProviderError("down")


def asker(*providers: Any, clock: Clock | None = None, timeout: float = 5) -> Asker:
    made = clock or Clock()
    return Asker(providers, ttl=86_400, timeout=timeout, retry_first=60, clock=made)


def due_in(outcome: Outcome) -> float:
    return (outcome.expires_at - NOW).total_seconds()


async def test_asking_all_fail_and_it_is_told_and_tried_again_later() -> None:
    provider = Fake("x", fail)
    outcome, waits = Outcome({}, {}, "", NOW), []
    for days in range(12):
        now = NOW + dt.timedelta(days=days)
        # Another process each time: the count of tries is in the row.
        outcome = await asker(provider).ask(PUBLIC, outcome.providers, now)
        assert (outcome.verdict, outcome.told()) == ("unknown", {"x": "failed"})
        waits.append((outcome.expires_at - now).total_seconds())
    assert waits[:3] == [60, 120, 240]
    assert waits[-1] == RETRY_MOST


async def test_asking_only_who_failed_is_asked_again() -> None:
    good = Fake("good", lambda: Finding("benign", {"greynoise_riot": True}))
    bad = Fake("bad", fail)
    ask = asker(good, bad)
    first = await ask.ask(PUBLIC, {}, NOW)
    assert due_in(first) == 60 and first.verdict == "benign"
    bad.say = lambda: Finding("malicious", {"feodo_listed": True})
    again = await ask.ask(PUBLIC, first.providers, NOW + dt.timedelta(seconds=61))
    assert (good.asked, bad.asked) == (1, 2)
    assert again.verdict == "malicious" and again.columns == {"feodo_listed": True}
    assert due_in(again) == 86_400
    later = NOW + dt.timedelta(days=2)
    await ask.ask(PUBLIC, again.providers, later)
    assert (good.asked, bad.asked) == (2, 3)


async def test_asking_failure_keeps_what_was_known() -> None:
    provider = Fake("x", lambda: Finding("malicious"))
    first = await asker(provider).ask(PUBLIC, {}, NOW)
    provider.say = fail
    again = await asker(provider).ask(PUBLIC, first.providers, NOW + dt.timedelta(days=2))
    assert again.verdict == "malicious" and again.told() == {"x": "failed"}


async def test_asking_leaves_a_dead_provider_alone() -> None:
    dead, clock = Fake("dead", fail), Clock()
    ask = asker(dead, clock=clock)
    for _ in range(FAILURES + 5):
        await ask.ask(PUBLIC, {}, NOW)
    assert dead.asked == FAILURES and ask.open_breakers() == {"dead": 60}
    clock.now = 61
    dead.say = lambda: Finding("benign")
    assert (await ask.ask(PUBLIC, {}, NOW)).verdict == "benign"


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "::1", "fe80::1"])
async def test_asking_private_addresses_stay_here(address: str) -> None:
    online = Fake("online", lambda: Finding("malicious"))
    offline = Fake("offline", lambda: Finding("suspicious"), online=False)
    outcome = await asker(online, offline).ask(address, {}, NOW)
    assert (online.asked, offline.asked) == (0, 1)
    assert outcome.verdict == "suspicious" and due_in(outcome) == 86_400


async def test_asking_fault_and_silence_are_failures_of_that_provider() -> None:
    def fault() -> Finding:
        raise KeyError("x")

    class Silent(Fake):
        async def ask(self, address: str) -> Finding:
            await asyncio.sleep(3600)
            raise AssertionError

    broken, silent = Fake("broken", fault), Silent("silent", fail)
    good = Fake("good", lambda: Finding("benign"))
    outcome = await asker(broken, silent, good, timeout=0.05).ask(PUBLIC, {}, NOW)
    assert outcome.told() == {"broken": "failed", "silent": "failed", "good": "benign"}


# -- settings


def test_settings_nothing_leaves_by_default(tmp_path: Path) -> None:
    settings = IntelSettings.from_env(tmp_path, {})
    assert not settings.enabled
    assert settings.root == tmp_path / "intel"
    secret = IntelSettings.from_env(tmp_path, environment(Services()) | URLS)
    assert "key-abuseipdb" not in repr(secret)


URLS = {f"DECNET_{n}_URL": "https://x.example" for n in ("GREYNOISE", "ABUSEIPDB", "THREATFOX")}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DECNET_GREYNOISE_URL", "http://192.0.2.1/"),
        ("DECNET_GREYNOISE_URL", "file:///etc/passwd"),
        ("DECNET_INTEL_PROVIDERS", "greynoise shodan"),
        ("DECNET_INTEL_TTL_HOURS", "0"),
    ],
)
def test_settings_wrong_ones_name_the_variable(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        IntelSettings.from_env(tmp_path, {name: value})
