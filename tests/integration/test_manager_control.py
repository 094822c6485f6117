"""A real manager seen from its control socket and its log files, by good clients and bad ones."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.managers import PATIENCE, Manager, managers, worker
from tests.support.mounts import fill, tmpfs
from tests.support.varlink_raw import NAME, Raw, call
from zygote.control.interface import ManagerInterface
from zygote.sys.logfile import Follower, read_tail, rotated

Make = Callable[..., Manager]

REFERENCE_CLIENT = """
import json, sys, varlink
address, name = "unix:" + sys.argv[1], "io.zygote.Manager"
with varlink.Client(address=address) as client:
    print(json.dumps([client.get_interfaces(), client.get_interface(name).get_description()]))
    with client.open(name) as manager:
        print(json.dumps([w["name"] for w in manager.List()["workers"]]))
        print(json.dumps(manager.Status()["status"]["pid"]))
    with client.open(name) as monitor:
        for reply in monitor.Events(follow=True, last=1, _more=True):
            print(json.dumps(reply["event"]), flush=True)
            if reply["event"]["event"] == "ended" and reply["event"]["subject"] == "web":
                break
"""

TALK = """
import os, sys
def main():
    for number in range(int(sys.argv[1])):
        os.write(1, b"%08d some words to fill the line\\n" % number)
"""


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with managers(tmp_path) as make:
        yield make


async def test_control_of_a_real_manager_by_the_reference_client(make: Make) -> None:
    manager = await make(worker("web", "sleeper")).start()
    await manager.until("web", lambda w: w.state == "ready")
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REFERENCE_CLIENT, str(manager.run / "control.sock"),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert client.stdout

    async def line() -> object:
        assert client.stdout
        return json.loads(await asyncio.wait_for(client.stdout.readline(), PATIENCE))

    interfaces, text = await line()  # type: ignore[misc]
    assert NAME in interfaces and "org.varlink.service" in interfaces
    assert text.strip() == ManagerInterface.render_interface_description().strip()
    assert await line() == ["web"]
    assert await line() == manager.pid
    assert (await line())["seq"] > 0  # type: ignore[index]
    await manager.send("web", "SIGKILL")
    seen = []
    while not seen or seen[-1]["event"] != "ended":
        seen.append(await line())
    assert (seen[-1]["subject"], seen[-1]["detail"]) == ("web", "signalled(SIGKILL)")
    assert await client.wait() == 0


async def test_control_supervises_while_clients_misbehave(make: Make) -> None:
    """A firehose, garbage, mute readers and half messages; meanwhile workers crash and return."""
    manager = await make(worker("web", "sleeper", "restart_delay = 0.01")).start()
    path = manager.run / "control.sock"
    stop = asyncio.Event()

    def hose() -> None:
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(0.2)
                try:
                    sock.connect(str(path))
                    while not stop.is_set():
                        sock.send(b"x" * 65536)
                except OSError:
                    pass

    flood = asyncio.create_task(asyncio.to_thread(hose))
    bad = [Raw(path) for _ in range(12)]
    for number, client in enumerate(bad):
        await client.__aenter__()
        kinds = (b"garbage\0", call("List")[:9], call("List") * 3, call("Events", more=True))
        await client.send(kinds[number % 4])
    try:
        for _ in range(3):
            pid = (await manager.until("web", lambda w: w.state == "ready")).pid
            os.kill(pid, signal.SIGKILL)
            await manager.until("web", lambda w, pid=pid: w.state == "ready" and w.pid != pid)
    finally:
        stop.set()
        await flood
        for client in bad:
            client.socket.close()
    assert (await manager.worker("web")).restarts == 3


async def test_logs_of_a_real_worker_are_rotated_without_loss(make: Make) -> None:
    lines = 30_000
    manager = make(
        '[worker.talk]\nzygote = "floor"\nrun = "talk:main"\nrestart = "no"\nautostart = false\n'
        f'log_max_bytes = "64K"\nlog_keep = 100\nargs = ["{lines}"]\n'
    )
    (manager.folder / "talk.py").write_text(TALK)
    await manager.start()
    log = Path((await manager.worker("talk")).log)
    follower = Follower(log)
    seen = follower.read()
    await manager.spawn("talk", wait="up")
    await manager.until("talk", lambda w: w.last_end)

    async def files() -> list[Path]:
        return rotated(log)

    await manager.eventually(files, bool)
    seen += follower.read()
    follower.close()
    assert [int(text[:8]) for text in seen] == list(range(lines))
    assert [int(text[:8]) for text in read_tail(log, lines)] == list(range(lines))


async def test_logs_disk_full_is_an_event_and_the_worker_goes_on(
    make: Make, tmp_path: Path
) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        fleet = worker("web", "sleeper") + worker("late", "sleeper", "autostart = false")
        manager = make(fleet)
        manager.file.write_text(
            manager.file.read_text().replace('name = "tiny"', f'name = "tiny"\nlog_dir = "{disk}"')
        )
        await manager.start()
        web = await manager.until("web", lambda w: w.state == "ready")
        filler = fill(disk)

        async def names() -> list[str]:
            return [event.event for event in await manager.events()]

        await manager.eventually(names, lambda found: "log-disk-full" in found)
        assert (await manager.spawn("late"))[0].ok
        filler.unlink()
        await manager.eventually(names, lambda found: "log-disk-ok" in found)
        assert (await manager.worker("web")).pid == web.pid
        await manager.end()
