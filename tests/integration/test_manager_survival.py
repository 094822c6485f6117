"""The manager is killed, its workers live on, and the next one knows them again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.managers import HEAD, Manager, alive, kill_hard, managers, worker
from zygote.sys import pidfd

Make = Callable[..., Manager]
SPAWN_PATHS = ("clone3", "clone", "fork")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


def kernel_tells_exits() -> bool:
    """Whether PIDFD_GET_INFO keeps the exit status here (kernel 6.15)."""
    child = os.posix_spawn("/bin/true", ["true"], {})
    descriptor = os.pidfd_open(child)
    os.waitpid(child, 0)
    try:
        return pidfd.try_exit_status(descriptor) == 0
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_adoption_keeps_process_age_restarts_and_readiness(make: Make, path: str) -> None:
    fleet = worker("web", "sleeper") + worker("bus", "notifier", 'type = "notify"')
    asked = {"bus": time.time()}
    manager = await make(fleet, spawn_path=path).start()
    await manager.lines("web.ran")
    asked["web"] = time.time()
    await manager.send("web", "KILL")
    web = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    manager.touch("bus.go")
    bus = await manager.until("bus", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    await manager.kill()
    await manager.eventually(_gone(zygote.pid), bool)
    assert alive(web.pid) and alive(bus.pid)
    await manager.start()
    for before in (web, bus):
        after = await manager.worker(before.name)
        assert (after.pid, after.adopted, after.state) == (before.pid, True, "ready")
        assert after.restarts == before.restarts
        assert asked[before.name] - 0.1 <= after.started_at <= before.started_at + 0.1
    assert len(await manager.lines("web.ran", 2)) == 2, "no third process was made"
    assert (await manager.zygotes())[0].generation == 2
    await manager.end()
    assert not alive(web.pid) and not alive(bus.pid)


async def test_adopted_worker_that_ends_is_told_and_restarted(make: Make) -> None:
    manager = await make(worker("web", "crash_on_demand")).start()
    await manager.lines("web.ran")
    await manager.kill()
    await manager.start()
    assert (await manager.worker("web")).adopted
    manager.touch("web.crash", "42")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert state.last_end == ("exited(42)" if kernel_tells_exits() else "unknown")
    assert not state.adopted


async def test_adopted_worker_is_stopped_with_its_children(make: Make) -> None:
    fleet = worker("web", "family", 'stop_grace = "500ms"')
    manager = await make(fleet).start()
    await manager.lines("web.ran")
    pids = [int(line) for line in await manager.lines("web.child", 2)]
    await manager.kill()
    await manager.start()
    (result,) = await manager.stop("web")
    assert result.ok
    await manager.eventually(_gone(*pids), bool)


async def test_worker_that_died_without_a_manager_is_unknown_and_restarted(make: Make) -> None:
    fleet = worker("web", "sleeper") + worker("off", "sleeper", 'restart = "no"')
    manager = await make(fleet).start()
    web = await manager.until("web", lambda w: w.ready)
    off = await manager.until("off", lambda w: w.ready)
    await manager.kill()
    kill_hard(web.pid)
    kill_hard(off.pid)
    await manager.eventually(_gone(web.pid, off.pid), bool)
    await manager.start()
    # Where its new parent has not reaped it yet, and the kernel tells, its end can be learnt.
    ends = ("unknown", "signalled(SIGKILL)")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert state.last_end in ends
    state = await manager.until("off", lambda w: w.last_end)
    assert state.last_end in ends
    await manager.eventually(
        manager.events, lambda found: any(event.event == "serving" for event in found)
    )
    assert (await manager.worker("off")).state == "failed"
    assert len(await manager.lines("off.ran")) == 1


async def test_stopped_worker_stays_stopped_under_the_next_manager(make: Make) -> None:
    manager = await make(worker("web", "sleeper") + worker("bus", "sleeper")).start()
    await manager.stop("web")
    await manager.kill()
    await manager.start()
    assert (await manager.worker("bus")).adopted
    assert (await manager.worker("web")).state == "inactive"


async def test_instance_of_a_template_is_adopted(make: Make) -> None:
    manager = await make(worker("decoy@", "sleeper")).start()
    (result,) = await manager.spawn("decoy@ssh")
    await manager.kill()
    await manager.start()
    state = await manager.worker("decoy@ssh")
    assert (state.pid, state.adopted) == (result.pid, True)


async def test_pid_of_another_process_is_not_adopted(make: Make) -> None:
    manager = await make(worker("web", "sleeper")).start()
    state = await manager.until("web", lambda w: w.ready)
    await manager.kill()
    kill_hard(state.pid)
    await manager.eventually(_gone(state.pid), bool)
    record = manager.run / "state/web.pid"
    _, starttime, spawn_id = record.read_text().split()
    record.write_text(f"{os.getpid()} {starttime} {spawn_id}\n")
    await manager.start()
    state = await manager.until("web", lambda w: w.ready)
    assert state.pid != os.getpid()
    assert not state.adopted


async def test_worker_no_longer_in_the_file_is_adopted_and_stopped(make: Make) -> None:
    manager = await make(worker("web", "sleeper") + worker("bus", "sleeper")).start()
    web = await manager.until("web", lambda w: w.ready)
    await manager.kill()
    text = manager.file.read_text()
    manager.file.write_text(text[: text.index('[worker."web"]')] + worker("bus", "sleeper"))
    await manager.start()
    await manager.eventually(_gone(web.pid), bool)

    async def names() -> list[str]:
        return [w.name for w in await manager.workers()]

    await manager.eventually(names, lambda found: found == ["bus"])


async def test_spawn_under_way_when_the_manager_dies_makes_no_ghost(make: Make) -> None:
    """The zygote is stopped with a request in its queue: whoever it clones later must end."""
    manager = await make(worker("web", "sleeper", "autostart = false")).start()
    (zygote,) = await manager.zygotes()
    os.kill(zygote.pid, signal.SIGSTOP)
    (result,) = await manager.spawn("web", wait="no")
    assert result.state == "starting"
    intent = manager.run / "state/web.json"

    async def written() -> bool:
        return intent.exists() and json.loads(intent.read_bytes())["spawn_id"] != "0" * 32

    await manager.eventually(written, bool)
    await manager.kill()
    os.kill(zygote.pid, signal.SIGCONT)
    await manager.eventually(_gone(zygote.pid), bool)
    await manager.start()
    state = await manager.until("web", lambda w: w.ready)
    assert await manager.lines("web.ran") == [str(state.pid)], "one process, and we know it"


async def test_zygote_killed_with_a_spawn_in_its_queue_loses_and_doubles_nothing(
    make: Make,
) -> None:
    manager = await make(worker("web", "sleeper", "autostart = false")).start()
    (zygote,) = await manager.zygotes()
    os.kill(zygote.pid, signal.SIGSTOP)
    (result,) = await manager.spawn("web", wait="no")
    await manager.until("web", lambda w: w.state == "starting" and not w.status)
    kill_hard(zygote.pid)
    state = await manager.until("web", lambda w: w.ready)
    assert state.generation == 2
    assert await manager.lines("web.ran") == [str(state.pid)]
    assert result.name == "web"


async def test_second_manager_on_the_same_folder_is_refused(make: Make) -> None:
    manager = await make(worker("web", "sleeper")).start()
    other = Manager(manager.folder, worker("web", "sleeper"))
    await other.start(code=1)
    (error,) = other.answer["errors"]
    assert error["code"] == "second-manager"
    assert str(manager.pid) in error["message"]
    assert (await manager.worker("web")).ready


async def test_adoption_that_fails_ends_the_process_before_another_is_started(make: Make) -> None:
    """Records that nobody can read; of one that the file knows no more; of a stranger."""
    broken = ("spec", "format", "cut")
    fleet = "".join(worker(name, "sleeper") for name in ("bus", *broken))
    manager = await make(fleet + worker("gone", "sleeper") + worker("other", "sleeper")).start()
    before = {}
    for name in ("bus", *broken, "gone", "other"):
        before[name] = (await manager.until(name, lambda w: w.ready)).pid
    await manager.kill()
    kill_hard(before["other"])
    spoil(manager, "format", format=99)
    for name in ("spec", "gone", "other"):
        spoil(manager, name, spec={})
    cut = manager.run / "state/cut.json"
    cut.write_text(cut.read_text()[:200])
    stranger = await asyncio.create_subprocess_exec("/bin/sleep", "600")
    (manager.run / "state/other.pid").write_text(f"{stranger.pid} 1 {'0' * 32}\n")
    manager.file.write_text(HEAD + fleet)
    try:
        await manager.start()
        assert (await manager.worker("bus")).pid == before["bus"]
        for name in broken:
            await manager.until(name, lambda w, old=before[name]: w.ready and w.pid != old)
            assert not alive(before[name])
            told = [e.event for e in await manager.events() if e.subject == name]
            assert told[:4] == ["adoption-failed", "stopping", "ended", "starting"]
        await manager.eventually(_gone(before["gone"]), bool)

        async def names() -> list[str]:
            return [w.name for w in await manager.workers()]

        assert await manager.eventually(names, lambda found: "gone" not in found)
        assert stranger.returncode is None, "it has the number of one that was ours, and is not"
    finally:
        stranger.kill()
        await stranger.wait()


def spoil(manager: Manager, name: str, **wrong: object) -> None:
    """Change a worker's state file."""
    file = manager.run / f"state/{name}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **wrong}))


def _gone(*pids: int) -> Callable[[], object]:
    async def look() -> bool:
        return not any(alive(pid) for pid in pids)

    return look
