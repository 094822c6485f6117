"""Limits for real: one fleet of many small workers, each in a cgroup leaf of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.managers import alive
from tests.system.conftest import VmManager
from zygote.sys.cgroupfs import Group, group_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

FLEET = f"""
[fleet]
name = "vm"
[zygote.floor]
preload = ["programs"]
path = ["{Path(__file__).parent}"]
[defaults]
zygote = "floor"
autostart = false
restart = "no"
[worker.idle]
run = "programs:idle"
autostart = true
memory_max = "64M"
memory_high = "48M"
tasks_max = 20
cpu_weight = 50
cpu_max = 0.5
[worker.sibling]
run = "programs:idle"
autostart = true
[worker.hog]
run = "programs:hog"
memory_max = "48M"
[worker.phoenix]
run = "programs:hog"
memory_max = "32M"
restart = "on-failure"
[worker.slow]
run = "programs:hog"
memory_high = "24M"
[worker.bomb]
run = "programs:bomb"
tasks_max = 16
[worker.parent]
run = "programs:parent"
stop_grace = "1s"
[worker.grow]
run = "programs:grow"
memory_max = "128M"
[worker.spin]
run = "programs:spin"
cpu_max = 0.1
"""

MIB = 1 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    ground: Group, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[VmManager]:
    manager = VmManager(tmp_path_factory.mktemp("limits"), FLEET, ground)
    try:
        await manager.start()
        yield manager
    finally:
        await manager.clean_up()
        print(manager.output)
    left = [group.path.name for group in Group(manager.base).children()]
    assert left == ["manager"], "every leaf was removed with its process"


async def cli(fleet: VmManager, *words: str) -> str:
    """What zygotectl says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zygote.cli", "--runtime-dir", str(fleet.run), *words,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode()


async def stopped(fleet: VmManager, name: str) -> None:
    [result] = await fleet.stop(name)
    assert result.ok, result
    await fleet.eventually(lambda: is_gone(fleet.leaf(name)), bool)


async def is_gone(group: Group) -> bool:
    return not group.path.exists()


async def test_limits_are_enforced_and_everybody_has_a_leaf(fleet: VmManager) -> None:
    assert (await fleet.status()).limits == "enforced"
    manager = group_of(fleet.pid)
    assert manager and manager.path == fleet.base / "manager"
    [zygote] = await fleet.zygotes()
    home = group_of(zygote.pid)
    assert home and home.path.name.startswith("zygote.floor") and home.path.parent == fleet.base
    for name in ("idle", "sibling"):
        state = await fleet.until(name, lambda worker: worker.pid is not None)
        group = group_of(state.pid)
        assert group and group.path == fleet.leaf(name).path == Path(state.cgroup)
        assert state.limits_enforced


async def test_limits_worker_is_born_in_its_leaf(fleet: VmManager) -> None:
    """Its first line of code sees the leaf, and the way there was CLONE_INTO_CGROUP."""
    assert (await fleet.zygotes())[0].spawn_path == "clone3"
    [line] = await fleet.lines("idle.out")
    assert line.startswith("0::/") and line.endswith("/worker.idle")


async def test_limits_are_what_the_kernel_shows(fleet: VmManager) -> None:
    leaf = fleet.leaf("idle")
    shown = {name: leaf.read(name) for name in (
        "memory.max", "memory.high", "memory.oom.group", "pids.max", "cpu.weight", "cpu.max",
    )}  # fmt: skip
    assert shown == {
        "memory.max": str(64 * MIB), "memory.high": str(48 * MIB), "memory.oom.group": "1",
        "pids.max": "20", "cpu.weight": "50", "cpu.max": "50000 100000",
    }  # fmt: skip
    assert fleet.leaf("sibling").read("memory.max") == "max"


async def test_limits_oom_kills_the_hog_alone(fleet: VmManager) -> None:
    before = await fleet.worker("sibling")
    await fleet.spawn("hog", wait="up")
    hog = await fleet.until("hog", lambda worker: worker.pid is None)
    assert hog.last_end == "oom_killed" and hog.state == "failed"
    story = hog.last_end_detail
    assert story.startswith("limit 48M, peak ")
    assert hog.error == f"oom_killed ({story})", "status and `ps` show it"
    assert hog.peak and 44 * MIB < hog.peak <= 48 * MIB
    [told] = [
        each for each in await fleet.events() if (each.subject, each.event) == ("hog", "ended")
    ]
    assert told.detail == f"oom_killed ({story})"
    assert f"worker=hog event=ended oom_killed ({story})" in fleet.output
    after = await fleet.worker("sibling")
    assert after.pid == before.pid and alive(after.pid)


async def test_limits_oom_is_restarted_by_the_policy(fleet: VmManager) -> None:
    await fleet.spawn("phoenix", wait="up")
    phoenix = await fleet.until("phoenix", lambda worker: worker.restarts >= 1)
    assert phoenix.last_end == "oom_killed"
    await stopped(fleet, "phoenix")


async def test_limits_memory_high_holds_up_and_is_shown(fleet: VmManager) -> None:
    """Slowed down so much that it would take hours to its memory_max, and it is told why."""
    await fleet.spawn("slow", wait="up")
    slow = await fleet.until("slow", lambda worker: worker.throttled > 20)
    assert slow.state == "ready" and slow.memory_high == 24 * MIB
    assert int(fleet.leaf("slow").read("memory.current")) < 40 * MIB
    status = await cli(fleet, "status", "slow")
    assert "times above memory_high (24M)" in status
    await stopped(fleet, "slow")


async def test_limits_suggest_proposes_from_the_peak(fleet: VmManager) -> None:
    answer = json.loads(await cli(fleet, "suggest", "hog", "idle", "--json"))
    by_name = {each["name"]: each for each in answer["proposals"]}
    hog, idle = by_name["hog"], by_name["idle"]
    assert (hog["how"], hog["has"]) == ("peak", 48 * MIB)
    assert hog["memory_max"] >= hog["seen"] * 1.5 and hog["memory_high"] < hog["memory_max"]
    assert idle["seen"] < 8 * MIB, "a worker that did nothing has next to nothing for itself"
    assert idle["memory_max"] == 16 * MIB and idle["how"] == "peak"


async def test_limits_zygote_is_protected_by_what_it_weighs(fleet: VmManager) -> None:
    [zygote] = await fleet.zygotes()
    group = group_of(zygote.pid)
    assert group and 48 * MIB < int(group.read("memory.low")) <= int(group.read("memory.peak"))


async def test_limits_sigkill_is_told_from_oom(fleet: VmManager) -> None:
    await fleet.spawn("grow")
    await fleet.send("grow", "SIGKILL")
    state = await fleet.until("grow", lambda worker: worker.pid is None)
    assert state.last_end == "signalled(SIGKILL)"


async def test_limits_tasks_max_stops_a_fork_bomb(fleet: VmManager) -> None:
    await fleet.spawn("bomb", wait="up")
    [line] = await fleet.lines("bomb.out")
    assert line == "15 11", "15 children beside itself, then EAGAIN"
    pids = fleet.leaf("bomb").pids()
    assert len(pids) == 16
    await stopped(fleet, "bomb")
    assert not any(alive(pid) for pid in pids)
    assert (await fleet.worker("sibling")).state == "ready"


async def test_limits_stop_takes_grandchildren_in_sessions_of_their_own(
    fleet: VmManager,
) -> None:
    await fleet.spawn("parent", wait="up")
    lines = await fleet.lines("parent.out", 2)
    grandchild = next(int(line) for line in lines if line.isdigit())
    assert os.getsid(grandchild) != os.getsid((await fleet.worker("parent")).pid)
    await stopped(fleet, "parent")
    assert not alive(grandchild)


async def test_limits_charge_is_the_worker_s_own_memory_not_the_floor_s(
    fleet: VmManager,
) -> None:
    (fleet.folder / "grow.out").unlink(missing_ok=True)  # what one before it said
    await fleet.spawn("grow")
    told = await fleet.lines("grow.out", 1)
    assert told[-1] == f"read {48 * MIB}", "it has touched the whole floor"
    pid, leaf = (await fleet.worker("grow")).pid, fleet.leaf("grow")
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    charged = int(leaf.read("memory.current"))
    assert resident > 48 * MIB and charged < 8 * MIB
    await fleet.send("grow", "SIGUSR1")
    await fleet.lines("grow.out", len(told) + 1)
    grown = int(leaf.read("memory.current")) - charged
    assert 24 * MIB <= grown < 28 * MIB
    [zygote] = await fleet.zygotes()
    floor = group_of(zygote.pid)
    assert floor and int(floor.read("memory.current")) > 48 * MIB
    await stopped(fleet, "grow")


async def test_limits_cpu_max_throttles(fleet: VmManager) -> None:
    await fleet.spawn("spin", wait="up")
    leaf = fleet.leaf("spin")

    async def throttled() -> int:
        return leaf.counters("cpu.stat")["nr_throttled"]

    await fleet.eventually(throttled, lambda count: count > 3)
    await stopped(fleet, "spin")
