"""Memory pressure: the lowest priority goes first, and nobody who has none."""

from __future__ import annotations

from pathlib import Path

from tests.system.conftest import VmManager
from zygote.sys.cgroupfs import Group

FLEET = f"""
[fleet]
name = "vm"
pressure_limit = "5%"
pressure_duration = "1s"
[zygote.floor]
preload = ["programs"]
bake = ["freeze"]
path = ["{Path(__file__).parent}"]
[defaults]
zygote = "floor"
restart = "always"
[worker.important]
run = "programs:idle"
[worker.late]
run = "programs:idle"
priority = 5
[worker.first]
run = "programs:idle"
priority = -5
[worker.hungry]
run = "programs:hog"
memory_high = "24M"
autostart = false
"""


async def test_pressure_stops_the_lowest_priority_first(ground: Group, tmp_path: Path) -> None:
    """One that is held up above memory_high is what makes others wait in a real fleet, too."""
    fleet = VmManager(tmp_path / "pressure", FLEET, ground)
    try:
        await fleet.start()
        assert not [note for note in (await fleet.status()).notices if "pressure" in note]
        await fleet.spawn("hungry", wait="up")
        first = await fleet.until("first", lambda worker: worker.state == "inactive")
        late = await fleet.until("late", lambda worker: worker.state == "inactive")
        assert "memory pressure above 5%" in first.error and "priority=-5" in first.error
        assert "priority=5" in late.error
        told = [each.subject for each in await fleet.events() if each.event == "pressure-stopped"]
        assert told == ["first", "late"]
        assert "worker=first" in fleet.output and "event=pressure-stopped" in fleet.output
        await fleet.eventually(
            fleet.events,
            lambda events: any("no running worker has a priority" in e.detail for e in events),
        )
        for name in ("important", "hungry"):
            assert (await fleet.worker(name)).state == "ready", "it has no priority"
        await fleet.stop("hungry")
        assert (await fleet.spawn("first"))[0].ok
        assert (await fleet.worker("first")).error == ""
    finally:
        await fleet.clean_up()
        print(fleet.output)
