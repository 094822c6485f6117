"""What the manager does for ever goes on after a fault, and tells each error once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zygote.manager import background
from zygote.manager.background import Background, Once, lasting
from zygote.manager.events import EventLog
from zygote.manager.logs import Bounds, LogFiles


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; they take no time."""
    made: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        made.append(seconds)
        await sleep(0)

    monkeypatch.setattr(background.asyncio, "sleep", pause)
    return made


async def forever() -> None:
    await asyncio.Event().wait()


async def test_lasting_work_is_begun_anew_and_each_error_told_once(pauses: list[float]) -> None:
    going = asyncio.Event()
    told: list[str] = []
    left = iter(["first", "first again", "second", "first once more"])

    async def work() -> None:
        fault = next(left, "")
        if fault.startswith("first"):
            raise ValueError(fault)
        if fault == "second":
            raise KeyError(fault)
        going.set()
        await forever()

    kept = Background(asyncio.get_running_loop(), lambda error: told.append(str(error)))
    kept.keep(work)
    await asyncio.wait_for(going.wait(), 20)
    assert told == ["first", "'second'"]
    assert pauses == [1.0, 2.0, 4.0, 8.0], "ever more slowly"
    assert kept.passing == 0, "nobody waits for it to end"
    kept.cancel()


async def test_lasting_pause_is_short_again_after_a_steady_while(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "STEADY", 0.0)
    count = iter(range(3))
    going = asyncio.Event()

    async def work() -> None:
        if next(count, None) is None:
            going.set()
            await forever()
        raise RuntimeError

    task = asyncio.create_task(lasting(work, Once(lambda error: None)))
    await asyncio.wait_for(going.wait(), 20)
    task.cancel()
    assert pauses == [1.0, 1.0, 1.0]


async def test_lasting_work_ends_when_it_is_cancelled() -> None:
    task = asyncio.create_task(lasting(forever, Once(lambda error: None)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_rotation_of_one_log_that_breaks_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = EventLog(stream=None)
    logs = LogFiles(tmp_path, events)
    for name in ("odd", "web"):
        (tmp_path / f"{name}.log").write_text("a line\n" * 4096)
    rotate = logs._rotate
    done: list[str] = []

    async def broken(bound: Bounds, live: Any) -> None:
        if bound.name == "odd":
            raise ValueError("a fault of ours")
        await rotate(bound, live)
        done.append(bound.name)

    monkeypatch.setattr(logs, "_rotate", broken)
    bounds = [Bounds(name, 4096, 1) for name in ("odd", "web")]
    task = asyncio.create_task(logs.rotate_loop(lambda: bounds, interval=0.001))
    async with asyncio.timeout(20):
        while "web" not in done:
            await asyncio.sleep(0.001)
    task.cancel()
    (failed,) = (e for e in events.since(100) if e.event == "log-rotation-failed")
    assert failed.subject == "odd"
    assert "a fault of ours" in failed.detail


def test_once_tells_the_same_words_from_two_places_twice() -> None:
    told: list[str] = []
    once = Once(lambda error: told.append(str(error)))
    for error in raised():
        once(error)
    assert told == ["words", "words"]


def raised() -> Iterator[BaseException]:
    for _ in range(2):
        try:
            raise ValueError("words")
        except ValueError as error:
            yield error
        try:
            raise ValueError("words")
        except ValueError as error:
            yield error
