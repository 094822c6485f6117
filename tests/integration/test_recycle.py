"""Workers that are beyond `max_private`, under a real manager: who is recycled, how, and who not.

One fleet plays it all, since the manager looks at each worker only every ten seconds.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.managers import Manager, alive, managers, worker

KEYS = ('type = "notify"', 'max_private = "24M"', 'recycle_grace = "300ms"', 'stable_after = "0s"')
LAPS = (*KEYS, "overlap = true")
FLEET = "".join((
    worker("leaker", "hoarder", *KEYS),
    worker("other", "hoarder", *KEYS),
    worker("born", "hoarder", *KEYS, args=["born"]),
    worker("dozer", "hoarder", *KEYS[:2], 'recycle_grace = "1h"', KEYS[3], args=["dozer"]),
    worker("lap", "hoarder", *LAPS),
    worker("stuck", "hoarder", *LAPS, 'start_timeout = "4s"', args=["heir"]),
    worker("slow", "hoarder", *KEYS, 'stop_grace = "10min"', args=["slow"]),
    worker("heir", "hoarder", *LAPS, 'start_timeout = "10min"', args=["heir"]),
))  # fmt: skip
DRIFT = ("leaker", "dozer", "lap", "stuck", "slow", "heir")
"""Those that will be beyond their budget, though they were not at first."""


@dataclass
class Facts:
    """What was seen."""

    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    events: dict[str, list[Any]] = field(default_factory=dict)
    listed: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    busy: int = 0
    """Of the dozer: how often it had been recycled when all others were."""
    overlapping: tuple[bool, str] = (False, "")
    """Whether the old heir lived, and the state, while the new one was not ready."""
    heir: Any = None
    """The heir under the next manager, which came while two of it ran."""
    slow: Any = None
    """The slow one under the next manager: it had been told to end by the one before."""
    old_lives: bool = True
    """The old one's process, then."""


async def play(folder: Path) -> Facts:
    """The whole scene."""
    facts = Facts()
    async with managers(folder) as make:
        manager = await make(FLEET).start()
        for name in (*DRIFT, "other", "born"):
            facts.before[name] = await manager.until(name, lambda w: w.ready and w.private)
        for name in DRIFT:
            manager.touch(f"{name}.more")
        for name in ("leaker", "lap"):
            await manager.until(name, lambda w: w.recycles == 1 and w.ready)
        await manager.eventually(manager.events, lambda found: _has(found, "stuck", "rolled back"))
        heir = await manager.until("heir", lambda w: w.state == "up")
        await manager.until("slow", lambda w: w.state == "stopping")
        facts.overlapping = (alive(facts.before["heir"].pid), heir.state)
        facts.busy = (await manager.worker("dozer")).recycles
        manager.touch("dozer.idle")
        await manager.until("dozer", lambda w: w.recycles == 1 and w.ready)
        for state in await manager.workers():
            facts.after[state.name] = state
        for event in await manager.events():
            facts.events.setdefault(event.subject, []).append(event)
        command = Cli(manager.folder)
        run = ("--runtime-dir", str(manager.run))
        done = await asyncio.to_thread(command, *run, "ps", "--json")
        facts.listed = {row["name"]: row for row in json.loads(done.out)["workers"]}
        facts.status = (await asyncio.to_thread(command, *run, "status", "leaker")).out
        await _crash(manager, facts)
    return facts


async def _crash(manager: Manager, facts: Facts) -> None:
    """Kill the manager while two heirs run, and let another come."""
    old = facts.before["heir"].pid
    await manager.kill()
    await manager.start()

    async def lives() -> bool:
        return alive(old)

    facts.old_lives = await manager.eventually(lives, lambda found: not found)
    manager.touch("heir.go")
    manager.touch("slow.end")
    facts.slow = await manager.until("slow", lambda w: w.ready and not w.adopted)
    facts.heir = await manager.until("heir", lambda w: w.ready)


def _has(events: list[Any], subject: str, text: str) -> bool:
    return any(event.subject == subject and text in event.detail for event in events)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return asyncio.run(play(tmp_path_factory.mktemp("budget")))


def told(facts: Facts, name: str, event: str) -> list[str]:
    return [each.detail for each in facts.events[name] if each.event == event]


def test_leaking_worker_is_recycled_and_the_event_says_why(facts: Facts) -> None:
    assert facts.after["leaker"].pid != facts.before["leaker"].pid
    assert facts.after["leaker"].restarts == 0
    (detail,) = told(facts, "leaker", "recycling")
    words = dict(word.split("=", 1) for word in detail.split())
    assert int(words["private"]) > int(words["budget"]) == 24 << 20
    assert (words["after"], words["overlap"]) == ("grace=0.3s", "no")


def test_its_siblings_stay(facts: Facts) -> None:
    assert facts.after["other"].pid == facts.before["other"].pid
    assert facts.after["other"].recycles == 0


def test_recycles_are_counted_in_ps_and_status(facts: Facts) -> None:
    counted = {name: row["recycles"] for name, row in facts.listed.items()}
    assert counted["leaker"] == counted["lap"] == counted["dozer"] == 1
    assert counted["other"] == counted["born"] == counted["stuck"] == 0
    assert facts.listed["leaker"]["max_private"] == 24 << 20
    assert "recycles: 1\n" in facts.status
    assert "budget: 24M of private memory, " in facts.status


def test_worker_that_is_born_large_is_told_once_and_left_alone(facts: Facts) -> None:
    assert facts.after["born"].pid == facts.before["born"].pid
    (detail,) = told(facts, "born", "over-budget")
    assert "right after its start" in detail
    assert told(facts, "born", "recycling") == []


def test_busy_worker_is_recycled_when_it_says_that_it_is_idle(facts: Facts) -> None:
    assert facts.busy == 0
    (detail,) = told(facts, "dozer", "recycling")
    assert "after=idle" in detail


def test_overlapping_worker_ends_when_its_successor_is_ready(facts: Facts) -> None:
    events = [(each.event, each.pid) for each in facts.events["lap"]]
    old, new = facts.before["lap"].pid, facts.after["lap"].pid
    begun = events.index(("recycling", old))
    assert events[begun:] == [
        ("recycling", old), ("starting", None), ("up", new), ("ready", new), ("retired", old),
    ]  # fmt: skip
    assert not alive(old)


def test_overlapping_worker_serves_while_its_successor_is_not_ready(facts: Facts) -> None:
    assert facts.overlapping == (True, "up")


def test_worker_whose_successor_fails_stays(facts: Facts) -> None:
    assert facts.after["stuck"].pid == facts.before["stuck"].pid
    assert facts.after["stuck"].ready
    why = "rolled back: not ready within 4 s (start_timeout)"
    assert told(facts, "stuck", "ready")[-1] == why


def test_manager_that_comes_while_one_is_recycled_goes_on_with_it(facts: Facts) -> None:
    assert facts.slow.pid != facts.before["slow"].pid
    assert (facts.slow.recycles, facts.slow.restarts) == (1, 0)


def test_manager_that_comes_while_two_run_ends_the_old_one(facts: Facts) -> None:
    assert not facts.old_lives
    assert facts.heir.pid == facts.after["heir"].pid
    assert facts.heir.adopted
    assert facts.heir.recycles == 1
