"""What happens amid a reload: a second one, deaths of zygotes and of the manager, no memory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import Manager, alive
from tests.support.rolls import Rolls, roller, rolling
from zygote.client.api import Client
from zygote.errors import ZygoteError

WAITS = "import pathlib, time\nwhile not pathlib.Path({0!r}).exists(): time.sleep(0.02)\n"
"""At the top of the module: the bake waits for a file."""
STAYS = (
    "while os.environ['ZYGOTE_WORKER'] == 'second' and not os.path.exists('go'): time.sleep(.02)"
)
FLEET = roller("first", "overlap = true") + roller("second", "overlap = true", 'after = ["first"]')


@pytest.fixture
async def rolls(tmp_path: Path) -> AsyncIterator[Rolls]:
    async with rolling(tmp_path, FLEET, head=('min_ready = "50ms"',)) as rolls:
        await rolls.manager.start()
        await rolls.manager.until("second", lambda w: w.ready)
        yield rolls


class Amid:
    """A reload that has come to a point where it waits."""

    def __init__(self, rolls: Rolls) -> None:
        self.rolls, self.manager = rolls, rolls.manager
        self.steps: list[Any] = []
        self.error: ZygoteError | None = None

    async def begin(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._run())

    async def reached(self, step: str, subject: str) -> None:
        async def look() -> list[Any]:
            return [(each.step, each.subject) for each in self.steps]

        await self.manager.eventually(look, lambda found: (step, subject) in found)

    async def _run(self) -> None:
        try:
            async for step in self.rolls.steps():
                self.steps.append(step)
        except ZygoteError as error:
            self.error = error


async def floor_of(manager: Manager) -> Any:
    (floor,) = await manager.zygotes()
    return floor


async def test_second_reload_is_refused_and_the_first_goes_on(rolls: Rolls) -> None:
    manager = rolls.manager
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    error = await rolls.fails(force=True)
    assert error.code == "reload-under-way"
    assert "zygote floor, 1 of 2 workers moved" in error.message
    async with await Client.connect(manager.run / "control.sock") as client:
        with pytest.raises(ZygoteError, match="under way"):
            await client.reload()
    assert any("under way" in notice for notice in (await manager.status()).notices)
    floor = await floor_of(manager)
    assert (floor.generation, floor.next_generation, floor.next_state) == (1, 2, "ready")
    manager.touch("go")
    await task
    assert amid.error is None
    assert amid.steps[-1].step == "done"
    assert set((await rolls.versions()).values()) == {2}
    assert not (manager.run / "reload.json").exists()
    assert await rolls.roll()


async def test_reload_goes_on_when_its_caller_leaves(rolls: Rolls) -> None:
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    task.cancel()
    rolls.manager.touch("go")
    await rolls.manager.eventually(rolls.versions, lambda found: set(found.values()) == {2})
    await rolls.manager.until("second", lambda w: w.ready and not w.outdated)


@pytest.mark.parametrize("point", ["baking", "moving"])
async def test_new_zygote_that_is_killed_leaves_the_old_one(rolls: Rolls, point: str) -> None:
    manager, before = rolls.manager, await rolls.pids()
    floor = await floor_of(manager)
    rolls.write(STAYS, WAITS.format(str(manager.folder / "bake")) if point == "baking" else "")
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached(point, "zygote.floor" if point == "baking" else "second")
    following = await manager.eventually(lambda: floor_of(manager), lambda found: found.next_pid)
    os.kill(following.next_pid, signal.SIGKILL)
    await task
    assert amid.error is not None
    assert ("SIGKILL" if point == "baking" else "ended") in amid.error.message
    after = await floor_of(manager)
    assert (after.pid, after.generation, after.next_pid) == (floor.pid, 1, None)
    assert await rolls.versions() == {"first": 1, "second": 1}
    assert (await rolls.pids())["second"] == before["second"]
    rolls.write()
    await rolls.roll()
    assert set((await rolls.versions()).values()) == {rolls.version}


async def test_old_zygote_that_is_killed_is_followed_by_the_new_one(rolls: Rolls) -> None:
    manager, floor = rolls.manager, await floor_of(rolls.manager)
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    os.kill(floor.pid, signal.SIGKILL)
    await amid.reached("promoted", "zygote.floor")
    assert (await floor_of(manager)).generation == 2
    manager.touch("go")
    await task
    assert amid.error is None
    assert set((await rolls.versions()).values()) == {2}
    assert (await floor_of(manager)).generation == 2, "no third one was baked"


async def test_old_zygote_that_is_killed_while_the_new_one_bakes(rolls: Rolls) -> None:
    manager, floor = rolls.manager, await floor_of(rolls.manager)
    rolls.write(top=WAITS.format(str(manager.folder / "bake")) + "1 / 0\n")
    amid = Amid(rolls)
    task = await amid.begin()
    await manager.eventually(lambda: floor_of(manager), lambda found: found.next_pid)
    os.kill(floor.pid, signal.SIGKILL)
    await manager.eventually(lambda: floor_of(manager), lambda found: found.state == "dead")
    manager.touch("bake")
    await task
    assert amid.error
    assert "ZeroDivisionError" in amid.error.message
    assert await rolls.versions() == {"first": 1, "second": 1}, "workers outlive their zygote"
    rolls.write()
    assert (await rolls.roll())[-1].workers == 2, "what waits to be tried again is tried at once"
    assert set((await rolls.versions()).values()) == {rolls.version}
    healed = await manager.eventually(
        lambda: floor_of(manager), lambda found: found.state == "ready"
    )
    assert healed.generation > 2


async def test_reload_is_not_refused_for_a_bake_that_read_the_files_before(rolls: Rolls) -> None:
    """They are put right while the zygote bakes anew, by itself; that bake cannot know."""
    manager, floor = rolls.manager, await floor_of(rolls.manager)
    seen = "import pathlib; pathlib.Path('read').touch()\n"
    rolls.write(top=seen + WAITS.format(str(manager.folder / "bake")) + "1 / 0\n")
    os.kill(floor.pid, signal.SIGKILL)

    async def is_read() -> bool:
        return (manager.folder / "read").exists()

    await manager.eventually(is_read, bool)
    rolls.write()
    amid = Amid(rolls)
    task = await amid.begin()

    async def notices() -> list[str]:
        return list((await manager.status()).notices)

    await manager.eventually(notices, lambda found: any("under way" in each for each in found))
    manager.touch("bake")
    await task
    assert amid.error is None
    assert amid.steps[-1].workers == 2
    assert set((await rolls.versions()).values()) == {rolls.version}


async def test_worker_that_is_stopped_amid_a_reload_stays_so(rolls: Rolls) -> None:
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    await rolls.manager.stop("second")
    await task
    assert amid.error is None
    states = {w.name: w.state for w in await rolls.manager.workers()}
    assert states == {"first": "ready", "second": "inactive"}
    rolls.manager.touch("go")
    await rolls.manager.spawn("second")
    assert set((await rolls.versions()).values()) == {2}


async def test_next_manager_sorts_out_what_a_killed_one_left(rolls: Rolls) -> None:
    manager, before = rolls.manager, await rolls.pids()
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    await manager.until("second", lambda w: w.state == "up")
    await manager.kill()
    await task
    assert amid.error
    manager.touch("go")
    await manager.start()
    await manager.until("second", lambda w: w.ready)
    await manager.until("first", lambda w: w.ready)
    assert any("cut short" in notice for notice in (await manager.status()).notices)

    async def old_one() -> bool:
        return alive(before["second"])

    await manager.eventually(old_one, lambda lives: not lives)
    (floor,) = await manager.zygotes()
    assert floor.generation == 3
    await rolls.roll(force=True)
    assert not any("cut short" in notice for notice in (await manager.status()).notices)
    assert set((await rolls.versions()).values()) == {2}


async def test_manager_that_is_told_to_end_amid_a_reload_leaves_nothing(rolls: Rolls) -> None:
    manager = rolls.manager
    rolls.write(STAYS)
    amid = Amid(rolls)
    task = await amid.begin()
    await amid.reached("moving", "second")
    (floor,) = await manager.zygotes()
    pids = [pid for name in ("first", "second") for _, pid in rolls.ran(name)]
    assert await manager.end() == 0
    await task
    assert not any(alive(pid) for pid in (*pids, floor.pid))

    async def next_one() -> bool:
        return alive(floor.next_pid)

    await manager.eventually(next_one, lambda lives: not lives)  # it was sent SIGKILL
    assert not (manager.run / "reload.json").exists()


async def test_without_memory_no_second_zygote_and_no_second_worker(tmp_path: Path) -> None:
    head = ('min_ready = "50ms"', 'memory_reserve = "100T"')
    async with rolling(tmp_path, FLEET, head=head) as rolls:
        manager = rolls.manager
        await manager.start()
        await manager.until("second", lambda w: w.ready)
        before = await rolls.pids()
        rolls.write()
        error = await rolls.fails()
        assert error.code == "no-memory"
        assert "no memory to bake 'floor'" in error.message
        assert "generation 1 serves on" in error.message
        assert "memory_reserve" in error.hint
        assert await rolls.pids() == before
        # A new floor by another way: what is left is to move the workers.
        os.kill((await floor_of(manager)).pid, signal.SIGKILL)
        await manager.eventually(lambda: floor_of(manager), lambda found: found.generation == 2)
        await manager.eventually(lambda: floor_of(manager), lambda found: found.state == "ready")
        steps = await rolls.roll(workers=["*"])
        assert [s.step for s in steps] == [*["tight", "moving", "moved"] * 2, "done"]
        assert all("stopped first" in s.detail for s in steps if s.step in ("tight", "moving"))
        assert set((await rolls.versions()).values()) == {2}
