"""A manager that was killed: the next one takes its workers over, leaves and all."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.managers import alive
from tests.system.conftest import VmManager
from zygote.sys.cgroupfs import Group, group_of

FLEET = f"""
[fleet]
name = "vm"
[zygote.floor]
preload = ["programs"]
bake = ["freeze"]
path = ["{Path(__file__).parent}"]
[defaults]
zygote = "floor"
restart = "no"
[worker.idle]
run = "programs:idle"
memory_max = "64M"
[worker.grow]
run = "programs:grow"
memory_max = "20M"
"""


async def test_adoption_takes_over_leaves_limits_and_ends(ground: Group, tmp_path: Path) -> None:
    manager = VmManager(tmp_path / "m", FLEET, ground)
    try:
        await manager.start()
        await manager.spawn("idle", "grow")
        before = {w.name: w for w in await manager.workers()}
        await manager.kill()
        assert all(alive(worker.pid) for worker in before.values())

        manager.enter()
        await manager.start()
        after = {w.name: w for w in await manager.workers()}
        assert {n: w.pid for n, w in after.items()} == {n: w.pid for n, w in before.items()}
        assert all(w.adopted and w.cgroup == before[n].cgroup for n, w in after.items())
        assert all(w.limits_enforced for w in after.values())

        await manager.lines("grow.out")  # it hears the signal by now
        await manager.send("grow", "SIGUSR1")  # 24 MiB against a limit of 20
        grow = await manager.until("grow", lambda worker: worker.pid is None)
        assert grow.last_end == "oom_killed"

        old = Path(after["idle"].cgroup)
        assert (await manager.restart("idle"))[0].ok
        idle = await manager.worker("idle")
        assert not idle.adopted and Path(idle.cgroup).parent == manager.base
        await manager.eventually(lambda: gone(old), bool)
    finally:
        await manager.clean_up()
        print(manager.output)


async def gone(path: Path) -> bool:
    return not path.exists()


@pytest.mark.parametrize("spawn_path", ["clone", "fork"])
async def test_fallback_child_joins_its_leaf_by_itself(
    ground: Group, tmp_path: Path, spawn_path: str
) -> None:
    """Without clone3 the child writes itself into cgroup.procs, first thing."""
    manager = VmManager(tmp_path / "m", FLEET, ground, spawn_path)
    try:
        await manager.start()
        assert (await manager.zygotes())[0].spawn_path.startswith(spawn_path)
        [line] = await manager.lines("idle.out")
        assert line.endswith("/worker.idle")
        idle = await manager.worker("idle")
        group = group_of(idle.pid)
        assert group and group.path == manager.leaf("idle").path
        assert parent_of(idle.pid) == manager.pid
        os.kill(idle.pid, signal.SIGKILL)
        ended = await manager.until("idle", lambda worker: worker.pid is None)
        assert ended.last_end == "signalled(SIGKILL)"
    finally:
        await manager.clean_up()
        print(manager.output)


def parent_of(pid: int) -> int:
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[1])
