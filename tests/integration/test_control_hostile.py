"""The control socket and clients that are bad: each costs itself at most, and nobody else."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.control_app import Served, serving
from tests.support.varlink_raw import Raw, call


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as made:
        yield made


GARBAGE = {
    "no json": b"garbage\0",
    "not an object": b"[1, 2]\0",
    "bad utf-8": b'{"method": "\xff\xfe"}\0',
    "nested deep": b"[" * 100_000 + b"\0",
    "empty": b"\0",
    "an endless number": b'{"method": ' + b"1" * 10_000 + b"}\0",
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
async def test_control_garbage_ends_that_connection_only(served: Served, data: bytes) -> None:
    await served.start()
    async with Raw(served.path) as bad, Raw(served.path) as good:
        await good.ask("Status")
        await bad.send(data)
        assert await bad.hung_up()
        assert "parameters" in await good.ask("Status")


WRONG = {
    "no such interface": (call("io.example.Other.Ping"), "InterfaceNotFound"),
    "no such method": (call("Ping"), "MethodNotFound"),
    "a private attribute": (call("Render"), "MethodNotFound"),
    "no parameters": (call("Kill"), "InvalidParameter"),
    "wrong type": (call("List", names=7), "InvalidParameter"),
    "unknown parameter": (call("List", name=["a"]), "InvalidParameter"),
    "a stream without more": (call("Events"), "ExpectedMore"),
    "no method": (b'{"parameters": {}}\0', "ProtocolViolation"),
    "fd that was not sent": (
        call("Run", more=True, zygote=None, kind="file", target="x", args=[], env={}, cwd="/",
             umask=0, stdin=0, stdout=1, stderr=2),
        "InvalidParameter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("data,error", WRONG.values(), ids=WRONG)
async def test_control_wrong_call_is_answered_and_the_connection_goes_on(
    served: Served, data: bytes, error: str
) -> None:
    await served.start()
    async with Raw(served.path) as client:
        await client.send(data)
        assert (await client.read())["error"].endswith("." + error)
        assert "parameters" in await client.ask("Status")


async def test_control_message_over_a_mebibyte_ends_the_connection(served: Served) -> None:
    await served.start()
    async with Raw(served.path) as big:
        await big.send(call("List", names=["w0", *["x" * 1000] * 900]))  # just under
        assert (await big.read())["parameters"]["code"] == "no-such-worker"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            await big.send(b'{"method": "' + b"x" * (3 << 20))
            await big.read()
    assert await served.is_served()
    await served.until_connections(0)


async def test_control_half_messages_wait_and_cost_nobody(served: Served) -> None:
    await served.start()
    halves = [Raw(served.path) for _ in range(20)]
    for half in halves:
        await half.__aenter__()
        await half.send(call("List")[:15])
    assert await served.is_served()
    await halves[0].send(call("List")[15:])
    assert "workers" in (await halves[0].read())["parameters"]
    for half in halves:
        half.socket.close()
    await served.until_connections(0)


async def test_control_idle_flood_drops_the_longest_idle(served: Served) -> None:
    await served.start(connections_max=8)
    async with Raw(served.path) as stream:
        served.app.events.emit("one", "x")
        await stream.ask("Events", more=True, last=1)
        idle = [Raw(served.path) for _ in range(30)]
        for client in idle:
            await client.__aenter__()
            assert await served.is_served()
        assert served.control.connections <= 8
        assert await idle[0].hung_up()
        assert "status" in (await idle[-1].ask("Status"))["parameters"]
        served.app.events.emit("two", "x")
        while (await stream.read())["parameters"]["event"]["event"] != "two":
            pass
        for client in idle:
            client.socket.close()
    assert [e.event for e in served.app.events.since(99)].count("control-full") == 1


async def test_control_where_all_are_busy_the_new_one_is_refused(served: Served) -> None:
    await served.start(connections_max=2)
    async with Raw(served.path) as one, Raw(served.path) as two:
        await one.send(call("Spawn", names=["a"]))
        await two.send(call("Spawn", names=["b"]))
        while len(served.app.calls) < 2:
            await asyncio.sleep(0.005)
        async with Raw(served.path) as third:
            assert await third.hung_up()
        served.app.release.set()
        assert (await one.read())["parameters"]["results"][0]["name"] == "a"
        assert (await two.read())["parameters"]["results"][0]["name"] == "b"


async def test_control_reader_that_never_reads_is_dropped(served: Served) -> None:
    served.app.workers = [f"w{number}" for number in range(2000)]
    await served.start(send_timeout=0.3)
    async with Raw(served.path) as mute:
        request = call("List")
        with pytest.raises((BlockingIOError, BrokenPipeError, ConnectionResetError)):
            while True:
                mute.socket.send(request)  # what the kernel takes; the manager reads but one call
        async with Raw(served.path) as other:  # its answer is short: no 0.3 s can be too few
            assert "status" in (await other.ask("Status"))["parameters"]
        await served.until_connections(0)
    served.app.workers = ["w"]
    assert await served.is_served()


async def test_control_reader_that_never_reads_its_errors_is_dropped(served: Served) -> None:
    """Errors found before a call begins are not waited for; the send queue's bound holds them."""
    await served.start()
    wrong = call("N" + "x" * 60_000)
    async with Raw(served.path) as mute:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1000):
                await mute.send(wrong)
        assert await served.is_served()
    await served.until_connections(0)


async def test_control_mute_follower_of_a_flood_of_events_is_dropped(served: Served) -> None:
    await served.start(send_timeout=0.3)
    async with Raw(served.path) as mute:
        await mute.send(call("Events", more=True, last=0))
        while served.app.events.readers == 0:
            await asyncio.sleep(0.005)
        async with asyncio.timeout(60):
            while served.app.events.readers:
                for _ in range(200):
                    served.app.events.emit("status", "x", detail="filler " * 100)
                assert await served.is_served()
    await served.until_connections(0)


async def test_control_firehose_leaves_room_for_others(served: Served) -> None:
    """Two clients that write for all they are worth, from threads of their own."""
    await served.start()
    stop = threading.Event()
    sent = [0, 0]

    def hose(which: int, data: bytes) -> None:
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(0.2)
                try:
                    sock.connect(str(served.path))
                    while not stop.is_set():
                        sent[which] += sock.send(data)
                except OSError:
                    pass

    hoses = [
        asyncio.create_task(asyncio.to_thread(hose, which, data))
        for which, data in enumerate((b"x" * 65536, call("Nonsense") * 500))
    ]
    try:
        async with asyncio.timeout(60):
            while not all(sent):
                await asyncio.sleep(0.005)
        for _ in range(20):
            assert await served.is_served()
    finally:
        stop.set()
        await asyncio.gather(*hoses)


async def test_control_out_of_descriptors_pauses_and_goes_on(served: Served) -> None:
    await served.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = socket.socket(socket.AF_UNIX)
    top = max(int(name) for name in os.listdir("/proc/self/fd")) + 1  # noqa: PTH208
    fillers = [os.dup(0) for _ in range(top)]  # no free number below the limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fillers) + 1, hard))
    try:
        waiting.connect(str(served.path))
        async with asyncio.timeout(30):
            while not any(e.event == "control-exhausted" for e in served.app.events.since(9)):
                await asyncio.sleep(0.005)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    await served.until_connections(1)
    waiting.close()
    assert await served.is_served()
