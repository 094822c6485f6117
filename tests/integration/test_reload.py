"""`reload`: new code takes over in order, without a gap, and goes back where it must."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.cli import COMMAND, PATIENCE, Cli
from tests.support.managers import alive
from tests.support.rolls import Rolls, roller, rolling
from zygote.errors import ZygoteError

HEAD = ('min_ready = "50ms"',)
FLEET = (
    roller("first", "overlap = true")
    + roller("second", "overlap = true", 'after = ["first"]')
    + roller("third", 'after = ["second"]')
)


async def test_new_code_takes_over_in_order(tmp_path: Path) -> None:
    async with rolling(tmp_path, FLEET, head=HEAD) as rolls:
        manager = rolls.manager
        await manager.start()
        await manager.until("third", lambda w: w.ready)
        before = await rolls.pids()
        (floor,) = await manager.zygotes()
        assert [step.step for step in await rolls.roll()] == ["done"]
        assert await rolls.pids() == before
        rolls.write()
        steps = await rolls.roll()
        assert [(s.step, s.subject) for s in steps] == [
            ("baking", "zygote.floor"), ("baked", "zygote.floor"),
            ("moving", "first"), ("moved", "first"),
            ("moving", "second"), ("moved", "second"),
            ("moving", "third"), ("moved", "third"),
            ("done", "manager"),
        ]  # fmt: skip
        assert [s.detail.partition(", ")[2] for s in steps if s.step == "moving"] == [
            "started beside it", "started beside it", "stopped first",
        ]  # fmt: skip
        assert (steps[-1].zygotes, steps[-1].workers) == (1, 3)
        assert await rolls.versions() == dict.fromkeys(("first", "second", "third"), 2)
        (after,) = await manager.zygotes()
        assert after.generation == floor.generation + 1
        assert (after.outdated, after.next_pid) == ("", None)
        assert not any(alive(pid) for pid in before.values())

        async def old_zygote_lives() -> bool:
            return alive(floor.pid)

        await manager.eventually(old_zygote_lives, lambda lives: not lives)
        workers = await manager.workers()
        assert all(w.generation == after.generation and not w.outdated for w in workers)
        assert all((w.restarts, w.recycles) == (0, 0) for w in workers)


def only(name: str, habit: str) -> str:
    """A habit of one worker alone."""
    return f"exec({habit!r}) if os.environ['ZYGOTE_WORKER'] == {name!r} else None"


@contextlib.asynccontextmanager
async def meanwhile(rolls: Rolls, old: str, new: str) -> AsyncIterator[None]:
    """With other keys in the fleet file; not so short a time for those that are to do well."""
    manager = rolls.manager
    text = manager.file.read_text()
    assert old in text
    manager.file.write_text(text.replace(old, new))
    await manager.reload()
    yield
    manager.file.write_text(text)
    await manager.reload()


PATIENT = 'start_timeout = "2min"'


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Rolls]:
    """`first` moves before `second`; both overlap; then `third`, which does not."""
    fleet = (
        roller("first", "overlap = true")
        + roller("second", "overlap = true", 'after = ["first"]', PATIENT)
        + roller("third", 'after = ["second"]')
    )
    async with rolling(tmp_path, fleet, head=HEAD) as rolls:
        await rolls.manager.start()
        await rolls.manager.until("third", lambda w: w.ready)
        yield rolls


KILLS_FIRST = "os.kill(int(open('first.ran').read().split()[-2]), signal.SIGALRM); time.sleep(600)"
"""`first` has moved by then, and its new process was the last to say its pid."""
BACK = {
    "crash": (only("second", "sys.exit(3)"), "second", "exited(3)"),
    "late": (only("second", "time.sleep(600)"), "second", "not ready within 2 s"),
    "large": (
        only("second", "KEPT.append([str(n) for n in range(400_000)])"),
        "second",
        "max_regression",
    ),
    "early": (only("second", "notify.ready(); sys.exit(4)"), "second", "exited(4)"),
    "later": (only("second", KILLS_FIRST), "first", "had moved, and then"),
    "third": (only("third", "sys.exit(5)"), "third", "exited(5)"),
}
KEYS = {
    "late": (PATIENT, 'start_timeout = "2s"'),
    # It ends at once, but when the manager sees both is another matter.
    "early": (HEAD[0], 'min_ready = "3s"'),
}
"""What the fleet file says in these cases, in place of what."""


async def test_worker_that_fails_takes_all_back(pair: Rolls) -> None:
    manager, rolls = pair.manager, pair
    (floor,) = await manager.zygotes()
    for case, (habit, name, why) in BACK.items():
        before = await rolls.pids()
        rolls.write(habit)
        async with contextlib.AsyncExitStack() as stack:
            if case in KEYS:
                await stack.enter_async_context(meanwhile(rolls, *KEYS[case]))
            error = await rolls.fails()
        assert error.code == "reload-taken-back", (case, error)
        assert f"'{name}'" in error.message and why in error.message, (case, error)
        assert error.exit_code == 1
        after = await rolls.pids()
        assert await rolls.versions() == dict.fromkeys(("first", "second", "third"), 1), case
        if case != "third":
            assert (after["second"], after["third"]) == (before["second"], before["third"]), case
        assert after["first"] != before["first"], f"{case}: it had moved, and came back"
        (serving,) = await manager.zygotes()
        assert (serving.pid, serving.next_pid) == (floor.pid, None), case
    workers = {w.name: w for w in await manager.workers()}
    assert all(w.outdated for w in workers.values())
    assert workers["first"].recycles == 0
    rolls.write()
    assert (await rolls.roll())[-1].workers == 3
    assert set((await rolls.versions()).values()) == {rolls.version}


async def test_floor_that_cannot_be_baked_leaves_all_as_it_was(tmp_path: Path) -> None:
    fleet = roller("only", "overlap = true")
    quick = ('bake_timeout = "3s"', 'bake_timeout = "2min"')
    async with rolling(tmp_path, fleet, head=HEAD, zygote=quick[1:]) as rolls:
        manager = rolls.manager
        await manager.start()
        await manager.until("only", lambda w: w.ready)
        before = await rolls.pids()
        (floor,) = await manager.zygotes()
        thread = "import threading as t; t.Thread(target=t.Event().wait, daemon=True).start()\n"
        for top, code, words in (
            ("1 / 0\n", "preload-raised", "ZeroDivisionError"),
            (thread, "audit", "thread"),
            ("import time; time.sleep(600)\n", "bake-timeout", "not done within 3 s"),
            ("import os; os.kill(os.getpid(), 9)\n", "bake-died", "SIGKILL"),
        ):
            rolls.write(top=top)
            async with contextlib.AsyncExitStack() as stack:
                if code == "bake-timeout":
                    await stack.enter_async_context(meanwhile(rolls, quick[1], quick[0]))
                error = await rolls.fails()
            assert error.code.startswith(code), (top, error.code)
            assert words in error.message, error.message
            assert "'floor' generation 1 serves on" in error.message
            (serving,) = await manager.zygotes()
            assert (serving.pid, serving.state, serving.error) == (floor.pid, "ready", "")
            assert await rolls.pids() == before
        await manager.send("only", "KILL")
        await manager.until("only", lambda w: w.ready and w.pid != before["only"])
        assert await rolls.versions() == {"only": 1}, "who starts meanwhile is of the old one"
        rolls.write()
        await rolls.roll()
        assert await rolls.versions() == {"only": rolls.version}


async def test_branches_are_baked_from_the_new_floor_and_named_ones_alone(tmp_path: Path) -> None:
    fleet = (
        '[zygote.leaf]\nparent = "floor"\npreload = ["leaf"]\n'
        + roller("low", "overlap = true")
        + roller("high", "overlap = true", zygote="leaf")
    )
    async with rolling(tmp_path, fleet, head=HEAD) as rolls:
        manager = rolls.manager
        leaf = manager.folder / "leaf.py"
        leaf.write_text("import app_code\n")
        await manager.start()
        await manager.spawn("low", "high")

        async def generations() -> dict[str, tuple[int, str]]:
            return {z.name: (z.generation, z.outdated) for z in await manager.zygotes()}

        before = await rolls.pids()
        leaf.write_text("import app_code\nMORE = 1\n")
        assert (await rolls.roll())[-1].zygotes == 1, "the floor need not be baked for that"
        assert await generations() == {"floor": (1, ""), "leaf": (2, "")}
        after = await rolls.pids()
        assert (after["low"], after["high"]) != (before["low"], before["high"])
        assert after["low"] == before["low"]
        rolls.write()
        steps = await rolls.roll()
        baked = [s.subject for s in steps if s.step in ("baking", "baked")]
        assert baked == ["zygote.floor"] * 2 + ["zygote.leaf"] * 2
        assert await generations() == {"floor": (2, ""), "leaf": (3, "")}
        assert await rolls.versions() == {"low": 2, "high": 2}

        leaf.write_text("1 / 0\n")
        rolls.write()
        error = await rolls.fails()
        assert "cannot bake zygote 'leaf'" in error.message
        assert "'floor' generation 2, 'leaf' generation 3 serves on" in error.message
        assert await rolls.versions() == {"low": 2, "high": 2}
        leaf.write_text("import app_code\n")

        before = await rolls.pids()
        steps = await rolls.roll(workers=["low"])
        assert [s.subject for s in steps if s.step == "moved"] == ["low"]
        assert await rolls.versions() == {"low": 3, "high": 2}
        assert (await rolls.pids())["high"] == before["high"]
        steps = await rolls.roll(zygotes=["leaf"])
        assert [s.subject for s in steps if s.step in ("baked", "moved")] == ["zygote.leaf", "high"]
        assert await rolls.versions() == {"low": 3, "high": 3}
        with pytest.raises(ZygoteError, match="no zygote 'lea'") as caught:
            await rolls.roll(zygotes=["lea"])
        assert caught.value.exit_code == 4
        assert "there are: floor, leaf" in caught.value.hint


async def test_new_keys_take_over_with_the_code_and_go_back_with_it(pair: Rolls) -> None:
    manager, rolls = pair.manager, pair
    text = manager.file.read_text()
    manager.file.write_text(text.replace('[worker."first"]', '[worker."first"]\nnice = 3'))
    assert await manager.reload() == ["worker first: changed, pending its restart"]
    rolls.write(only("second", "sys.exit(3)"))
    await rolls.fails()
    first = await manager.worker("first")
    assert os.getpriority(os.PRIO_PROCESS, first.pid) == os.getpriority(os.PRIO_PROCESS, 0)
    assert await rolls.versions() == dict.fromkeys(("first", "second", "third"), 1)
    rolls.write()
    await rolls.roll()
    first = await manager.worker("first")
    assert os.getpriority(os.PRIO_PROCESS, first.pid) == 3
    manager.file.write_text(text.replace('preload = ["app_code"]', 'preload = ["app_code", "csv"]'))
    await manager.reload()
    steps = await rolls.roll()
    assert (steps[-1].zygotes, steps[-1].workers) == (1, 3), "other keys of a zygote count as well"
    assert os.getpriority(os.PRIO_PROCESS, (await manager.worker("first")).pid) != 3


async def test_command_tells_each_step_and_fails_with_its_reason(pair: Rolls) -> None:
    manager, rolls = pair.manager, pair
    command, run = Cli(manager.folder), ("--runtime-dir", str(manager.run))
    rolls.write()
    done = await asyncio.to_thread(command, *run, "reload")
    lines = done.out.splitlines()
    assert lines[0] == "zygote.floor: baking beside generation 1"
    assert "first: moving 1 -> 2, started beside it" in lines
    assert lines[-1].startswith("1 zygote baked, 3 workers moved in ")
    rolls.write(only("third", "sys.exit(5)"))
    failed = await asyncio.to_thread(command, *run, "reload", code=1)
    assert "the reload was taken back: 'third': exited(5) before it was ready" in failed.err
    assert "hint: " in failed.err
    rolls.write()
    told = (await asyncio.to_thread(command, *run, "reload", "--json")).json
    assert (told["ok"], told["zygotes"], told["workers"]) == (True, 1, 3)
    assert [s["step"] for s in told["steps"]][:2] == ["baking", "baked"]
    rolls.write(top="1 / 0\n")
    told = (await asyncio.to_thread(command, *run, "reload", "--json", code=1)).json
    assert (told["ok"], told["error"]["code"]) == (False, "preload-raised")


async def test_watch_reloads_on_each_change_and_tries_a_bad_one_once(pair: Rolls) -> None:
    manager, rolls = pair.manager, pair
    cli = Cli(manager.folder)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--runtime-dir", str(manager.run), "reload", "--watch", env=cli.env(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    lines: list[str] = []

    async def until(text: str) -> None:
        assert process.stdout
        async with asyncio.timeout(PATIENCE):
            while not lines or text not in lines[-1]:
                lines.append((await process.stdout.readline()).decode())
                assert lines[-1], f"it ended: {lines}"

    await until("watching what fleet 'tiny' runs")
    rolls.write()
    await until("changed: ")
    assert str(manager.folder / "app_code.py") in lines[-1]
    await until("1 zygote baked, 3 workers moved")
    assert set((await rolls.versions()).values()) == {2}
    rolls.write(only("second", "sys.exit(3)"))
    await until("the reload was taken back: 'second': exited(3)")
    await until("watching")
    bakes = len([e for e in await manager.events() if e.event == "baking"])
    await asyncio.sleep(3)  # what it would need to try again
    assert len([e for e in await manager.events() if e.event == "baking"]) == bakes
    rolls.write()
    await until("1 zygote baked, 3 workers moved")
    assert set((await rolls.versions()).values()) == {4}
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_watch_takes_no_names(tmp_path: Path) -> None:
    failed = await asyncio.to_thread(Cli(tmp_path), "reload", "--watch", "--force", code=2)
    assert "without --zygote, --worker, --force and --file" in failed.err
