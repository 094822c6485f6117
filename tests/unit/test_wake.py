"""Waiting: hints are kept during a tick, the stop ends every wait, nothing leaks."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from decnet.bus.client import BusClient
from decnet.context import Context, conduct, open_context
from decnet.settings import Settings

FOREVER = 3600.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({"DECNET_STATE_DIR": str(tmp_path), "DECNET_BUS_ENABLED": "false"})


@pytest.fixture
def ctx(settings: Settings) -> Context:
    return Context("w", settings, BusClient(settings.bus_socket, "w", enabled=False), None)


async def test_wake_hint_during_a_tick_is_seen_by_the_next_wait(ctx: Context) -> None:
    wake = await ctx.wake("a.b")
    wake.hint()
    assert await wake.wait(FOREVER)
    wake.hint()  # the tick is running
    assert await wake.wait(FOREVER)
    assert not await wake.wait(0)


async def test_wake_many_hints_are_one(ctx: Context) -> None:
    wake = await ctx.wake("a.b", "c.>")
    for _ in range(100):
        wake.hint()
    assert await wake.wait(FOREVER)
    assert not await wake.wait(0)


async def test_wake_stop_ends_a_wait_and_all_later_ones(ctx: Context) -> None:
    wake = await ctx.wake("a.b")
    waiting = asyncio.create_task(wake.wait(FOREVER))
    await asyncio.sleep(0)
    ctx.stop("test")
    assert await waiting is False
    assert await wake.wait(FOREVER) is False
    late = await ctx.wake("a.b")
    assert await late.wait(FOREVER) is False


async def test_wake_closed_leaves_nothing_behind(ctx: Context) -> None:
    before = len(ctx.bus.on_connected)
    for _ in range(3):
        with await ctx.wake("a.b", "c.>") as wake:
            wake.close()
    assert ctx.bus._handlers == {}
    assert len(ctx.bus.on_connected) == before
    assert ctx.stopping.wakes == []


async def test_wake_malformed_pattern_is_refused(ctx: Context) -> None:
    with pytest.raises(ValueError, match="not a topic pattern"):
        await ctx.wake("a..b")


async def test_watchdog_waiting_is_moving_and_a_stuck_tick_is_not(ctx: Context) -> None:
    wake = await ctx.wake("a.b")
    assert ctx.is_moving(0), "who never reports progress lives as long as the loop turns"
    ctx.progress()
    await asyncio.sleep(0.001)
    assert not ctx.is_moving(0)
    waiting = asyncio.create_task(wake.wait(FOREVER))
    await asyncio.sleep(0)
    assert ctx.is_moving(0)
    wake.hint()
    await waiting
    assert ctx.is_moving(FOREVER)


async def test_context_without_a_database_says_so(ctx: Context) -> None:
    with pytest.raises(RuntimeError, match="database=False"):
        _ = ctx.db


async def test_context_two_workers_share_a_loop(settings: Settings) -> None:
    ended: list[str] = []

    async def main(ctx: Context) -> None:
        wake = await ctx.wake("a.b")
        while not ctx.stopping.is_set():
            await wake.wait(FOREVER)
        ended.append(ctx.name)

    async with (
        open_context("one", settings, database=False, notifies=False) as one,
        open_context("two", settings, database=False, notifies=False) as two,
    ):
        tasks = [asyncio.create_task(conduct(ctx, main)) for ctx in (one, two)]
        one.stop("test")
        await tasks[0]
        assert ended == ["one"]
        two.stop("test")
        await tasks[1]
    assert ended == ["one", "two"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_context_main_that_is_cancelled_from_outside_is_cleaned_up(
    settings: Settings,
) -> None:
    cleaned = asyncio.Event()

    async def main(ctx: Context) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            cleaned.set()

    async with open_context("w", settings, database=False, notifies=False) as ctx:
        task = asyncio.create_task(conduct(ctx, main))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned.is_set()


async def test_context_main_that_ignores_the_stop_is_cancelled(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decnet.context.STOP_SECONDS", 0.01)

    async def main(ctx: Context) -> None:
        await asyncio.sleep(FOREVER)

    async with open_context("w", settings, database=False, notifies=False) as ctx:
        ctx.stop("test")
        await conduct(ctx, main)


async def test_context_fault_of_main_is_raised(settings: Settings) -> None:
    async def main(ctx: Context) -> None:
        raise KeyError("x")

    async with open_context("w", settings, database=False, notifies=False) as ctx:
        with pytest.raises(KeyError):
            await conduct(ctx, main)


async def test_context_settles_once_after_a_burst(
    ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled: list[int] = []
    done = asyncio.Event()

    def settle() -> bool:
        settled.append(1)
        done.set()
        return True

    monkeypatch.setattr("decnet.surroundings.REST_SECONDS", 0.01)
    monkeypatch.setattr(ctx._settler, "settle", settle)
    for _ in range(3):
        ctx.rest()
    async with asyncio.timeout(30):
        await done.wait()
        assert settled == [1]
        done.clear()
        ctx.rest()
        await done.wait()
    assert settled == [1, 1]
