"""A worker's life under a real manager: start, ready, crash, restart, stop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.managers import Manager, alive, kill_hard, managers, worker

Make = Callable[..., Manager]
SPAWN_PATHS = ("clone3", "clone", "fork")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_worker_is_the_managers_own_child_and_ends_with_it(make: Make, path: str) -> None:
    manager = await make(worker("web", "sleeper"), spawn_path=path).start()
    state = await manager.until("web", lambda w: w.state == "ready")
    stat = Path(f"/proc/{state.pid}/stat").read_text()
    assert int(stat[stat.rindex(")") + 2 :].split()[1]) == manager.pid
    assert os.getsid(state.pid) == state.pid
    assert state.spawn_ms is not None and state.spawn_ms >= 0
    assert await manager.lines("web.ran") == [str(state.pid)]
    (zygote,) = await manager.zygotes()
    assert zygote.state == "ready"
    assert zygote.spawn_path.startswith(path)
    assert zygote.generation == state.generation == 1
    assert await manager.end() == 0
    assert not alive(state.pid)
    assert not alive(zygote.pid)
    assert list((manager.run / "state").iterdir()) == []
    assert not (manager.run / "control.sock").exists()
    assert not (manager.run / "notify.sock").exists()


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_exit_codes_are_kept(make: Make, path: str) -> None:
    codes = (0, 1, 3, 112, 255)
    fleet = "".join(worker(f"w{n}", "crasher", 'restart = "no"', args=[str(n)]) for n in codes)
    manager = await make(fleet, spawn_path=path).start()
    for code in codes:
        state = await manager.until(f"w{code}", lambda w: w.last_end)
        assert state.last_end == f"exited({code})"
        assert state.state == ("failed" if code else "inactive")
        assert state.error == (f"exited({code})" if code else "")
        assert (manager.run / f"logs/w{code}.log").read_text() == "about to crash\n"


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_signal_is_kept_and_the_worker_restarted(make: Make, path: str) -> None:
    manager = await make(worker("web", "sleeper"), spawn_path=path).start()
    first = await manager.until("web", lambda w: w.state == "ready")
    (result,) = await manager.send("web", "SIGSEGV")
    assert result.ok
    second = await manager.until("web", lambda w: w.state == "ready" and w.restarts == 1)
    assert second.last_end == "signalled(SIGSEGV)"
    assert second.pid != first.pid


async def test_clean_end_is_restarted_only_by_always(make: Make) -> None:
    fleet = worker("once", "crash_on_demand") + worker(
        "ever", "crash_on_demand", 'restart = "always"'
    )
    manager = await make(fleet).start()
    manager.touch("once.crash", "0")
    manager.touch("ever.crash", "0")
    once = await manager.until("once", lambda w: w.last_end)
    ever = await manager.until("ever", lambda w: w.last_end and w.state == "ready")
    assert (once.state, once.last_end) == ("inactive", "exited(0)")
    assert ever.restarts == 1


async def test_crash_loop_backs_off_and_then_fails_with_a_reason(make: Make) -> None:
    keys = ("restart_delay = '50ms'", "start_limit = 3")
    manager = await make(worker("web", "crasher", *keys, args=["3"])).start()
    state = await manager.until("web", lambda w: w.state == "failed")
    assert state.restarts == 3
    assert "exited(3); restarted 3 times within" in state.error
    assert "zygotectl logs web" in state.hint
    assert len(await manager.lines("web.ran")) == 4
    words = [event.event for event in await manager.events() if event.subject == "web"]
    assert words.count("backoff") == 2, "the first restart is immediate"
    (result,) = await manager.spawn("web", wait="up")
    await manager.until("web", lambda w: w.state == "failed" and w.restarts == 6)
    assert result.name == "web"


async def test_notify_worker_is_ready_when_it_says_so(make: Make) -> None:
    manager = await make(worker("web", "notifier", 'type = "notify"')).start()
    state = await manager.until("web", lambda w: w.status == "warming up")
    assert (state.state, state.ready) == ("up", False)
    manager.touch("web.go")
    state = await manager.until("web", lambda w: w.ready)
    assert state.status == "at your service"
    assert state.ready_ms >= state.spawn_ms


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_ready_said_before_anything_else_is_not_lost(make: Make, path: str) -> None:
    names = [f"w{number}" for number in range(10)]
    fleet = "".join(worker(name, "early_bird", 'type = "notify"') for name in names)
    manager = await make(fleet, spawn_path=path).start()
    results = await manager.spawn(*names)
    assert all(result.ok for result in results), results


async def test_ready_may_be_said_by_a_child_of_the_worker(make: Make) -> None:
    manager = await make(worker("web", "child_speaks", 'type = "notify"')).start()
    state = await manager.until("web", lambda w: w.ready)
    assert state.status == "my child said so"


async def test_last_words_are_heard_before_the_end(make: Make) -> None:
    manager = await make(worker("web", "last_words", 'type = "notify"', 'restart = "no"')).start()
    state = await manager.until("web", lambda w: w.last_end)
    assert (state.state, state.error) == ("inactive", ""), "it was ready, and ended well"


async def test_never_ready_is_killed_at_start_timeout(make: Make) -> None:
    keys = ('type = "notify"', 'restart = "no"', 'start_timeout = "5s"')
    manager = await make(worker("web", "never_ready", *keys, "autostart = false")).start()
    (result,) = await manager.spawn("web")
    assert not result.ok
    assert result.error == "not ready within 5 s (start_timeout)"
    (pid,) = await manager.lines("web.ran")
    assert not alive(int(pid))


async def test_watchdog_expires_when_a_worker_hangs(make: Make) -> None:
    keys = ('type = "notify"', 'watchdog = "5s"', 'restart = "no"')
    manager = await make(worker("web", "watched", *keys)).start()
    state = await manager.until("web", lambda w: w.ready)
    start = time.monotonic()
    while time.monotonic() - start < 7:
        assert (await manager.worker("web")).ready, "it lives as long as it says so"
        await asyncio.sleep(0.1)
    (manager.folder / "mute").touch()
    state = await manager.until("web", lambda w: w.state == "failed")
    assert (state.last_end, state.error) == ("watchdog_expired", "watchdog_expired")


async def test_stop_is_graceful_and_lasts(make: Make) -> None:
    manager = await make(worker("web", "graceful", 'restart = "always"')).start()
    await manager.lines("web.ran")
    (result,) = await manager.stop("web")
    assert result.ok
    assert len(await manager.lines("web.stopped")) == 1
    state = await manager.worker("web")
    assert (state.state, state.last_end, state.pid) == ("inactive", "exited(0)", None)
    (result,) = await manager.spawn("web")
    assert result.ok
    assert (await manager.worker("web")).state == "ready"


async def test_stop_kills_a_stubborn_one_after_its_grace(make: Make) -> None:
    manager = await make(worker("web", "stubborn", 'stop_grace = "300ms"')).start()
    await manager.lines("web.ran")
    (result,) = await manager.stop("web")
    assert result.ok
    state = await manager.worker("web")
    assert (state.state, state.last_end) == ("inactive", "signalled(SIGKILL)")


async def test_stop_sends_the_signal_that_was_asked_for(make: Make) -> None:
    manager = await make(worker("web", "sleeper", 'stop_signal = "SIGUSR1"')).start()
    await manager.lines("web.ran")
    await manager.stop("web")
    assert (await manager.worker("web")).last_end == "signalled(SIGUSR1)"


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_end_takes_children_and_grandchildren_along(make: Make, path: str) -> None:
    keys = ('stop_grace = "500ms"', 'restart = "no"')
    fleet = worker("stop", "family", *keys) + worker("crash", "family", *keys)
    manager = await make(fleet, spawn_path=path).start()
    for name in ("stop", "crash"):
        await manager.lines(f"{name}.ran")
        pids = [int(line) for line in await manager.lines(f"{name}.child", 2)]
        assert all(alive(pid) for pid in pids)
        if name == "stop":
            await manager.stop(name)
        else:
            await manager.send(name, "KILL")
            await manager.until(name, lambda w: w.last_end)

        async def left(pids: list[int] = pids) -> list[int]:
            return [pid for pid in pids if alive(pid)]

        await manager.eventually(left, lambda found: not found)


async def test_after_waits_for_ready_and_stops_in_reverse(make: Make) -> None:
    fleet = worker("web", "graceful", 'after = ["bus"]') + worker(
        "bus", "notifier", 'type = "notify"'
    )
    manager = await make(fleet).start()
    await manager.until("bus", lambda w: w.state == "up")
    state = await manager.until("web", lambda w: w.status == "waiting for 'bus'")
    assert (state.state, state.pid) == ("starting", None)
    manager.touch("bus.go")
    await manager.until("web", lambda w: w.ready)
    await manager.lines("web.ran")
    await manager.end()
    ends = [line for line in manager.output.splitlines() if "event=ended" in line]
    assert [line.split()[0] for line in ends[:2]] == ["worker=web", "worker=bus"]


async def test_spawn_brings_what_it_comes_after(make: Make) -> None:
    off = "autostart = false"
    fleet = worker("bus", "sleeper", off) + worker("web", "sleeper", off, 'after = ["bus"]')
    manager = await make(fleet).start()
    results = await manager.spawn("web")
    assert [(r.name, r.ok) for r in results] == [("web", True)]
    assert (await manager.worker("bus")).ready


async def test_spawn_tells_that_what_it_needs_has_failed(make: Make) -> None:
    off = "autostart = false"
    keys = (off, 'type = "notify"', 'restart = "no"', 'start_timeout = "5s"')
    fleet = worker("bus", "never_ready", *keys) + worker("web", "sleeper", off, 'after = ["bus"]')
    manager = await make(fleet).start()
    (result,) = await manager.spawn("web")
    assert (result.ok, result.code) == (False, "needs-failed")
    assert "waits for 'bus': not ready within 5 s" in result.error


async def test_template_instances_come_and_go(make: Make) -> None:
    fleet = worker("decoy@", "environment", "[worker.'decoy@'.env]", 'WHO = "%i"')
    manager = await make(fleet).start()
    assert await manager.workers() == []
    results = await manager.spawn("decoy@ssh", "decoy@http")
    assert all(result.ok for result in results), results
    told = await manager.eventually(
        lambda: manager.lines("decoy@ssh.env"), lambda lines: "END" in lines
    )
    assert "WHO=ssh" in told
    results = await manager.stop("decoy@")
    assert {result.name for result in results} == {"decoy@ssh", "decoy@http"}
    assert await manager.workers() == []
    assert list((manager.run / "state").iterdir()) == []


async def test_environment_is_the_managers_plus_the_workers_own(make: Make) -> None:
    manager = make(worker("web", "environment", "[worker.web.env]", 'MINE = "yes"'))
    manager.env = {"NOTIFY_SOCKET": "/nowhere", "FROM_OUTSIDE": "too"}
    await manager.start()
    lines = await manager.eventually(lambda: manager.lines("web.env"), lambda f: "END" in f)
    assert "MINE=yes" in lines
    assert "FROM_OUTSIDE=too" in lines
    assert "ZYGOTE_WORKER=web" in lines
    assert not any(line.startswith("NOTIFY_SOCKET=") for line in lines), "not meant for workers"


async def test_restart_gives_a_new_process(make: Make) -> None:
    manager = await make(
        worker("web", "sleeper") + worker("off", "sleeper", "autostart = false")
    ).start()
    first = await manager.until("web", lambda w: w.ready)
    results = await manager.restart("web", "off")
    assert all(result.ok for result in results), results
    second = await manager.worker("web")
    assert second.ready and second.pid != first.pid
    assert second.restarts == 0, "one that was asked for is not counted"
    assert (await manager.worker("off")).ready


async def test_unknown_names_are_told_and_the_others_served(make: Make) -> None:
    manager = await make(worker("web", "sleeper", "autostart = false")).start()
    results = {result.name: result for result in await manager.spawn("web", "wbe")}
    assert results["web"].ok
    assert (results["wbe"].ok, results["wbe"].code) == (False, "no-such-worker")
    assert "web" in results["wbe"].hint


async def test_missing_user_is_a_step_with_a_hint_and_a_place(make: Make) -> None:
    fleet = worker("web", "sleeper", 'user = "nobody-of-that-name"', "autostart = false")
    manager = await make(fleet).start()
    (result,) = await manager.spawn("web")
    assert (result.ok, result.step, result.state) == (False, "user", "failed")
    assert "nobody-of-that-name" in result.error
    assert "fleet.toml:" in result.hint


async def test_failing_step_is_told_by_spawn(make: Make) -> None:
    fleet = worker("web", "sleeper", 'cwd = "/nowhere/at/all"', "autostart = false")
    manager = await make(fleet).start()
    (result,) = await manager.spawn("web")
    assert (result.ok, result.step, result.errno) == (False, "cwd", 2)
    assert result.state == "failed"


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_zygote_killed_workers_go_on_and_spawns_are_served(make: Make, path: str) -> None:
    names = [f"w{number}" for number in range(5)]
    fleet = "".join(worker(name, "sleeper", "autostart = false") for name in names)
    manager = await make(fleet + worker("web", "sleeper"), spawn_path=path).start()
    before = await manager.until("web", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    kill_hard(zygote.pid)
    results = await manager.spawn(*names)
    assert all(result.ok for result in results), results
    (after,) = await manager.zygotes()
    assert (after.generation, after.state) == (2, "ready")
    assert (await manager.worker("web")).pid == before.pid
    assert alive(before.pid)
    for name in names:
        assert len(await manager.lines(f"{name}.ran")) == 1, "started once, not twice"


async def test_floor_that_does_not_import_starts_nothing(make: Make) -> None:
    manager = make(worker("web", "sleeper"))
    (manager.folder / "broken.py").write_text("import os\nraise RuntimeError('no such luck')\n")
    text = manager.file.read_text().replace('["tiny"]', '["tiny", "broken"]')
    manager.file.write_text(text)
    await manager.start(code=1)
    (error,) = manager.answer["errors"]
    assert "broken" in error["message"]
    assert "RuntimeError: no such luck" in error["traceback"]
    assert "RuntimeError: no such luck" in manager.output
    assert "RuntimeError: no such luck" in (manager.run / "logs/zygote.floor.log").read_text()
    assert not (manager.folder / "web.ran").exists()


async def test_floor_that_hangs_is_named_and_killed(make: Make) -> None:
    manager = make(worker("web", "sleeper"))
    (manager.folder / "hangs.py").write_text("import time\ntime.sleep(600)\n")
    text = manager.file.read_text().replace('["tiny"]', '["hangs"]\nbake_timeout = "10s"')
    manager.file.write_text(text)
    await manager.start(code=1)
    (error,) = manager.answer["errors"]
    assert error["code"] == "bake-timeout"
    assert "hangs" in error["message"]


async def test_fleet_file_that_is_wrong_is_refused_with_code_7(make: Make) -> None:
    manager = make(worker("web", "sleeper", "no_such_key = 1"))
    await manager.start(code=7)
    assert "no_such_key" in manager.answer["errors"][0]["message"]
    assert "fleet.toml:" in manager.answer["errors"][0]["place"]


async def test_manager_asked_to_end_while_it_bakes_ends(make: Make) -> None:
    manager = make(worker("web", "sleeper"))
    (manager.folder / "hangs.py").write_text(
        "import time\nopen('baking', 'w').close()\ntime.sleep(600)\n"
    )
    manager.file.write_text(manager.file.read_text().replace('["tiny"]', '["hangs"]'))
    task = asyncio.ensure_future(manager.start(code=0))
    baking = manager.folder / "baking"

    async def look() -> bool:
        return baking.exists()

    await manager.eventually(look, bool)
    manager.signal(15)
    await task
    assert manager.answer["errors"][0]["code"] == "stopping"
