"""A warm worker as the mold of its zygote's next generation, and what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import PATIENCE, Manager, alive, managers
from zygote.control.interface import Failed
from zygote.sys import ffi, procfs

WORKER = """
import asyncio, json, os, random, signal, socket, sqlite3, sys, tempfile, threading, time
from pathlib import Path
from zygote import mold

HERE = Path.cwd()
MINE = os.environ.get("ZYGOTE_SPAWN_ID")
KEPT = []
SECRET = {}

async def answer(reader, writer):
    writer.write(await reader.readline())
    writer.close()

def tell(what, **facts):
    name = os.environ.get("ZYGOTE_WORKER", "mold")  # a global would be the mold's in all
    draft = HERE / f"{name}.draft"
    draft.write_text(json.dumps(facts) + "\\n")
    draft.replace(HERE / f"{name}.{what}")

def stop():
    tell("stopped", tidily=True)
    os._exit(0)

async def warm(forget=SECRET.clear, quiet=lambda: True):
    import fractions
    KEPT.append([str(number) * 8 for number in range(60_000)])
    SECRET["key"] = "s3cret"
    folder = tempfile.TemporaryDirectory(dir=HERE)
    log = open(HERE / "own.log", "w", buffering=1)
    KEPT.extend((folder, log))
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    KEPT.extend((server, client))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    offered = mold.offer(forget, quiet)
    port = server.sockets[0].getsockname()[1]
    tell("warm", port=port, folder=folder.name, offered=offered, pid=os.getpid())
    while True:
        await asyncio.sleep(0.02)
        log.write("tick\\n")

def worker():
    return warm()

def child():
    size = len(KEPT[0]) if KEPT else 0
    words = sum(map(len, KEPT[0])) if KEPT else 0
    tell("child", late="fractions" in sys.modules, size=size, words=words, secret=SECRET,
         random=random.random(), path=sys.path[0], cwd=os.getcwd(),
         loop=str(asyncio._get_running_loop()),
        fds=sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 200)[:-1],
         handler=str(signal.getsignal(signal.SIGTERM)), wakeup=signal.set_wakeup_fd(-1))
    asyncio.run(asyncio.sleep(3600))

def ends():
    KEPT.clear()
    tell("ended", done=True)

def threads():
    threading.Thread(target=time.sleep, args=(3600,), daemon=True, name="a-thread").start()
    return warm()

def database():
    KEPT.append(None)
    KEPT[0] = sqlite3.connect(":memory:")
    return warm()

def bare():
    KEPT.append(os.open(HERE / "bare.txt", os.O_CREAT | os.O_RDWR))
    return warm()

def raises():
    def forget():
        raise LookupError("not to be forgotten")
    return warm(forget)

def slow():
    def forget():
        tell("forgets")
        time.sleep(3600)
    return warm(forget)

def busy():
    mold._PATIENCE = 0.2
    return warm(quiet=lambda: False)
"""


def fleet(what: str = "worker", keys: str = "refork = true") -> str:
    tables = [f'[worker.a]\nzygote = "floor"\nrun = "worker:{what}"\nstop_grace = "2min"\n{keys}\n']
    for name, run in (("b", "child"), ("c", "child"), ("d", "ends")):
        tables.append(
            f'[worker.{name}]\nzygote = "floor"\nrun = "worker:{run}"\nautostart = false\n'
            'restart = "no"\n'
        )
    return "".join(tables)


@asynccontextmanager
async def warm(
    folder: Path, text: str | None = None, path: str = "auto"
) -> AsyncIterator[tuple[Manager, dict[str, Any]]]:
    """A manager whose worker `a` is warm, and what that says."""
    async with managers(folder) as make:
        manager = make(fleet() if text is None else text, spawn_path=path)
        (manager.folder / "worker.py").write_text(WORKER)
        await manager.start()
        yield manager, await told(manager, "a.warm")


immortal = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="no immortal counts before Python 3.12: it is refused there"
)


async def told(manager: Manager, file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await manager.lines(file))[0])
    return found


async def floor(manager: Manager) -> Any:
    return next(each for each in await manager.zygotes() if each.name == "floor")


async def check_undisturbed(manager: Manager, before: Any, said: dict[str, Any]) -> None:
    """Worker `a` is the process it was, and all that it had is still its own."""
    now = await manager.worker("a")
    assert (now.pid, now.state, now.restarts) == (before.pid, "ready", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", said["port"])
    writer.write(b"hello\n")
    assert await asyncio.wait_for(reader.readline(), PATIENCE) == b"hello\n"
    writer.close()
    assert Path(said["folder"]).is_dir()
    ticks = len((manager.folder / "own.log").read_text())

    async def size() -> int:
        return len((manager.folder / "own.log").read_text())

    await manager.eventually(size, lambda found: found > ticks)


def words_of(error: Failed) -> str:
    parameters: Any = error.parameters
    return f"{parameters['message']} {parameters['hint']}"


async def refused(manager: Manager, said: dict[str, Any]) -> str:
    """Ask; the old generation serves on, the worker as well; the reason."""
    before, worker = await floor(manager), await manager.worker("a")
    with pytest.raises(Failed) as error:
        await manager.refork("a")
    after = await floor(manager)
    assert (after.pid, after.generation, after.state) == (before.pid, before.generation, "ready")
    assert after.next_pid is None
    await check_undisturbed(manager, worker, said)
    await manager.spawn("b")
    child = await told(manager, "b.child")
    assert (child["late"], child["size"]) == (False, 0)
    return words_of(error.value)


@immortal
@pytest.mark.parametrize("path", ["clone3", "clone", "fork"])
async def test_refork_worker_becomes_the_mold_and_is_not_disturbed(
    tmp_path: Path, path: str
) -> None:
    async with warm(tmp_path, path=path) as (manager, said):
        assert said["offered"]
        before, worker = await floor(manager), await manager.worker("a")
        steps = await manager.refork("a")
        assert [step.step for step in steps] == ["baking", "baked", "done"]
        assert "from worker 'a'" in steps[0].detail
        after = await floor(manager)
        assert after.generation == before.generation + 1
        assert after.pid != before.pid
        await check_undisturbed(manager, worker, said)
        assert "worker.MINE ($ZYGOTE_SPAWN_ID)" in after.stages[0]
        descriptors = [
            each for each in Path(f"/proc/{after.pid}/fd").iterdir()
            if not ffi.is_its_own(str(each.readlink()))  # a zygote's, and so its clones'
        ]  # fmt: skip
        assert len(descriptors) == 4  # stdio and its link
        status = Path(f"/proc/{after.pid}/status").read_text()
        assert f"PPid:\t{manager.pid}\n" in status
        await manager.spawn("b", "c")
        one, other = await told(manager, "b.child"), await told(manager, "c.child")
        assert one["late"]
        assert one["size"] == 60_000
        assert one["secret"] == {}
        assert one["random"] != other["random"]
        assert one["path"] == one["cwd"] == str(manager.folder)
        assert (one["loop"], one["fds"], one["wakeup"]) == ("None", [0, 1, 2], -1)
        assert one["handler"] == str(signal.SIG_DFL) or "SIG_DFL" in one["handler"]
        memory = procfs.read_memory((await manager.worker("b")).pid)
        assert memory
        assert memory.uss_kib < 2000  # it read 5 MB of strings that are the mold's
        await manager.stop("a")
        assert await told(manager, "a.stopped") == {"tidily": True}


@immortal
async def test_refork_moves_workers_over(tmp_path: Path) -> None:
    async with warm(tmp_path) as (manager, _said):
        await manager.spawn("b")
        assert not (await told(manager, "b.child"))["late"]
        (manager.folder / "b.child").unlink()
        steps = await manager.refork("a", move=True)
        assert [step.subject for step in steps if step.step == "moved"] == ["a", "b"]
        assert (await told(manager, "b.child"))["late"]
        generation = (await floor(manager)).generation
        assert {each.generation for each in await manager.workers() if each.pid} == {generation}


@immortal
async def test_refork_again_from_a_worker_of_a_mold(tmp_path: Path) -> None:
    async with warm(tmp_path) as (manager, _said):
        await manager.refork("a", move=True)
        await manager.restart("a")
        worker = await manager.worker("a")
        # The one that was moved told so as well, perhaps only just before it was ended.
        said = await manager.eventually(
            lambda: told(manager, "a.warm"), lambda found: found["pid"] == worker.pid
        )
        await manager.refork("a")
        await check_undisturbed(manager, worker, said)
        await manager.spawn("b")
        assert (await told(manager, "b.child"))["late"]


@immortal
async def test_refork_nobody_deletes_what_is_the_live_workers(tmp_path: Path) -> None:
    async with warm(tmp_path) as (manager, said):
        worker = await manager.worker("a")
        await manager.refork("a")
        await manager.spawn("d", wait="up")  # it drops all that it has, and ends
        await manager.until("d", lambda each: each.last_end != "")
        assert (await manager.worker("d")).last_end == "exited(0)"
        await check_undisturbed(manager, worker, said)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("threads", ("1 more threads",)),
        ("database", ("sqlite3.Connection",)),
        ("bare", ("bare.txt",)),
        ("raises", ("LookupError", "not to be forgotten")),
        ("busy", ("not quiet for 0.2 s",)),
    ],
)
async def test_refork_refused_with_the_reason(
    tmp_path: Path, what: str, words: tuple[str, ...]
) -> None:
    async with warm(tmp_path, fleet(what)) as (manager, said):
        reason = await refused(manager, said)
        if sys.version_info < (3, 12):
            words = (words[0] if what in ("threads", "busy") else "immortal",)
        for word in words:
            assert word in reason, reason


@immortal
async def test_refork_mold_killed_midway(tmp_path: Path) -> None:
    async with warm(tmp_path, fleet("slow")) as (manager, said):
        asking = asyncio.create_task(refused(manager, said))
        found = await manager.eventually(lambda: floor(manager), lambda each: each.next_pid)
        await manager.lines("mold.forgets")
        os.kill(found.next_pid, signal.SIGKILL)
        assert "SIGKILL" in await asking
        assert not alive(found.next_pid)


@pytest.mark.parametrize(
    ("text", "words"),
    [(fleet(keys=""), "refork = true"), (fleet("child"), "no answer")],
    ids=["not allowed", "never offered"],
)
async def test_refork_of_a_worker_that_does_not_offer(
    tmp_path: Path, text: str, words: str
) -> None:
    async with managers(tmp_path) as make:
        manager = make(text)
        (manager.folder / "worker.py").write_text(WORKER)
        await manager.start()
        await manager.until("a", lambda each: each.ready)
        with pytest.raises(Failed) as error:
            await manager.refork("a")
        assert words in words_of(error.value)
        assert (await floor(manager)).state == "ready"


async def test_refork_of_an_adopted_worker_wants_a_restart(tmp_path: Path) -> None:
    async with warm(tmp_path) as (manager, said):
        worker = await manager.worker("a")
        await manager.kill()
        await manager.start()
        await check_undisturbed(manager, worker, said)
        with pytest.raises(Failed) as error:
            await manager.refork("a")
        assert "zygotectl restart a" in words_of(error.value)


@immortal
async def test_refork_bakes_the_branches_of_the_mold(tmp_path: Path) -> None:
    more = (
        '[zygote.more]\nparent = "floor"\npreload = ["html.parser"]\n'
        '[worker.e]\nzygote = "more"\nrun = "worker:child"\nautostart = false\n'
    )
    async with warm(tmp_path, fleet() + more) as (manager, _said):
        await manager.refork("a")
        await manager.spawn("e")
        child = await told(manager, "e.child")
        assert child["late"] and child["size"] == 60_000
