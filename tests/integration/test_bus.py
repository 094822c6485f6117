"""The bus with a real broker process: delivery, bounds, crashes, floods, hostile clients."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.bus import topics
from decnet.bus.broker import QUEUE_FRAMES
from decnet.bus.client import BusClient
from decnet.bus.frames import MAX_BODY
from decnet.bus.listener import EXIT_TAKEN
from decnet.models import Control, Health
from tests.support.bus import (
    DEADLINE,
    BrokerProcess,
    RawClient,
    broker_process,
    bus_client,
    until,
)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    async with broker_process(tmp_path) as running:
        yield running


async def test_bus_event_reaches_every_other_subscriber_once(broker: BrokerProcess) -> None:
    async with (
        bus_client(broker.path, "a") as sender,
        bus_client(broker.path, "b") as one,
        bus_client(broker.path, "c") as two,
    ):
        echo = sender.subscribe("attacker.>")
        wide, narrow = one.subscribe(">"), one.subscribe("attacker.*")
        other = two.subscribe("decky.>")
        for client in (sender, one, two):
            assert await client.flush()
        assert sender.publish("attacker.observed", {"attacker_ip": "192.0.2.1"})
        assert sender.publish("decky.d1.traffic", {}, type="tls_client_hello")
        event = await narrow.get()
        assert event is not None
        assert event.topic == "attacker.observed"
        assert event.payload == {"attacker_ip": "192.0.2.1"}
        assert event.type == "observed"
        assert len(event.id) == 32 and event.ts > 0
        seen: list[str] = []
        while len(seen) < 2:
            event = await wide.get()
            assert event is not None
            seen += [event.topic] * (event.topic != topics.BUS_HEALTH)  # the broker beats, too
        assert seen == ["attacker.observed", "decky.d1.traffic"]
        traffic = await other.get()
        assert traffic is not None and traffic.type == "tls_client_hello"
        await one.flush()
        # One copy a connection, though two of its patterns match; never back to the sender.
        while (event := wide.try_get()) is not None:
            assert event.topic == topics.BUS_HEALTH
        assert narrow.try_get() is None
        await sender.flush()
        assert echo.try_get() is None


async def test_bus_broker_stamps_id_and_time_itself(broker: BrokerProcess) -> None:
    async with bus_client(broker.path) as client:
        events = client.subscribe("a.b")
        await client.flush()
        raw = RawClient(broker.path)
        raw.send("PUB", "a.b", {"id": "forged", "ts": 1.0, "topic": "x.y", "payload": {"k": 1}})
        event = await events.get()
        raw.close()
    assert event is not None
    assert (event.topic, event.payload, event.type) == ("a.b", {"k": 1}, "b")
    assert event.id != "forged" and event.ts > 1.0


async def test_bus_unsubscribed_pattern_is_silent(broker: BrokerProcess) -> None:
    async with bus_client(broker.path) as client, bus_client(broker.path) as sender:
        gone, kept = client.subscribe("a.*"), client.subscribe("b.*")
        gone.close()
        await client.flush()
        sender.publish("a.x", {})
        sender.publish("b.x", {})
        assert (event := await kept.get()) is not None and event.topic == "b.x"
        assert await gone.get() is None


async def test_bus_killed_broker_is_found_again_with_all_subscriptions(
    broker: BrokerProcess,
) -> None:
    async with bus_client(broker.path, "r") as reader, bus_client(broker.path, "w") as writer:
        back: list[bool] = []
        events = reader.subscribe("n.*")
        reader.on_connected.append(lambda: back.append(True))
        await reader.flush()
        for n in range(200):
            writer.publish("n.x", {"n": n})
            if n == 100:
                await broker.signal(signal.SIGKILL)
        await until(lambda: not reader.connected and not writer.connected)
        before = writer.dropped
        assert not writer.publish("n.x", {"n": -1})
        assert writer.dropped == before + 1
        assert broker.path.exists(), "a killed broker leaves its socket: the next replaces it"
        await broker.start()
        await until(lambda: reader.connected and writer.connected)
        assert back == [True]
        await reader.flush()
        assert writer.publish("n.y", {"n": "after"})
        while (event := await events.get()) is not None:
            if event.topic == "n.y":
                break
        assert event is not None and event.payload == {"n": "after"}
        assert reader.connections == writer.connections == 2


async def test_bus_client_started_before_the_broker_finds_it(tmp_path: Path) -> None:
    client = BusClient(tmp_path / "bus.sock", "early")
    assert not await client.connect()
    events = client.subscribe("a.>")
    assert not client.publish("a.b", {})
    async with broker_process(tmp_path) as broker:
        await until(lambda: client.connected)
        async with bus_client(broker.path) as sender:
            assert await client.flush(DEADLINE)
            sender.publish("a.b", {"n": 1})
            event = await events.get()
    assert event is not None and event.payload == {"n": 1}
    await client.close()
    await client.close()


async def test_bus_slow_subscriber_loses_its_oldest_and_nobody_else_notices(
    broker: BrokerProcess,
) -> None:
    slow = RawClient(broker.path, receive_buffer=4096)
    slow.send("SUB", "n.*")
    slow.hello()
    total, padding = 4 * QUEUE_FRAMES, "x" * 500
    async with bus_client(broker.path, "r") as reader, bus_client(broker.path, "w") as writer:
        events = reader.subscribe("n.*", limit=2 * total)
        await reader.flush()
        for n in range(total):
            assert writer.publish("n.x", {"n": n, "p": padding})
            if n % 256 == 0:
                await writer.flush()
        await writer.flush()
        await until(lambda: len(events._events) == total)
        assert [e.payload["n"] for e in events._events] == list(range(total))
        assert events.dropped == writer.dropped == 0
    got = []
    slow.send("HELLO", "end")
    while (frame := slow.next()).verb == "EVT":
        got.append(frame.parse()["payload"]["n"])
    slow.close()
    assert len(got) < total
    assert got == sorted(got)
    assert got[-1] == total - 1, "the newest are kept"
    assert got[0] == 0, "what the kernel had taken before is not lost"
    assert "reads too slowly" in broker.log.read_text()


async def test_bus_slow_reader_of_big_events_is_bounded_in_bytes(broker: BrokerProcess) -> None:
    slow = RawClient(broker.path)
    slow.send("SUB", "big.*")
    slow.hello()
    assert broker.process is not None
    async with bus_client(broker.path) as writer:
        for n in range(60):
            assert writer.publish("big.x", {"n": n, "p": "x" * 900_000})
            assert await writer.flush()
    assert private_mb(broker.process.pid) < 60, "60 events of 0.9 MB wait for one reader"
    slow.send("HELLO", "end")
    got = []
    while (frame := slow.next()).verb == "EVT":
        got.append(frame.parse()["payload"]["n"])
    slow.close()
    assert got[-1] == 59 and len(got) < 20


async def test_bus_flood_drops_at_the_publisher_and_counts(broker: BrokerProcess) -> None:
    assert broker.process is not None
    async with bus_client(broker.path) as writer:
        broker.process.send_signal(signal.SIGSTOP)
        try:
            sent = sum(writer.publish("n.x", {"p": "x" * 10_000}) for _ in range(1000))
        finally:
            broker.process.send_signal(signal.SIGCONT)
        assert 0 < sent < 1000
        assert writer.dropped == 1000 - sent
        assert await writer.flush(), "it goes on afterwards"


async def test_bus_two_hundred_clients(broker: BrokerProcess) -> None:
    count = 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 1024)), hard))
    clients = [BusClient(broker.path, f"c{n}") for n in range(count)]
    try:
        await asyncio.gather(*(client.connect() for client in clients))
        await until(lambda: all(client.connected for client in clients))
        subscriptions = [client.subscribe("all.*", limit=2 * count) for client in clients]
        await asyncio.gather(*(client.flush(DEADLINE) for client in clients))
        for n, client in enumerate(clients):
            assert client.publish("all.x", {"n": n})
        await asyncio.gather(*(client.flush(DEADLINE) for client in clients))
        await until(lambda: all(len(s._events) == count - 1 for s in subscriptions))
        for n, subscription in enumerate(subscriptions):
            assert {e.payload["n"] for e in subscription._events} == set(range(count)) - {n}
    finally:
        await asyncio.gather(*(client.close() for client in clients))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"A" * 10_000,
        b"PUB a\n" + struct.pack(">I", MAX_BODY + 1),
        b"PUB a\n" + struct.pack(">I", 2) + b"[]",
        b"PUB a\n" + struct.pack(">I", 100_000) + b"[" * 100_000,
        b"PUB a\n" + struct.pack(">I", 13) + b'{"payload":1}',
        b"PUB a.*\n\0\0\0\0",
        b"PUB\n\0\0\0\0",
        b"SUB a..b\n\0\0\0\0",
        b"EVT a\n\0\0\0\0",
        b"".join(b"SUB a.%d\n\0\0\0\0" % n for n in range(1000)),
    ],
    ids=lambda data: repr(data[:16]),
)
async def test_bus_hostile_client_is_dropped_and_others_are_served(
    broker: BrokerProcess, garbage: bytes
) -> None:
    async with bus_client(broker.path) as client:
        with RawClient(broker.path) as hostile:
            try:
                hostile.sock.sendall(garbage)
            except ConnectionError:
                pass
            assert await asyncio.to_thread(hostile.is_closed)
        assert await client.flush()
        assert client.connected and client.connections == 1


async def test_bus_half_frames_and_silence_hold_nobody_up(broker: BrokerProcess) -> None:
    idle = [RawClient(broker.path) for _ in range(50)]
    for n, client in enumerate(idle):
        client.sock.sendall([b"", b"PU", b"PUB a.b\n\0\0\0\x05{", b"HELLO x"][n % 4])
    async with bus_client(broker.path) as client:
        assert await client.flush()
    for client in idle:
        client.close()


async def test_bus_second_broker_on_a_live_socket_refuses(broker: BrokerProcess) -> None:
    assert broker.process is not None
    second = BrokerProcess(broker.folder)
    process = await second.spawn()
    assert await process.wait() == EXIT_TAKEN
    message = second.log.read_text()
    assert f"pid {broker.process.pid}" in message
    assert "DECNET_BUS_SOCKET" in message
    async with bus_client(broker.path) as client:
        assert await client.flush(), "the first one was not disturbed"


async def test_bus_foreign_live_server_is_not_pushed_aside(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as foreign:
        foreign.bind(str(tmp_path / "bus.sock"))
        foreign.listen()
        broker = BrokerProcess(tmp_path)
        assert await (await broker.spawn()).wait() == EXIT_TAKEN
        assert f"pid {os.getpid()}" in broker.log.read_text()


async def test_bus_four_brokers_at_once_one_wins(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(tmp_path / "bus.sock"))
    brokers = [BrokerProcess(tmp_path) for _ in range(4)]
    processes = [await broker.spawn() for broker in brokers]
    try:
        await until(lambda: sum(p.returncode == EXIT_TAKEN for p in processes) == 3)
        client = BusClient(tmp_path / "bus.sock", "x")
        await client.connect()
        await until(lambda: client.connected)
        await client.close()
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_bus_stale_socket_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(tmp_path / "bus.sock"))
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as client:
        assert client.connected


async def test_bus_stop_removes_the_socket_and_says_bye(broker: BrokerProcess) -> None:
    raw = RawClient(broker.path)
    raw.hello()
    assert await broker.signal(signal.SIGTERM) == 0
    assert raw.next().verb == "BYE"
    assert raw.is_closed()
    raw.close()
    assert not broker.path.exists()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / ("x" * 110) / "bus.sock", "too long"),
        (lambda folder: folder / "notes.txt", "no socket"),
        (lambda folder: folder / "notes.txt" / "bus.sock", "cannot listen"),
    ],
    ids=["long", "no-socket", "no-folder"],
)
async def test_bus_unusable_path_says_what_to_set(tmp_path: Path, make, words: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "notes.txt").write_text("mine")
    broker = BrokerProcess(tmp_path)
    process = await broker.spawn(DECNET_BUS_SOCKET=str(make(tmp_path)))
    assert await process.wait() == EXIT_TAKEN
    assert words in broker.log.read_text()
    assert "DECNET_BUS_SOCKET" in broker.log.read_text()
    assert (tmp_path / "notes.txt").read_text() == "mine"


async def test_bus_control_is_for_root_and_the_same_user(broker: BrokerProcess) -> None:
    async with bus_client(broker.path) as client:
        events = client.subscribe(topics.EVERY_CONTROL)
        await client.flush()
        other = RawClient(broker.path)
        other.send("PUB", topics.control("collect"), {"payload": {"action": "stop"}})
        event = await events.get()
        other.close()
    assert event is not None and Control.model_validate(event.payload).action == "stop"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("allowed", [False, True])
async def test_bus_control_from_another_user_needs_the_list(tmp_path: Path, allowed: bool) -> None:
    stranger = 65_534
    env = {"DECNET_BUS_CONTROL_UIDS": str(stranger)} if allowed else {}
    async with broker_process(tmp_path, **env) as broker, bus_client(broker.path) as client:
        events = client.subscribe("system.>")
        await client.flush()
        broker.path.chmod(0o666)
        # The credentials are those at connect(2); the effective uid is set back at once.
        for folder in (tmp_path, *tmp_path.parents):
            if folder == Path("/tmp"):
                break
            folder.chmod(0o755)
        os.seteuid(stranger)
        try:
            raw = RawClient(broker.path)
        finally:
            os.seteuid(0)
        raw.send("PUB", topics.control("collect"), {"payload": {"action": "stop"}})
        raw.send("PUB", "system.log", {"payload": {}})
        raw.hello()
        raw.close()
        seen = []
        while (event := await events.get()) is not None and not seen.count("system.log"):
            if not event.topic.endswith(".health"):
                seen.append(event.topic)
            if event.topic == "system.log":
                break
        assert (topics.control("collect") in seen) is allowed
    assert ("is not allowed" in broker.log.read_text()) is not allowed


async def test_bus_worker_beats_and_obeys(broker: BrokerProcess) -> None:
    assert broker.process is not None
    async with bus_client(broker.path) as client:
        events = client.subscribe(topics.BUS_HEALTH)
        async with asyncio.timeout(DEADLINE):
            event = await events.get()
        assert event is not None
        health = Health.model_validate(event.payload)
        assert health.worker == "bus"
        assert health.pid == broker.process.pid
        assert health.private_kib > 0
        assert event.payload["clients"] >= 2
        client.publish(topics.control("bus"), Control(action="stop", requested_by="test\x1b[2J"))
        async with asyncio.timeout(DEADLINE):
            assert await broker.process.wait() == 0
    assert "\x1b" not in broker.log.read_text()


def private_mb(pid: int) -> float:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(li.split()[1]) for li in text.splitlines() if "Private_" in li) / 1000
