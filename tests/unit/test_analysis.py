"""Rhythm classes and profiles: the classes as specified, and the same result in any portions."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import statistics
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.analysis.profile import COMMANDS_MOST, PLACES_MOST, Profile, is_attributable
from decnet.analysis.timing import SAMPLE, Timing, beacon_name, classify
from decnet.analysis.tools import tools_in

START = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)


def timing_of(gaps: list[float]) -> Timing:
    timing = Timing()
    for seconds in itertools.accumulate([0.0, *gaps]):
        timing = timing.add(START + dt.timedelta(seconds=seconds))
    return timing


@pytest.mark.parametrize(
    ("gaps", "services", "expected"),
    [
        ([], 1, "unknown"),
        ([1.0], 1, "unknown"),
        ([12.0] * 3, 2, "slow_scan"),
        ([12.0] * 2, 2, "mixed"),  # too few for a slow scan
        ([3.0] * 5, 3, "scanning"),
        ([1.0] * 5, 2, "scanning"),
        ([1.0] * 7, 1, "brute_force"),
        ([1.0] * 6, 1, "mixed"),  # seven events are not eight
        ([0.1, 9.0] * 4, 1, "interactive"),  # too uneven for brute force
        ([60.0, 61.0, 59.0], 1, "beaconing"),
        ([60.0, 61.0], 1, "mixed"),  # three events are not four
        ([0.5, 3.0, 1.0, 8.0, 0.2], 1, "interactive"),
        ([20.0, 1.0, 90.0, 2.0], 1, "mixed"),
    ],
)
def test_timing_class(gaps: list[float], services: int, expected: str) -> None:
    assert classify(timing_of(gaps), services) == expected


@pytest.mark.parametrize(
    ("mean", "variation", "name"),
    [(60, 0.20, "cobalt_strike"), (60, 0.33, "sliver"), (45, 0.1, "havoc"), (30, 0.15, "mythic")],
)
def test_timing_names_a_beacon(mean: float, variation: float, name: str) -> None:
    timing = Timing(
        events=11, mean=mean, square_sum=9 * (mean * variation) ** 2, recent=(mean,) * 10
    )
    assert timing.variation == pytest.approx(variation)
    assert beacon_name(timing) == name
    assert beacon_name(timing_of([300.0] * 9)) is None


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=SAMPLE))
def test_timing_agrees_with_statistics(gaps: list[float]) -> None:
    timing = timing_of(gaps)
    # datetime has microseconds.
    near = {"abs": 1e-3, "rel": 1e-6}
    assert timing.mean == pytest.approx(statistics.mean(gaps), **near)
    assert timing.deviation == pytest.approx(statistics.stdev(gaps), **near)
    told = timing.as_json()
    assert told["median_s"] == pytest.approx(statistics.median(gaps), **near)
    assert (told["min_s"], told["max_s"]) == pytest.approx((min(gaps), max(gaps)), **near)
    assert told["count"] == len(gaps) + 1


@given(st.lists(st.floats(0, 1e4), max_size=200))
def test_timing_is_the_same_after_the_database(gaps: list[float]) -> None:
    timing = timing_of(gaps)
    again = Timing.from_json(json.loads(json.dumps(timing.as_json())))
    assert again.as_json() == timing.as_json()
    assert len(again.recent) <= SAMPLE


def test_timing_of_an_event_that_comes_late_has_no_gap() -> None:
    timing = timing_of([10.0]).add(START + dt.timedelta(seconds=5))
    assert (timing.shortest, timing.last - timing.first) == (0.0, 10.0)


def event(number: int, kind: str = "command", **fields: str) -> Any:
    return SimpleNamespace(
        id=number,
        timestamp=START + dt.timedelta(seconds=number),
        decky=fields.pop("decky", "decky-01"),
        service=fields.pop("service", "ssh"),
        event_type=kind,
        attacker_ip="192.0.2.7",
        fields=fields,
    )


def profiled(events: list[Any], portion: int) -> Profile:
    """Through the rows, `portion` events at a time, as the worker does it."""
    attacker: Any = None
    behavior: Any = None
    profile = Profile("192.0.2.7", START, START)
    for at in range(0, len(events), portion):
        batch = events[at : at + portion]
        profile = (
            Profile("192.0.2.7", batch[0].timestamp, batch[0].timestamp)
            if attacker is None
            else Profile.of_rows(attacker, behavior)
        )
        for one in batch:
            profile.add(one)
        attacker = SimpleNamespace(**profile.attacker_columns())
        behavior = SimpleNamespace(**json.loads(json.dumps(profile.behavior_columns())))
    return profile


EVENTS = st.lists(
    st.builds(
        event,
        st.integers(0, 1000),
        st.sampled_from(["command", "connect", "login_attempt", "request"]),
        decky=st.sampled_from(["a", "b", "c"]),
        service=st.sampled_from(["ssh", "http"]),
        command=st.text(max_size=5),
        user_agent=st.sampled_from(["curl/8", "Nmap NSE", "x"]),
    ),
    min_size=1,
    max_size=60,
)


@given(EVENTS, st.integers(1, 7))
def test_profile_is_the_same_in_portions_of_any_size(events: list[Any], portion: int) -> None:
    whole, parts = profiled(events, len(events)), profiled(events, portion)
    assert parts.attacker_columns() == whole.attacker_columns()
    first, second = parts.behavior_columns(), whole.behavior_columns()
    first.pop("timing_stats"), second.pop("timing_stats")  # equal but for the last digit
    assert first == second
    assert whole.event_count == len(events)


def test_profile_sums_up_a_visit() -> None:
    profile = profiled(
        [
            event(1, "connect", service="http", user_agent="sqlmap/1.8"),
            event(2, "login_attempt", secret_b64="YQ=="),
            event(3, "command", command="id", user="root", client_version="SSH-2.0-Go"),
            event(4, "command", decky="decky-02", command="w"),
        ],
        9,
    )
    row, behavior = profile.attacker_columns(), profile.behavior_columns()
    assert (row["event_count"], row["service_count"], row["decky_count"]) == (4, 2, 2)
    assert row["traversal_path"] == ["decky-01", "decky-02"]
    assert row["is_traversal"] is True
    assert [c["command_text"] for c in row["commands"]] == ["id", "w"]
    assert profile.has_secrets
    assert behavior["tool_guesses"] == ["sqlmap", "go-ssh"]
    assert behavior["ssh_client_banners"] == ["SSH-2.0-Go"]
    assert behavior["timing_stats"]["count"] == 3, "the connection itself is no rhythm"


def test_profile_is_bounded_however_long_it_goes_on() -> None:
    events = [
        event(n, "command", decky=f"d{n}", service=f"s{n}", command="x" * 5000, user_agent=f"u{n}")
        for n in range(2 * PLACES_MOST)
    ]
    row = profiled(events, 50).attacker_columns()
    assert row["event_count"] == len(events)
    assert len(row["deckies"]) == len(row["services"]) == PLACES_MOST
    assert len(row["commands"]) == COMMANDS_MOST
    assert len(json.dumps(row, default=str)) < 200_000


def test_profile_is_for_addresses_only() -> None:
    assert is_attributable("192.0.2.7")
    assert not is_attributable("Unknown")
    assert not is_attributable("")


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        ("Mozilla/5.0 (compatible; Nmap Scripting Engine)", ["nmap"]),
        ("SSH-2.0-libssh_0.9.6", ["libssh"]),
        ("SSH-2.0-OpenSSH_9.2", []),
        ("", []),
    ],
)
def test_tools_are_named(text: str, tools: list[str]) -> None:
    assert tools_in(text) == tools
