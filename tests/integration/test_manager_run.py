"""`run` as the manager sees it: any program on the caller's fds, until it ends or is hung up.

How a program behaves in itself is compared with `python` elsewhere; this is about the fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import Manager, alive, managers, worker
from tests.support.runs import program
from zygote.control.interface import Failed

Make = Callable[..., Manager]
SPAWN_PATHS = ("clone3", "clone", "fork")


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


@pytest.mark.parametrize("path", SPAWN_PATHS)
async def test_run_reports_pid_and_exit_code(make: Make, path: str) -> None:
    manager = await make(worker("web", "sleeper"), spawn_path=path).start()
    code = "import os, sys; print(os.getpid(), os.environ['MINE'], sys.argv); sys.exit(7)"
    env = {**os.environ, "MINE": "yes"}
    async with program(manager, code, args=["a b"], env=env) as running:
        first = await running.start()
        last = await running.report()
    assert (last.pid, last.code, last.signal) == (first.pid, 7, None)
    assert running.output.read_text() == f"{first.pid} yes ['-c', 'a b']\n"
    assert [w.name for w in await manager.workers()] == ["web"], "a program is no worker"
    ends = [e.detail for e in await manager.events() if e.subject == "run-1"]
    assert ends[-1] == "exited(7)"


async def test_run_reports_a_signal(make: Make) -> None:
    manager = await make("").start()
    async with program(manager, "import os; os.kill(os.getpid(), 11)") as running:
        await running.start()
        last = await running.report()
    assert (last.code, last.signal) == (None, signal.SIGSEGV)


async def test_run_hung_up_gets_sighup_first(make: Make) -> None:
    manager = await make("").start()
    code = (
        "import signal, sys, pathlib\n"
        "def bye(*_): pathlib.Path('bye').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGHUP, bye)\n"
        "pathlib.Path('up').touch()\n"
        "while True: signal.pause()\n"
    )
    async with program(manager, code) as running:
        first = await running.start()
        await manager.eventually(_there(manager.folder / "up"), bool)
        running.hang_up()
        await manager.eventually(_there(manager.folder / "bye"), bool)

        async def gone() -> bool:
            return not alive(first.pid)

        await manager.eventually(gone, bool)


async def test_run_hung_up_is_killed_if_it_does_not_mind(make: Make) -> None:
    manager = await make("").start()
    code = (
        "import signal, pathlib\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "pathlib.Path('up').touch()\n"
        "while True: signal.pause()\n"
    )
    async with program(manager, code) as running:
        first = await running.start()
        await manager.eventually(_there(manager.folder / "up"), bool)
        running.hang_up()

        async def gone() -> bool:
            return not alive(first.pid)

        await manager.eventually(gone, bool)


async def test_run_ends_with_the_fleet(make: Make) -> None:
    manager = await make("").start()
    code = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\nwhile True: signal.pause()"
    async with program(manager, code) as running:
        first = await running.start()
        assert await manager.end() == 0
        assert not alive(first.pid)


async def test_run_failing_step_is_told(make: Make) -> None:
    manager = await make("").start()
    async with program(manager, "pass", cwd="/nowhere/at/all") as running:
        with pytest.raises(Failed) as caught:
            await running.start()
    assert caught.value.parameters["step"] == "cwd"
    assert caught.value.parameters["errno"] == 2


async def test_run_in_an_unknown_zygote_says_which_there_are(make: Make) -> None:
    manager = await make("").start()
    async with program(manager, "pass", zygote="flor") as running:
        with pytest.raises(Failed) as caught:
            await running.start()
    assert caught.value.parameters["code"] == "no-such-zygote"
    assert "floor" in caught.value.parameters["hint"]


async def test_run_many_at_once(make: Make) -> None:
    manager = await make("").start()
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(program(manager, f"raise SystemExit({number})"))
            for number in range(20)
        ]
        await asyncio.gather(*(each.start() for each in running))
        ends = await asyncio.gather(*(each.report() for each in running))
    assert [end.code for end in ends] == list(range(20))


def _there(path: Path) -> Callable[[], object]:
    async def look() -> bool:
        return path.exists()

    return look


async def test_run_is_cloned_though_blanks_wait(make: Make) -> None:
    manager = await make("blanks = 2\n").start()

    async def floor() -> Any:
        return (await manager.zygotes())[0]

    await manager.eventually(floor, lambda found: len(found.blank_pids) == 2)
    async with program(manager, "import os; print(os.getsid(0) == os.getpid())") as running:
        await running.start()
        assert (await running.report()).code == 0
        assert running.output.read_text() == "False\n"  # it stays in its caller's session
    assert (await floor()).blank_spawns == 0
