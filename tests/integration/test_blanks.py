"""Blanks of a real fleet: taken, refilled, killed, retired; and what becomes of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.managers import Manager, alive, managers, worker
from zygote.sys import ffi, procfs

WANTED = 3
BLANKS = f"blanks = {WANTED}\n"
PATHS = ("clone3", "clone", "fork")
MOST_KIB = 300 if sys.version_info >= (3, 12) else 400
"""Of a blank's own memory. Before 3.12 it counts references to what it looks at."""
FACTS = """
import json, os, random, secrets, signal, sys, threading, time
with open("/proc/self/comm") as file:
    comm = file.read().strip()
facts = {
    "pid": os.getpid(), "random": random.random(), "state": random.getstate()[1][:4],
    "secret": secrets.token_hex(8),
    "same": {
        "ppid": os.getppid(), "leads": os.getsid(0) == os.getpid() == os.getpgid(0),
        "native": threading.get_native_id() == os.getpid(), "comm": comm.rstrip("0123456789"),
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 200)[:-1],
        "argv": sys.argv, "umask": os.umask(0o077), "cwd": os.getcwd(),
        "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "env": sorted(set(os.environ)), "modules": "json" in sys.modules,
        "death": open("/proc/self/status").read().partition("SigIgn:")[2].split()[0],
    },
}
with open(f"{os.environ['ZYGOTE_WORKER']}.facts", "w") as file:
    print(json.dumps(facts), file=file)
time.sleep(3600)
"""


async def floor(manager: Manager) -> Any:
    (found,) = await manager.zygotes()
    return found


async def full(
    manager: Manager, wanted: int = WANTED, without: frozenset[int] = frozenset()
) -> Any:
    """The zygote's state once all its blanks wait, none of them one of these."""
    return await manager.eventually(
        lambda: floor(manager),
        lambda found: len(found.blank_pids) == wanted and not without & set(found.blank_pids),
    )


async def facts(manager: Manager, name: str) -> Any:
    return json.loads((await manager.lines(f"{name}.facts"))[0])


def fleet(*names: str, keys: str = BLANKS) -> str:
    return keys + "".join(worker(name, "sleeper", "autostart = false") for name in names)


@pytest.mark.parametrize("path", PATHS)
async def test_blank_becomes_a_worker_like_any_other(tmp_path: Path, path: str) -> None:
    names = [f"w{number}" for number in range(WANTED + 1)]
    tables = [
        f'[worker.{name}]\nrun = "./facts.py"\nautostart = false\numask = "027"\n' for name in names
    ]
    async with managers(tmp_path) as make:
        manager = make(BLANKS + "".join(tables), spawn_path=path)
        (manager.folder / "facts.py").write_text(FACTS)
        await manager.start()
        waiting = (await full(manager)).blank_pids
        results = await manager.spawn(*names)  # at once: one more than there are blanks
        assert {result.pid for result in results} > set(waiting)
        origins = [(await manager.worker(name)).origin for name in names]
        assert sorted(origins) == ["blank"] * WANTED + ["clone: no blank was left"]
        found = [await facts(manager, name) for name in names]
        assert all(each["same"] == found[0]["same"] for each in found)
        assert found[0]["same"]["ppid"] == manager.pid and found[0]["same"]["leads"]
        assert found[0]["same"]["fds"] == [0, 1, 2]
        for what in ("random", "state", "secret"):
            assert len({str(each[what]) for each in found}) == len(names), what
        state = await full(manager, without=frozenset(waiting))
        assert (state.blank_spawns, state.blank_misses) == (WANTED, 1)
        assert await manager.end() == 0
        assert not any(alive(pid) for pid in state.blank_pids)


async def test_blank_costs_little_and_shows_what_it_is(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a"))
        await manager.start()
        for pid in (await full(manager)).blank_pids:

            async def comm(pid: int = pid) -> str:
                return Path(f"/proc/{pid}/comm").read_text()

            await manager.eventually(comm, lambda found: found == "blank\n")
            memory = procfs.read_memory(pid)
            assert memory and memory.uss_kib + memory.pagetables_kib < MOST_KIB
            assert Path(f"/proc/{pid}/cmdline").read_text().startswith("zygote: floor, blank")
            descriptors = [
                each for each in Path(f"/proc/{pid}/fd").iterdir()
                if not ffi.is_its_own(str(each.readlink()))  # a zygote's, and so its clones'
            ]  # fmt: skip
            assert len(descriptors) == 4  # stdio and its socket
        zygote = (await floor(manager)).pid
        assert b"forkserver" in Path(f"/proc/{zygote}/cmdline").read_bytes()


async def test_blank_killed_is_replaced(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a"))
        await manager.start()
        victim = (await full(manager)).blank_pids[0]
        os.kill(victim, signal.SIGKILL)
        state = await full(manager, without=frozenset({victim}))
        assert not alive(victim)
        await manager.spawn("a")
        assert (await manager.worker("a")).pid in state.blank_pids


async def test_blank_killed_with_a_spawn_in_its_hands_is_made_up_for_by_a_clone(
    tmp_path: Path,
) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a"))
        await manager.start()
        waiting = (await full(manager)).blank_pids
        for pid in waiting:
            os.kill(pid, signal.SIGSTOP)
        await manager.spawn("a", wait="no")

        async def look() -> Any:
            return await floor(manager)

        await manager.eventually(look, lambda found: found.blank_spawns == 1)
        assert (await manager.worker("a")).state == "starting"
        (taken,) = set(waiting) - set((await floor(manager)).blank_pids)
        os.kill(taken, signal.SIGKILL)
        found = await manager.until("a", lambda each: each.state == "ready")
        assert found.origin == "clone: the blank was killed"
        assert found.restarts == 0
        assert len(await manager.lines("a.ran")) == 1
        assert await manager.end() == 0  # those that are stopped are killed in the end
        assert not any(map(alive, waiting))


async def test_blanks_go_with_their_zygote_and_come_with_the_next(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a", "b"))
        await manager.start()
        first = await full(manager)
        await manager.spawn("a")
        pid = (await manager.worker("a")).pid
        os.kill(first.pid, signal.SIGKILL)
        second = await full(manager, without=frozenset(first.blank_pids))
        assert second.generation > first.generation

        async def gone() -> bool:
            return not any(alive(each) for each in first.blank_pids if each != pid)

        await manager.eventually(gone, bool)
        assert alive(pid)  # it was one of them
        await manager.spawn("b")
        state = await manager.worker("b")
        assert state.pid in second.blank_pids and state.generation == second.generation


async def test_blanks_end_with_a_killed_manager_and_their_workers_are_adopted(
    tmp_path: Path,
) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a"))
        await manager.start()
        await full(manager)
        await asyncio.sleep(1)  # its process is older than it is by so much
        await manager.spawn("a")
        before = await manager.worker("a")
        assert before.origin == "blank"
        waiting = (await full(manager)).blank_pids
        await manager.kill()
        await manager.start()
        after = await manager.worker("a")
        assert after.pid == before.pid and after.adopted
        process = procfs.read_stat(after.pid)
        assert process and time.time() - after.started_at < process.age() - 0.9

        async def gone() -> bool:
            return not any(map(alive, waiting))

        await manager.eventually(gone, bool)


async def test_blanks_reload_keeps_another_number_at_once(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(fleet("a"))
        await manager.start()
        state = await full(manager)
        text = manager.file.read_text()
        for number in (1, 5, 0):
            manager.file.write_text(text.replace(BLANKS, f"blanks = {number}\n"))
            assert f"zygote floor: blanks = {number} from now on" in await manager.reload()
            now = await full(manager, number)
            assert now.pid == state.pid
