"""Many fall at once, the manager or a zygote is held up: nobody pays for another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import PATIENCE, Manager, alive, kill_hard, managers, worker
from zygote.fleet.model import ZygoteSpec
from zygote.manager import children as children_module
from zygote.manager import zygote as zygote_module
from zygote.manager.children import Child, Children
from zygote.manager.policy import End
from zygote.manager.reaper import Reaper
from zygote.manager.zygote import Zygote
from zygote.sys import procfs
from zygote.wire.messages import Kind, Packet

Make = Callable[..., Manager]
MANY = 40


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


async def test_storm_comes_back_paced_with_the_needed_first(make: Make) -> None:
    crowd = "".join(worker(f"w@{n:02}", "sleeper", 'after = ["bus"]') for n in range(MANY))
    fleet = worker("bus", "sleeper") + worker("calm", "sleeper") + crowd
    manager = make(fleet)
    manager.file.write_text(
        manager.file.read_text().replace("[fleet]\n", "[fleet]\nrestart_rate = 10\n")
    )
    await manager.start()
    await manager.eventually(manager.workers, lambda found: all(w.ready for w in found))
    before = {w.name: w.pid for w in await manager.workers()}
    await kill_together(manager, [pid for name, pid in before.items() if name != "calm"])
    after = await manager.eventually(
        manager.workers,
        lambda found: all(w.ready and w.restarts == (w.name != "calm") for w in found),
    )
    assert next(w.pid for w in after if w.name == "calm") == before["calm"]
    events = await manager.events()
    assert [e.event for e in events].count("restart-storm") == 1
    waited = {e.subject for e in events if e.event == "backoff"}
    assert 5 <= len(waited) <= MANY - 8, "the first second's worth at once, the rest in turn"
    assert "bus" not in waited


async def kill_together(manager: Manager, pids: list[int]) -> None:
    """All are dead before the manager learns of the first, however long it takes to kill them."""
    manager.signal(signal.SIGSTOP)
    try:
        for pid in pids:
            kill_hard(pid)
        async with asyncio.timeout(PATIENCE):
            while any(map(alive, pids)):
                await asyncio.sleep(0.01)
    finally:
        manager.signal(signal.SIGCONT)


async def test_group_that_is_ill_is_given_up_on_and_the_others_live(make: Make) -> None:
    keys = ("max_restarts = 3", 'max_restarts_per = "1min"')
    fleet = worker("w@", "sleeper", *keys) + "".join(worker(f"w@{n}", "sleeper") for n in range(6))
    manager = await make(fleet).start()
    await manager.eventually(manager.workers, lambda found: all(w.ready for w in found))
    before = {w.name: w.pid for w in await manager.workers()}
    for number in range(3):
        kill_hard(before[f"w@{number}"])
        await manager.until(f"w@{number}", lambda w: w.ready and w.restarts == 1)
    kill_hard(before["w@3"])
    given_up = await manager.until("w@3", lambda w: w.state == "failed")
    assert "3 restarts of 'w@' within 60 s (max_restarts)" in given_up.error
    assert (await manager.worker("w@5")).pid == before["w@5"]


async def test_manager_that_was_stopped_for_long_kills_no_worker(make: Make) -> None:
    """The kernel queues ten datagrams: the signs of life of the others are lost meanwhile."""
    fleet = "".join(worker(f"w{n:02}", "watched", 'type = "notify"', 'watchdog = "6s"')
                    for n in range(20))  # fmt: skip
    manager = await make(fleet).start()
    await manager.eventually(manager.workers, lambda found: all(w.ready for w in found))
    before = {w.name: w.pid for w in await manager.workers()}
    manager.signal(signal.SIGSTOP)
    await asyncio.sleep(8)
    manager.signal(signal.SIGCONT)
    now = time.monotonic()
    after = await manager.eventually(  # it has heard of each again
        manager.workers, lambda found: all(w.ready and float(w.status or 0) > now for w in found)
    )
    assert {w.name: w.pid for w in after} == before
    assert sum(w.restarts for w in after) == 0


async def test_zygote_in_its_bake_ends_with_its_manager(make: Make) -> None:
    manager = make(worker("a", "sleeper"))
    (manager.folder / "slow.py").write_text("import time\nopen('asleep', 'w')\ntime.sleep(600)\n")
    text = manager.file.read_text().replace('preload = ["tiny"]', 'preload = ["tiny", "slow"]')
    manager.file.write_text(text)
    starting = asyncio.ensure_future(manager.start())
    while not (manager.folder / "asleep").exists():
        await asyncio.sleep(0.05)
    (zygote,) = procfs.read_children(manager.pid) or ()
    await manager.kill()
    with contextlib.suppress(AssertionError):
        await starting

    async def lives() -> bool:
        return alive(zygote)

    await manager.eventually(lives, lambda found: not found)


async def test_zygote_that_answers_nobody_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []
    killed = asyncio.Event()

    class Shop:
        def __init__(self) -> None:
            self.loop = loop

        def start_zygote(self, spec: ZygoteSpec, generation: int, link: int) -> Child:
            self.link = os.dup(link)
            pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
            return Child(pid, os.pidfd_open(pid), "zygote", spec.name, loop.create_future())

        def kill(self, child: Child) -> None:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(child.pidfd)
            os.close(self.link)
            child.ended.set_result(End("signalled", 9))
            killed.set()

        def log_path(self, name: str) -> str:
            return name

        def tell(self, event: str, *_: Any) -> None:
            told.append(event)

    monkeypatch.setattr(zygote_module, "HUNG_SECONDS", 0.1)
    zygote = Zygote(Shop(), ZygoteSpec("floor"), 1)  # type: ignore[arg-type]
    await zygote.start()
    answer = zygote.request(Packet(Kind.SPAWN, spawn_id=bytes(16)))
    async with asyncio.timeout(30):
        await killed.wait()
    assert told == ["zygote-hung"]
    with pytest.raises(zygote_module.LinkLostError):
        await answer


async def test_deaths_of_many_cost_one_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    looks: list[set[int]] = []
    monkeypatch.setattr(children_module, "_kill_sessions", looks.append)
    children = Children()
    reaper = Reaper(loop, children, lambda child, error: None, lambda: None)
    made = []
    for _ in range(MANY):
        pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {}, setsid=True)  # noqa: ASYNC221
        # As if adopted: of such a one's children nobody knows without looking everywhere.
        child = Child(pid, os.pidfd_open(pid), "worker", "w", loop.create_future(), ours=False)
        made.append(children.add(child))
    for child in made:
        children.kill(child)
    for child in made:  # all before the loop looks: how fast the kernel kills is not in question
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222
    for child in made:
        async with asyncio.timeout(20):
            await child.ended
    reaper.close()
    assert {pid for pids in looks for pid in pids} == {child.pid for child in made}
    assert len(looks) <= MANY // 10, "together, not each for itself"


async def test_manager_takes_all_descriptors_and_gives_workers_their_own_limit(make: Make) -> None:
    manager = make(worker("a", "sleeper"))
    manager.prefix = ("sh", "-c", 'ulimit -Sn 256; exec "$@"', "sh")
    await manager.start()
    a = await manager.until("a", lambda w: w.ready)
    soft, hard = resource.prlimit(manager.pid, resource.RLIMIT_NOFILE)
    assert soft == hard
    assert resource.prlimit(a.pid, resource.RLIMIT_NOFILE) == (256, hard)


async def test_start_of_more_than_there_is_room_for_is_refused_beforehand(make: Make) -> None:
    manager = make(worker("w@", "sleeper"))
    manager.prefix = ("sh", "-c", 'ulimit -n 640; exec "$@"', "sh")
    await manager.start()
    results = await manager.spawn(*(f"w@{number}" for number in range(60)))
    assert {result.code for result in results} == {"no-room"}
    assert "60 more workers" in results[0].error and "LimitNOFILE" in results[0].hint
    assert await manager.workers() == [], "and nothing of it was begun"
    (result,) = await manager.spawn("w@0")
    assert result.ok
