"""A short chaos run with limits: who eats beyond its own dies alone, again and again.

The machinery is that of `benchmarks/chaos.py`; the fleet is small, because the machine is emulated.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from benchmarks.support import chaos_hog
from benchmarks.support.chaos_blows import HOG, Blow, Dealer
from benchmarks.support.chaos_keeper import Keeper, python
from benchmarks.support.chaos_report import after_stop
from benchmarks.support.chaos_watch import Watch
from tests.system.conftest import VmManager
from zygote.sys.cgroupfs import Group

FLEET = """
[fleet]
name = "vm"
[zygote.floor]
preload = ["zygote.notify"]
bake = ["freeze"]
[defaults]
zygote = "floor"
run = "{file}"
type = "notify"
restart = "on-failure"
restart_delay = "0s"
start_limit = 0
start_timeout = "120s"
memory_max = "32M"
[worker.hog]
[worker.one]
[worker.two]
memory_max = "64M"
"""
KILLS = (signal.SIGKILL,)
BLOWS = (
    Blow("hog", (HOG,)),
    Blow("kill", ("one",), KILLS),
    Blow("hog", (HOG,)),
    Blow("kill", ("manager",), KILLS),
    Blow("hog", (HOG,)),
    Blow("kill", ("zygote.floor", "two"), KILLS * 2),
    Blow("hog", (HOG,)),
)
PATIENCE = 450.0
"""For all of it; the machine is emulated, and its host may be busy."""


async def settled(watch: Watch) -> None:
    async with asyncio.timeout(PATIENCE):
        while not watch.settled:
            await asyncio.sleep(0.1)


async def test_hogs_die_alone_at_their_limit(ground: Group, tmp_path: Path) -> None:
    manager = VmManager(tmp_path / "m", FLEET.format(file=chaos_hog.__file__), ground)
    argv = [*python(), "--fleet", str(manager.file), "--runtime-dir", str(manager.run)]
    keeper = Keeper(argv, dict(os.environ), tmp_path / "manager.log", ground.path)
    keeper.start()
    watch = Watch(keeper, manager.run / "control.sock")
    watching = asyncio.create_task(watch.run())
    dealer = Dealer(watch, tmp_path / "no.db", None)
    try:
        async with asyncio.timeout(PATIENCE):
            await keeper.answer()
        await settled(watch)
        assert all(worker.limits_enforced for worker in watch.workers.values())
        for blow in BLOWS:
            await dealer.deal(blow)
            await settled(watch)
        assert dealer.hog_ends == {"oom_killed": 4}
        assert (watch.collateral, watch.ghosts()) == ([], [])
        assert len(watch.hits) == 8
    finally:
        watch.ending = True
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        in_time = await keeper.stop(PATIENCE)
        await watch.close()
        print((tmp_path / "manager.log").read_text())
    assert in_time
    assert after_stop(watch) == []
