"""`reexec`: the manager becomes other code in the same process, and nobody notices."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from asyncvarlink import VarlinkClientProtocol, connect_unix_varlink

from tests.support.managers import PATIENCE, Manager, alive, kill_hard, managers, worker
from tests.support.runs import program
from zygote.control.interface import Failed, ManagerInterface

Make = Callable[..., Manager]
STEADY = ("start_limit = 0", 'restart_delay = "10ms"', 'restart_max_delay = "20ms"')
FAR = ('restart_delay = "10min"', 'restart_max_delay = "10min"')

# In the interpreter of a manager that was just exec'd: it waits while a file is there.
WAIT = """
import os, sys, time
if "--resume" in sys.orig_argv:
    open("arrived", "w").close()
    while os.path.exists("hold"):
        time.sleep(0.01)
"""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


class Follower:
    """Follows the events over a connection of its own; `seen` are all so far."""

    def __init__(self, manager: Manager) -> None:
        self.seen: list[Any] = []
        self._manager = manager
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Follower:
        path = str(self._manager.run / "control.sock")
        self._transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, path)
        self._events = protocol.make_proxy(ManagerInterface).Events(follow=True, last=1)
        self._task = asyncio.create_task(self._follow())
        async with asyncio.timeout(PATIENCE):
            while not self.seen:
                await asyncio.sleep(0.01)
        return self

    async def _follow(self) -> None:
        async for reply in self._events:
            self.seen.append(reply["event"])

    async def until(self, condition: Callable[[list[Any]], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self.seen):
                assert not self._task.done(), "the stream broke off"
                await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._transport.close()
        await asyncio.sleep(0)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def held(manager: Manager) -> asyncio.Task[Any]:
    """A reexec that is under way: the new interpreter waits until `hold` is removed."""
    manager.touch("hold")
    task = asyncio.create_task(manager.reexec())
    async with asyncio.timeout(PATIENCE):
        while not (manager.folder / "arrived").exists():
            assert not task.done(), task.result()
            await asyncio.sleep(0.01)
    return task


def slow_start(manager: Manager) -> Manager:
    (manager.folder / "sitecustomize.py").write_text(WAIT)
    manager.env = {**manager.env, "PYTHONPATH": str(manager.folder)}
    return manager


async def test_reexec_keeps_pids_and_spawns_afterwards(make: Make) -> None:
    fleet = worker("web", "sleeper") + worker("bus", "notifier", 'type = "notify"')
    fleet += worker("late", "sleeper", "autostart = false")
    manager = await make(fleet).start()
    manager.touch("bus.go")
    web = await manager.until("web", lambda w: w.ready)
    bus = await manager.until("bus", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    started = (await manager.status()).started_at
    report = await manager.reexec()
    assert (report.pid, report.workers, report.zygotes) == (manager.pid, 2, 1)
    assert [await manager.worker("web"), await manager.worker("bus")] == [web, bus]
    assert await manager.zygotes() == [zygote]
    assert (await manager.status()).started_at == started
    (result,) = await manager.spawn("late")
    assert result.ok
    await manager.send("web", "KILL")
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert (state.last_end, state.generation) == ("signalled(SIGKILL)", 1)
    kill_hard(zygote.pid)
    await manager.eventually(manager.zygotes, lambda z: z[0].generation == 2 and z[0].pid)
    assert await manager.end() == 0
    assert not alive(state.pid)


async def test_branches_blanks_classes_and_kept_sockets_go_on(make: Make) -> None:
    fleet = 'blanks = 2\n[zygote.leaf]\nparent = "floor"\n' + "".join(
        (
            worker("twig", "sleeper").replace('"floor"', '"leaf"'),
            worker("apart", "sleeper", 'isolation = "class:a"'),
            worker("alone", "sleeper", 'isolation = "exec"'),
            worker("door", "lender", 'type = "notify"'),
        )
    )
    manager = await make(fleet).start()
    for name in ("twig", "apart", "alone", "door"):
        await manager.until(name, lambda w: w.ready)
    before = {w.name: (w.pid, w.layout) for w in await manager.workers()}
    zygotes = {z.name: z.pid for z in await manager.zygotes()}
    await manager.reexec()
    assert {w.name: (w.pid, w.layout) for w in await manager.workers()} == before
    assert {z.name: z.pid for z in await manager.zygotes()} == zygotes
    for name in before:
        await manager.send(name, "KILL")
        state = await manager.until(name, lambda w: w.ready and w.restarts == 1)
        assert (state.layout, state.last_end) == (before[name][1], "signalled(SIGKILL)")
    first, second = await manager.lines("door.address", 2)
    assert first == second, "the same socket: nobody was refused"
    kill_hard(zygotes["floor"])
    await manager.eventually(
        manager.zygotes, lambda found: {z.name: z.generation for z in found}["floor"] == 2
    )
    assert {z.name: z.pid for z in await manager.zygotes()}["leaf"] == zygotes["leaf"]


@pytest.mark.timeout(900)
async def test_twenty_reexecs_under_load_lose_no_event_and_no_descriptor(make: Make) -> None:
    names = [f"w{number}" for number in range(6)]
    fleet = "".join(worker(name, "sleeper", *STEADY) for name in names) + worker("calm", "sleeper")
    manager = await make(fleet).start()
    for name in names:
        await manager.until(name, lambda w: w.ready)
    calm = await manager.until("calm", lambda w: w.ready)
    (zygote,) = await manager.zygotes()
    await manager.reexec()
    before = descriptors(manager.pid)
    kills = dict.fromkeys(names, 0)
    async with Follower(manager) as follower:
        for turn in range(20):
            dying = [names[turn % 6], names[(turn + 3) % 6]]
            pids = [(await manager.until(name, lambda w: w.ready)).pid for name in dying]
            work = asyncio.create_task(manager.reexec())
            for name, pid in zip(dying, pids, strict=True):
                await asyncio.sleep(0.01 * turn)
                kill_hard(pid)
                kills[name] += 1
            report = await work
            assert report.pid == manager.pid
            for name in dying:
                await manager.until(name, lambda w, name=name: w.restarts == kills[name])
        states = {
            name: await manager.until(name, lambda w, name=name: w.ready and w.pid)
            for name in names
        }
        await follower.until(lambda seen: sum(e.event == "ended" for e in seen) >= 40)
        numbers = [event.seq for event in follower.seen]
        expected = list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers == expected, "none lost, none twice"
        ends = [e.subject for e in follower.seen if e.event == "ended"]
        assert {name: ends.count(name) for name in names} == kills
        details = {e.detail for e in follower.seen if e.event == "ended"}
        assert details == {"signalled(SIGKILL)"}, "each with its true end"
    assert (await manager.worker("calm")).pid == calm.pid
    assert [z.pid for z in await manager.zygotes()] == [zygote.pid]
    known = {zygote.pid, calm.pid, *(state.pid for state in states.values())}

    async def children_now() -> set[int]:
        return children(manager.pid)

    await manager.eventually(children_now, lambda found: found == known)  # no ghosts

    async def open_now() -> int:
        return descriptors(manager.pid)

    await manager.eventually(open_now, lambda count: count <= before)


async def test_what_happens_during_the_exec_is_noticed_afterwards(make: Make) -> None:
    fleet = worker("web", "crash_on_demand") + worker("bus", "notifier", 'type = "notify"')
    fleet += worker("once", "crash_on_demand", 'restart = "no"')
    manager = await slow_start(make(fleet)).start()
    web = await manager.until("web", lambda w: w.ready)
    once = await manager.until("once", lambda w: w.ready)
    bus = await manager.until("bus", lambda w: w.state == "up" and w.status)
    work = await held(manager)
    manager.touch("web.crash", "42")
    manager.touch("once.crash", "7")
    manager.touch("bus.go")
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(manager.run / "control.sock"))
        late.settimeout(PATIENCE)
        late.sendall(b'{"method":"io.zygote.Manager.Status"}\0')

        async def dead() -> bool:
            return not alive(web.pid) and not alive(once.pid)

        await manager.eventually(dead, bool)
        (manager.folder / "hold").unlink()
        await work
        answer = await asyncio.to_thread(late.recv, 1 << 16)
    assert b'"fleet":"tiny"' in answer, "who called meanwhile was answered"
    state = await manager.until("web", lambda w: w.ready and w.restarts == 1)
    assert state.last_end == "exited(42)"
    state = await manager.until("once", lambda w: w.state == "failed")
    assert state.last_end == "exited(7)"
    state = await manager.until("bus", lambda w: w.ready)
    assert (state.pid, state.status) == (bus.pid, "at your service")


async def test_signal_to_the_manager_during_the_exec_is_obeyed_afterwards(make: Make) -> None:
    manager = await slow_start(make(worker("web", "graceful", 'stop_grace = "2min"'))).start()
    web = await manager.until("web", lambda w: w.ready)
    await manager.lines("web.ran")
    work = await held(manager)
    manager.signal(signal.SIGTERM)
    (manager.folder / "hold").unlink()
    with contextlib.suppress(Exception):
        await work
    assert await manager.wait() == 0
    assert not alive(web.pid)
    assert len(await manager.lines("web.stopped")) == 1, "stopped in good order"


async def test_waiting_delayed_and_stopping_workers_go_on(make: Make) -> None:
    fleet = (
        worker("bus", "notifier", 'type = "notify"')
        + worker("web", "sleeper", 'after = ["bus"]')
        + worker("crash", "crasher", *FAR, args=["1"])
        + worker("deaf", "stubborn", 'stop_grace = "3s"')
    )
    manager = await make(fleet).start()
    crash = await manager.until("crash", lambda w: w.state == "backoff")
    await manager.until("web", lambda w: w.status == "waiting for 'bus'")
    deaf = await manager.until("deaf", lambda w: w.ready)
    await manager.lines("deaf.ran")
    (result,) = await manager.stop("deaf", timeout=0.1)
    assert result.code == "timeout"
    await manager.reexec()
    after = await manager.worker("crash")
    assert (after.state, after.next_start_at) == ("backoff", crash.next_start_at)
    assert (after.restarts, after.last_end) == (crash.restarts, "exited(1)")
    assert (await manager.worker("web")).state == "starting"
    manager.touch("bus.go")
    await manager.until("web", lambda w: w.ready)
    await manager.until("deaf", lambda w: w.state == "inactive")
    assert not alive(deaf.pid), "killed at stop_grace"


async def test_program_of_run_and_its_caller_are_carried_over(make: Make) -> None:
    manager = await make(worker("web", "sleeper")).start()
    code = "import time, os\nwhile not os.path.exists('go'): time.sleep(0.01)\nraise SystemExit(9)"
    async with program(manager, code) as running:
        first = await running.start()
        report = await manager.reexec()
        assert (report.programs, report.connections) == (1, 2)
        manager.touch("go")
        last = await running.report()
        assert (last.pid, last.code) == (first.pid, 9)
    async with program(manager, "import signal; signal.pause()") as running:
        first = await running.start()
        await manager.reexec()
    await manager.eventually(lambda: _dead(first.pid), bool)


async def test_calls_in_progress_are_waited_for_and_then_refused(make: Make) -> None:
    fleet = worker("bus", "notifier", 'type = "notify"', "autostart = false")
    manager = await make(fleet).start()
    other = Manager.__new__(Manager)
    other.__dict__.update(manager.__dict__)
    await other.connect()
    call = asyncio.create_task(other.spawn("bus"))
    await manager.until("bus", lambda w: w.state == "up")
    with pytest.raises(Failed) as refused:
        await manager.reexec(timeout=0.2)
    assert refused.value.parameters["code"] == "reexec-refused"
    assert "Spawn" in refused.value.parameters["message"]
    again = asyncio.create_task(manager.reexec())
    manager.touch("bus.go")
    (result,) = await call
    assert result.ok, "the caller had its answer"
    report = await again
    assert report.workers == 1
    other._hang_up()


async def test_reload_and_second_reexec_meanwhile_are_no_harm(make: Make) -> None:
    fleet = worker("web", "sleeper")
    fleet += worker("bus", "notifier", 'type = "notify"', "autostart = false")
    manager = await make(fleet).start()
    others = []
    for _ in range(3):
        other = Manager.__new__(Manager)
        other.__dict__.update(manager.__dict__)
        await other.connect()
        others.append(other)
    # A call in progress holds the first one up until all the others have been heard.
    call = asyncio.create_task(others[2].spawn("bus"))
    await manager.until("bus", lambda w: w.state == "up")
    first = asyncio.create_task(others[1].reexec(timeout=PATIENCE))
    for _ in range(2):  # by the first answer it is sent, by the second it is heard
        await manager.status()
    with pytest.raises(Failed) as refused:
        await others[0].reexec()
    assert refused.value.parameters["message"] == "a reexec is under way"
    assert await others[0].reload() == ["nothing changed"]
    manager.touch("bus.go")
    assert (await call)[0].ok
    assert (await first).workers == 2
    manager.signal(signal.SIGHUP)
    assert (await manager.reexec()).workers == 2
    for other in others:
        other._hang_up()


async def test_own_supervisor_is_told(make: Make, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "n"))
        listening.settimeout(PATIENCE)
        manager = make(worker("web", "sleeper"))
        manager.env = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "400000"}

        def listen() -> str:
            heard = ""
            while heard.count("READY=1") < 2 or not heard.endswith("WATCHDOG=1\n"):
                heard += listening.recv(4096).decode() + "\n"
            return heard

        # From the start on, in a thread: the kernel queues ten, and then nothing more is told.
        hearing = asyncio.create_task(asyncio.to_thread(listen))
        await manager.start()
        reexec = asyncio.create_task(manager.reexec())
        heard = await hearing
        first, _, rest = heard.partition("RELOADING=1\nMONOTONIC_USEC=")
        assert "READY=1" in first and "READY=1" in rest
        await reexec


async def _dead(pid: int) -> bool:
    return not alive(pid)
