"""`decnetctl supervise`: workers as tasks of one process, each started again when it fails."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from decnet.context import Context, WorkerError
from decnet.settings import Settings
from decnet.supervise.host import FIRST, GROUPS, Host, Hosted, choose
from decnet.workers import WORKERS
from tests.support.bus import DEADLINE, bus_client
from tests.support.decnet_env import migrated, worker
from zygote.errors import ZygoteError


def settings_for(folder: Path) -> Settings:
    return Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})


async def test_one_process_hosts_real_workers_that_beat_and_obey(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    names = ("bus", "collect", "profiler", "mutate")
    async with worker(tmp_path, "decnet.cli.app", "supervise", *names) as process:
        await process.until_line(f"ready: {', '.join(names)}")
        async with bus_client(tmp_path / "bus.sock") as client:
            beats: dict[str, int] = {}
            all_beat = asyncio.Event()

            def on_beat(event) -> None:  # type: ignore[no-untyped-def]
                beats[event.payload["worker"]] = event.payload["pid"]
                if {"bus", "collector", "profiler", "mutator"} <= set(beats):
                    all_beat.set()

            client.listen("system.*.health", on_beat)
            async with asyncio.timeout(DEADLINE):
                await all_beat.wait()
            assert set(beats.values()) == {process.pid}
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0


async def test_a_task_that_fails_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    calls = {"bad": 0, "good": 0, "done": 0}

    async def bad(ctx: Context) -> None:
        calls["bad"] += 1
        if calls["bad"] < 3:
            raise WorkerError("not today") if calls["bad"] == 1 else RuntimeError("nor now")
        ctx.ready()
        await ctx.stopping.wait()

    async def good(ctx: Context) -> None:
        calls["good"] += 1
        ctx.ready()
        await ctx.stopping.wait()

    async def done(ctx: Context) -> None:
        calls["done"] += 1

    hosted = [Hosted("good", good, False), Hosted("bad", bad, False), Hosted("done", done, False)]
    # Nobody waits for readiness here: the one that is done never says so.
    hosted[2].ready.set()
    host = Host(hosted, settings_for(tmp_path), chance=lambda: 0.0)
    running = asyncio.create_task(host.run())
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(DEADLINE):
        while calls["bad"] < 3:
            await asyncio.sleep(0.02)
        # Half of 1 s, then half of 2 s: it backs off.
        assert asyncio.get_running_loop().time() - started >= 1.5 * FIRST
        await hosted[1].ready.wait()
        host.stop("test")
        await running
    assert calls == {"bad": 3, "good": 1, "done": 1}
    assert hosted[1].restarts == 2 and "nor now" in hosted[1].last_error


def test_groups_name_workers_that_exist_in_start_order() -> None:
    assert choose(["api", "batch", "bus"]) == [
        *("bus", "enrich", "mutate", "reconciler", "orchestrator", "api")
    ]
    assert choose(["all"]) == list(WORKERS) and len(WORKERS) == 18
    assert all(set(group) <= set(WORKERS) for group in GROUPS.values())
    with pytest.raises(ZygoteError, match="no worker or group 'nonsense'") as caught:
        choose(["nonsense"])
    assert caught.value.exit_code == 2 and "campaign-clusterer" in caught.value.hint


async def test_without_a_database_it_says_what_to_run(tmp_path: Path) -> None:
    async with worker(tmp_path, "decnet.cli.app", "supervise", "profiler") as process:
        assert await process.ended() == 66
    assert "decnetctl migrate" in process.log.read_text()
