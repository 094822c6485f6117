"""The crowd's plan: from the seed alone, in time, of all manners."""

from __future__ import annotations

from collections import Counter

import pytest

from decnet.load.crowd import KINDS_OF_ATTACKER, Target, plan

TARGETS = [Target(f"decoy@{kind}", kind, 1000) for kind in ("ssh", "http", "ftp", "redis", "mysql")]


def test_a_seed_is_a_crowd() -> None:
    one, same, other = (plan(TARGETS, 60, 8, seed) for seed in (7, 7, 8))
    assert one == same != other
    assert len(one) == 480 and [s.at for s in one] == sorted(s.at for s in one)
    assert one[0].at >= 0 and one[-1].at <= 60
    assert len({s.mark for s in one}) == len(one)
    assert {s.manner for s in one} == set(KINDS_OF_ATTACKER)
    assert all(s.target.kind != "mysql" for s in one)
    by_source = Counter(s.source for s in one)
    assert len(by_source) > 20 and all(ip.startswith("127.99.") for ip in by_source)


def test_without_a_decoy_to_visit_there_is_no_plan() -> None:
    for targets in ([], TARGETS[3:]):
        with pytest.raises(ValueError, match="no decoy"):
            plan(targets, 60, 8, 7)
