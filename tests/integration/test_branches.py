"""A zygote forked from a zygote: what it shares, what it adds, and what outlives what."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import Manager, alive, managers
from zygote.sys import procfs

ROOT = """
BIG = [str(number) * 4 for number in range(300_000)]
def warm():
    sum(map(len, BIG))
"""
MORE = """
import root
EXTRA = {number: str(number) for number in range(50_000)}
def warm():
    sum(map(len, EXTRA.values()))
"""
WORKER = """
import os, sys, time
import root
sum(map(len, root.BIG))
with open(sys.argv[1], "w") as file:
    print("more" in sys.modules, os.environ.get("ROOT"), os.environ.get("MORE"), file=file)
time.sleep(3600)
"""
FLEET = """
env = { ROOT = "root" }
[zygote.more]
parent = "floor"
preload = ["more"]
warm = ["more:warm"]
env = { MORE = "more" }
[worker.low]
zygote = "floor"
run = "./worker.py"
args = ["low.txt"]
[worker.high]
zygote = "more"
run = "./worker.py"
args = ["high.txt"]
"""


@contextlib.asynccontextmanager
async def branching(
    folder: Path, path: str = "auto", fleet: str = FLEET, more: str = MORE
) -> AsyncIterator[Manager]:
    home = folder / "m"
    home.mkdir()
    for name, text in {"root": ROOT, "more": more, "worker": WORKER}.items():
        (home / f"{name}.py").write_text(text)
    async with managers(folder) as make:
        manager = make(fleet, spawn_path=path)
        manager.file.write_text(
            manager.file.read_text().replace('preload = ["tiny"]', 'preload = ["tiny", "root"]')
        )
        yield manager


async def zygote(manager: Manager, name: str) -> Any:
    return next(each for each in await manager.zygotes() if each.name == name)


async def ready(manager: Manager, name: str, after: int = 0) -> Any:
    """The zygote's state, once a generation beyond `after` serves."""

    async def look() -> Any:
        return await zygote(manager, name)

    return await manager.eventually(
        look, lambda found: found.state == "ready" and found.generation > after
    )


def private(pid: int) -> int:
    figures = procfs.read_memory(pid)
    assert figures
    return figures.uss_kib


@pytest.mark.parametrize("path", ["clone3", "clone", "fork"])
async def test_branch_has_its_parents_modules_and_its_own(tmp_path: Path, path: str) -> None:
    async with branching(tmp_path, path) as manager:
        await manager.start()
        await manager.spawn("low", "high")
        assert await manager.lines("low.txt") == ["False root None"]
        assert await manager.lines("high.txt") == ["True root more"]
        more, floor = await zygote(manager, "more"), await zygote(manager, "floor")
        assert (more.parent, floor.parent) == ("floor", "")
        assert more.modules == floor.modules + 1
        status = Path(f"/proc/{more.pid}/status").read_text()
        assert f"PPid:\t{manager.pid}\n" in status
        assert "Threads:\t1\n" in status


async def test_branch_shares_what_its_parent_imported(tmp_path: Path) -> None:
    async with branching(tmp_path) as manager:
        await manager.start()
        await manager.spawn("low", "high")
        await manager.lines("low.txt")
        await manager.lines("high.txt")
        floor, more = await zygote(manager, "floor"), await zygote(manager, "more")
        whole = procfs.read_memory(more.pid)
        assert whole
        # The parent holds 30 MB of strings, the branch adds about 6.
        assert whole.rss_kib > 30_000
        assert private(more.pid) < 0.5 * whole.rss_kib
        sizes = {name: private((await manager.worker(name)).pid) for name in ("low", "high")}
        assert sizes["high"] < sizes["low"] + 500
        assert floor.pid != more.pid


async def test_parent_dies_and_the_branch_serves_on(tmp_path: Path) -> None:
    async with branching(tmp_path) as manager:
        await manager.start()
        floor, more = await zygote(manager, "floor"), await zygote(manager, "more")
        os.kill(floor.pid, signal.SIGKILL)
        await manager.spawn("high")
        assert await manager.lines("high.txt") == ["True root more"]
        assert (await zygote(manager, "more")).pid == more.pid
        await ready(manager, "floor", floor.generation)
        await manager.spawn("low")
        assert await manager.lines("low.txt") == ["False root None"]


async def test_branch_dies_alone_and_is_forked_anew(tmp_path: Path) -> None:
    async with branching(tmp_path) as manager:
        await manager.start()
        await manager.spawn("low", "high")
        floor, more = await zygote(manager, "floor"), await zygote(manager, "more")
        pids = [(await manager.worker(name)).pid for name in ("low", "high")]
        os.kill(more.pid, signal.SIGKILL)
        await ready(manager, "more", more.generation)
        assert (await zygote(manager, "floor")).pid == floor.pid
        assert [(await manager.worker(name)).pid for name in ("low", "high")] == pids
        await manager.restart("high")
        assert (await manager.worker("high")).generation > more.generation


async def test_both_die_and_are_baked_in_order(tmp_path: Path) -> None:
    async with branching(tmp_path) as manager:
        await manager.start()
        floor, more = await zygote(manager, "floor"), await zygote(manager, "more")
        manager.signal(signal.SIGSTOP)  # else it may have forked the one anew by then
        for each in (more, floor):
            os.kill(each.pid, signal.SIGKILL)
        manager.signal(signal.SIGCONT)
        await ready(manager, "more", more.generation)
        baked = [event.subject for event in await manager.events() if event.event == "baked"]
        assert baked == ["floor", "more", "floor", "more"]
        await manager.spawn("high")
        assert await manager.lines("high.txt") == ["True root more"]


async def test_killed_manager_leaves_no_branch(tmp_path: Path) -> None:
    async with branching(tmp_path) as manager:
        await manager.start()
        await manager.spawn("high")
        await manager.lines("high.txt")
        worker, more = await manager.worker("high"), await zygote(manager, "more")
        await manager.kill()

        async def gone() -> bool:
            return not alive(more.pid)

        assert alive(worker.pid)
        await manager.eventually(gone, bool)
        await manager.start()
        assert (await manager.worker("high")).pid == worker.pid
        await ready(manager, "more")


async def test_branch_that_raises_names_its_module(tmp_path: Path) -> None:
    async with branching(tmp_path, more="def warm(): ...\n1 / 0") as manager:
        await manager.start(code=1)
        assert "zygote 'more'" in manager.output
        assert "ZeroDivisionError" in manager.output


async def test_branch_that_leaves_a_thread_is_refused(tmp_path: Path) -> None:
    more = (
        "def warm(): ...\nimport threading, time\n"
        "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    )
    async with branching(tmp_path, more=more) as manager:
        await manager.start(code=1)
        assert "more" in manager.output
        assert "thread" in manager.output


async def test_branch_of_a_branch(tmp_path: Path) -> None:
    fleet = FLEET + (
        '[zygote.most]\nparent = "more"\npreload = ["json.tool"]\n'
        '[worker.top]\nzygote = "most"\nrun = "./worker.py"\nargs = ["top.txt"]\n'
    )
    async with branching(tmp_path, fleet=fleet) as manager:
        await manager.start()
        await manager.spawn("top")
        assert await manager.lines("top.txt") == ["True root more"]
        most, more = await zygote(manager, "most"), await zygote(manager, "more")
        assert most.parent == "more"
        assert most.modules > more.modules


async def test_reload_bakes_a_new_branch_from_the_zygote_that_runs(tmp_path: Path) -> None:
    head, added = FLEET.split("[zygote.more]")
    async with branching(tmp_path, fleet=head + '[worker.low]\nrun = "./worker.py"\n') as manager:
        await manager.start()
        floor = await zygote(manager, "floor")
        text = manager.file.read_text().partition("[worker.low]")[0]
        # The second one comes from a branch that the same reload brings.
        most = '[zygote.most]\nparent = "more"\npreload = ["json.tool"]\n'
        manager.file.write_text(f"{text}{most}[zygote.more]{added}")
        changes = await manager.reload()
        assert {"zygote more: new, baking", "zygote most: new, baking"} <= set(changes)
        more, most_now = await ready(manager, "more"), await ready(manager, "most")
        assert (more.parent, most_now.parent) == ("floor", "more")
        assert floor.modules < more.modules < most_now.modules
        assert (await zygote(manager, "floor")).pid == floor.pid
        whole = procfs.read_memory(more.pid)
        assert whole
        assert whole.uss_kib < 0.5 * whole.rss_kib  # 30 MB of strings are the parent's
        await manager.spawn("high")
        assert await manager.lines("high.txt") == ["True root more"]
