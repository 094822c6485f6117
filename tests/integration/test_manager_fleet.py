"""The fleet as a whole: reload, trouble with disks and descriptors, sizes, our own supervisor."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support import mounts
from tests.support.managers import PATIENCE, Manager, alive, managers, worker

Make = Callable[..., Manager]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


async def test_hup_takes_the_changed_file(make: Make) -> None:
    manager = await make(worker("web", "sleeper") + worker("old", "sleeper")).start()
    web = await manager.until("web", lambda w: w.ready)
    old = await manager.until("old", lambda w: w.ready)
    text = manager.file.read_text()
    head = text[: text.index('[worker."web"]')]
    manager.file.write_text(head + worker("web", "sleeper", "nice = 3") + worker("new", "sleeper"))
    assert (await manager.status()).fleet_changed
    manager.signal(1)

    async def names() -> list[str]:
        return sorted(w.name for w in await manager.workers())

    await manager.eventually(names, lambda found: found == ["new", "web"])
    await manager.until("new", lambda w: w.ready)
    assert not alive(old.pid)
    assert (await manager.worker("web")).pid == web.pid, "what runs is left alone"
    assert not (await manager.status()).fleet_changed
    await manager.restart("web")
    pid = (await manager.worker("web")).pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == 3


async def test_reload_of_a_bad_file_leaves_the_fleet_as_it_is(make: Make) -> None:
    manager = await make(worker("web", "sleeper")).start()
    web = await manager.until("web", lambda w: w.ready)
    good = manager.file.read_text()
    manager.file.write_text(good + "nonsense = 1\n")
    manager.signal(1)

    async def notices() -> str:
        return "\n".join((await manager.status()).notices)

    await manager.eventually(notices, lambda text: "nonsense" in text)
    assert (await manager.worker("web")).pid == web.pid
    manager.file.write_text(good)
    assert await manager.reload() == ["nothing changed"]
    assert "nonsense" not in await notices()


async def test_state_on_a_full_disk_costs_no_running_worker(make: Make) -> None:
    manager = make(worker("web", "sleeper") + worker("late", "sleeper", "autostart = false"))
    manager.run.mkdir(mode=0o711)
    with mounts.tmpfs(manager.run, "1m"):
        try:
            await manager.start()
            await manager.until("web", lambda w: w.ready)
            filler = mounts.fill(manager.run)
            (result,) = await manager.spawn("late")
            assert (result.ok, result.errno) == (False, 28), result
            await manager.send("web", "KILL")
            web = await manager.until("web", lambda w: w.ready and w.restarts == 1)
            notices = "\n".join((await manager.status()).notices)
            assert "No space left on device" in notices
            await manager.kill()
            filler.unlink()
            await manager.start()
            assert (await manager.worker("web")).pid == web.pid, "it is on record all the same"
            await manager.spawn("late")
            notices = "\n".join((await manager.status()).notices)
            assert "No space left" not in notices, "told for as long as it is so"
        finally:
            await manager.clean_up()


async def test_no_descriptors_left_is_an_error_of_one_spawn(make: Make) -> None:
    fleet = worker("web", "sleeper") + worker("late", "sleeper", "autostart = false")
    manager = await make(fleet).start()
    web = await manager.until("web", lambda w: w.ready)
    limits = resource.prlimit(manager.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, (5, limits[1]))
    (result,) = await manager.spawn("late")
    assert (result.ok, result.errno) == (False, 24), result
    assert "LimitNOFILE" in result.hint
    assert (await manager.worker("web")).pid == web.pid
    resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, limits)
    await manager.until("late", lambda w: w.ready)


async def test_a_zygote_without_descriptors_is_tried_again(make: Make) -> None:
    """It has none left for what comes with a request: the worker is restarted once it has."""
    keys = ('restart = "always"', "start_limit = 0")  # however long we take to look
    manager = await make(worker("web", "sleeper", *keys)).start()
    first = await manager.until("web", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    limits = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (4, limits[1]))
    os.kill(first.pid, signal.SIGKILL)
    waiting = await manager.until("web", lambda w: w.state == "backoff" and w.error)
    assert "EMFILE" in waiting.error and "LimitNOFILE" in waiting.hint, waiting
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, limits)
    again = await manager.until("web", lambda w: w.ready)
    assert again.pid != first.pid
    (same,) = await manager.zygotes()
    assert same.pid == zygote.pid


async def test_workers_get_the_limit_of_open_files_that_the_manager_was_given(make: Make) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 512
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        manager = await make(worker("web", "sleeper")).start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid = (await manager.until("web", lambda w: w.ready)).pid
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (512, hard)
    assert resource.prlimit(manager.pid, resource.RLIMIT_NOFILE) == (hard, hard)


async def test_manager_is_small_with_twenty_workers(make: Make) -> None:
    names = [f"w{number}" for number in range(20)]
    fleet = "".join(worker(name, "early_bird", 'type = "notify"') for name in names)
    manager = await make(fleet).start()
    assert all(result.ok for result in await manager.spawn(*names))
    for _ in range(5):
        results = await manager.restart(*names)
        assert all(result.ok for result in results), results
    rollup = Path(f"/proc/{manager.pid}/smaps_rollup").read_text()
    pss_kib = int(rollup.split("\nPss:")[1].split()[0])
    assert pss_kib <= 20_000_000 // 1024


async def test_manager_keeps_no_descriptor_of_what_has_ended(make: Make) -> None:
    names = [f"w{number}" for number in range(5)]
    fleet = "".join(worker(name, "sleeper") for name in names)
    manager = await make(fleet).start()
    assert all(result.ok for result in await manager.spawn(*names))

    def count() -> int:
        return len(list(Path(f"/proc/{manager.pid}/fd").iterdir()))

    await manager.restart(*names)
    before = count()
    for _ in range(3):
        await manager.restart(*names)
    (zygote,) = await manager.zygotes()
    os.kill(zygote.pid, 9)
    await manager.restart(*names)

    async def look() -> int:
        return count()

    await manager.eventually(look, lambda found: found <= before)


async def test_burst_of_spawns_is_served_whole(make: Make) -> None:
    manager = await make(worker("decoy@", "sleeper")).start()
    names = [f"decoy@{number}" for number in range(60)]
    results = await manager.spawn(*names)
    assert [r.name for r in results if not r.ok] == []
    assert len({r.pid for r in results}) == 60
    for name in names:
        assert len(await manager.lines(f"{name}.ran")) == 1


async def test_own_supervisor_is_told(make: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.setblocking(False)
        manager = make(worker("web", "sleeper"))
        manager.env = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "400000"}
        await manager.start()
        loop = asyncio.get_running_loop()
        heard = ""
        async with asyncio.timeout(PATIENCE):
            while not ("READY=1" in heard and heard.count("WATCHDOG=1") >= 3):
                heard += (await loop.sock_recv(listening, 4096)).decode() + "\n"
        assert "STATUS=1 workers, 1 ready" in heard
        # Listening on: with ten messages in its queue this socket takes no more.
        ending = asyncio.create_task(manager.end())
        async with asyncio.timeout(PATIENCE):
            while "STOPPING=1" not in heard:
                heard += (await loop.sock_recv(listening, 4096)).decode() + "\n"
        assert await ending == 0


async def test_shutdown_ends_a_crash_loop_and_what_waits(make: Make) -> None:
    fleet = (
        worker("crash", "crasher", 'restart_delay = "10s"', "start_limit = 0", args=["1"])
        + worker("bus", "notifier", 'type = "notify"')
        + worker("web", "sleeper", 'after = ["bus"]')
    )
    manager = await make(fleet).start()
    await manager.until("crash", lambda w: w.state == "backoff")
    await manager.until("web", lambda w: w.status == "waiting for 'bus'")
    assert await manager.end() == 0


async def test_interrupt_from_the_terminal_ends_it_cleanly(make: Make) -> None:
    manager = await make(worker("web", "graceful")).start()
    await manager.lines("web.ran")
    manager.signal(2)
    assert await manager.wait() == 0
    assert len(await manager.lines("web.stopped")) == 1
