"""Listening sockets go from one process of a worker to the next: nobody is refused."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clients import load
from tests.support.rolls import Rolls, rolling

CODE = """
import asyncio, os, signal, socket, sys
from zygote import notify, sockets
VERSION = {version}
async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    await asyncio.sleep(0.02)
    body = str(VERSION).encode()
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
    await writer.drain()
    writer.close()
def make():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    with open("port", "a") as out:
        out.write(f"{{sock.getsockname()[1]}}\\n")
    return sock
async def run():
    {habit}
    loop, busy, stop = asyncio.get_running_loop(), set(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    def visit(reader, writer):
        task = loop.create_task(answer(reader, writer))
        busy.add(task)
        task.add_done_callback(busy.discard)
    server = await asyncio.start_server(visit, sock=sockets.listener("web", make))
    sockets.close_unused()
    with open(os.environ["ZYGOTE_WORKER"] + ".ran", "a") as out:
        out.write(f"{{VERSION}} {{os.getpid()}}\\n")
    notify.ready()
    await stop.wait()
    await sockets.stop_accepting(*server.sockets)
    server.close()
    for _ in range(5):  # a connection that was accepted just now takes some turns to be a visit
        await asyncio.sleep(0)
    while busy:
        await asyncio.wait(busy)
"""
KEYS = ('zygote = "floor"', 'run = "app_code:run"', 'type = "notify"')


def server(name: str, *keys: str) -> str:
    return "\n".join((f"[worker.{name}]", *KEYS, *keys)) + "\n"


@pytest.fixture(params=["overlap = true", "overlap = false", "overlap = true # blanks"])
async def rolls(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rolls]:
    head = ('min_ready = "50ms"',)
    fleet, blanks = server("web", request.param), ("blanks = 2",) * ("blanks" in request.param)
    async with rolling(tmp_path, fleet, head=head, zygote=blanks, code=CODE) as rolls:
        await rolls.manager.start()
        await rolls.manager.until("web", lambda w: w.ready)
        yield rolls


def ports(rolls: Rolls) -> list[int]:
    return [int(line) for line in (rolls.manager.folder / "port").read_text().split()]


async def test_nobody_is_refused_through_reloads_crashes_and_another_manager(rolls: Rolls) -> None:
    manager = rolls.manager
    (port,) = ports(rolls)
    async with load(port) as seen:
        await seen.seen("1")
        for _ in range(2):
            version = rolls.write()
            await rolls.roll()
            await seen.seen(str(version))
        assert not seen.failures
        # A crash takes its connections with it; new ones wait, and are not refused.
        crashed = (await manager.worker("web")).pid
        os.kill(crashed, signal.SIGKILL)
        await manager.until("web", lambda w: w.ready and w.pid != crashed)
        await seen.seen(str(version))
        assert not any("refused" in failure for failure in seen.failures)
        seen.failures.clear()
        await manager.kill()
        await manager.start()
        version = rolls.write()
        await rolls.roll(force=True)
        await seen.seen(str(version))
        assert not seen.failures
    assert ports(rolls) == [port], "it was bound once"
    await manager.stop("web")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "one that is stopped is closed"
    await manager.spawn("web")
    assert len(ports(rolls)) == 2


async def test_new_code_that_fails_leaves_the_old_one_listening(rolls: Rolls) -> None:
    (port,) = ports(rolls)
    async with load(port) as seen:
        await seen.seen("1")
        rolls.write("sys.exit(3)")
        assert (await rolls.fails()).code == "reload-taken-back"
        await seen.seen("1")
        assert not seen.failures
    assert ports(rolls) == [port]


async def test_socket_that_new_code_does_not_want_is_closed(rolls: Rolls) -> None:
    (port,) = ports(rolls)
    rolls.code = CODE.replace('listener("web"', 'listener("other"')
    rolls.write()
    await rolls.roll()
    assert len(ports(rolls)) == 2
    await rolls.manager.until("web", lambda w: w.ready)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports(rolls)[1])) == 0


async def test_what_is_no_socket_is_refused_and_nothing_leaks(tmp_path: Path) -> None:
    code = """
    import os, signal, socket
    from zygote import notify
    VERSION = {version}
    def run():
        {habit}
        null = os.open(os.devnull, os.O_RDONLY)
        for number in range(40):
            notify.store(null, f"null{{number}}")
        socks = [socket.socket() for _ in range(20)]
        for number, sock in enumerate(socks):
            notify.store(sock.fileno(), f"sock{{number}}")
        notify.store(socks[0].fileno(), "a:b")
        notify.notify("STATUS=with descriptors", fds=[null] * 20)
        notify.ready()
        signal.pause()
    """.replace("\n    ", "\n")
    async with rolling(tmp_path, server("odd"), code=code) as rolls:
        manager = rolls.manager
        await manager.start()
        await manager.until("odd", lambda w: w.ready)
        told = [e.detail for e in await manager.events() if e.event == "socket-refused"]
        assert sum("it is no socket" in detail for detail in told) == 40
        assert sum("there are 16 already" in detail for detail in told) == 4
        assert sum("FDNAME must be" in detail for detail in told) == 1
        counts = []
        for _ in range(2):
            await manager.stop("odd")
            counts.append(len(list(Path(f"/proc/{manager.pid}/fd").iterdir())))
            await manager.spawn("odd")
        assert counts[1] <= counts[0] + 2
