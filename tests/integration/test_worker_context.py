"""`run_worker` on real processes: stop, control, heartbeat, watchdog, wake, refusals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.bus import topics
from decnet.db.errors import EXIT_NO_DATABASE
from decnet.models import Control, Health
from decnet.settings import EXIT_CONFIG
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker

WRITER = "tests.support.writer"


class Notifications:
    """A manager's ear: the notification socket, read in order."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.setblocking(False)
        self.got: list[str] = []

    def read(self) -> list[str]:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.got += self.sock.recv(4096).decode().splitlines()
        return self.got


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Notifications]:
    ear = Notifications(tmp_path / "n.sock")
    yield ear
    ear.sock.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_worker_stops_on_a_signal_and_ends_its_tick(tmp_path: Path, number: int) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, WRITER, "forever", "w", "0") as running:
        await running.until_line("tick")
        running.signal(number)
        await running.until_line("done")
        assert await running.ended() == 0
    [(rows, cursor)] = query(
        file, "SELECT (SELECT count(*) FROM logs), (SELECT value FROM state WHERE key = 'w')"
    )
    assert rows == int(cursor) > 0


async def test_worker_that_ignores_the_stop_is_cancelled_by_a_second_signal(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, WRITER, "deaf", "w", "0") as running:
        await running.until_line("ready")
        running.signal(signal.SIGTERM)
        await until(lambda: "stopping" in running.log.read_text())
        running.signal(signal.SIGTERM)
        await running.until_line("cleaned up")
        assert await running.ended() == 0


async def test_worker_beats_and_stops_when_asked_on_the_bus(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as client:
        beats = client.subscribe(topics.EVERY_HEALTH)
        await client.flush()
        async with worker(tmp_path, WRITER, "wake", "collect", "3600") as running:
            await running.until_line("ready")
            async with asyncio.timeout(DEADLINE):
                while event := await beats.get():
                    if event.topic == topics.health("collect") and "mode" in event.payload:
                        break
            assert event is not None
            health = Health.model_validate(event.payload)
            assert health.worker == "collector"
            assert health.pid == running.pid
            assert health.private_kib > 0 and health.dropped == 0
            assert event.payload["mode"] == "wake"
            client.publish(topics.control("collect"), {"action": "dance"})
            client.publish(topics.control("collect"), Control(action="stop", requested_by="me"))
            await running.until_line("done")
            assert await running.ended() == 0
            assert "asked on the bus by me" in running.log.read_text()
            assert "not 'stop', ignored" in running.log.read_text()


async def test_worker_is_woken_by_the_bus_and_by_its_return(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with broker_process(tmp_path) as broker:
        async with worker(tmp_path, WRITER, "wake", "w", "3600") as running:
            await running.until_line("ready")
            async with bus_client(broker.path) as client:
                client.publish("test.hint", {})
                await running.until_line("woken True")
            await broker.signal(signal.SIGKILL)
            await broker.start()
            await running.until_line("woken True")
            async with bus_client(broker.path) as client:
                async with asyncio.timeout(DEADLINE):
                    beats = client.subscribe(topics.health("w"))
                    await client.flush()
                    client.publish("test.hint", {})
                    await running.until_line("woken True")
                    beats.close()
            running.signal(signal.SIGTERM)
            await running.until_line("woken False")


async def test_worker_works_by_polling_without_a_bus(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, WRITER, "wake", "w", "0") as running:
        for _ in range(3):
            await running.until_line("woken False")
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0


async def test_worker_tells_its_manager(tmp_path: Path, manager: Notifications) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    async with worker(tmp_path, WRITER, "wake", "w", "3600", **env) as running:
        await until(lambda: "READY=1" in manager.read())
        assert "STATUS=mode wake" in manager.got
        await until(lambda: manager.read().count("WATCHDOG=1") > 5)
        running.signal(signal.SIGTERM)
        await until(lambda: "STOPPING=1" in manager.read())
        assert await running.ended() == 0


async def test_worker_stuck_in_a_tick_feeds_no_watchdog(
    tmp_path: Path, manager: Notifications
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "100000"}
    async with (
        worker(tmp_path, WRITER, "stuck", "s", "0", **env) as stuck,
        worker(tmp_path, WRITER, "forever", "f", "0", WATCHDOG_USEC="100000") as busy,
    ):
        await stuck.until_line("ready")
        for _ in range(50):
            await busy.until_line("tick")
        await until(lambda: "READY=1" in manager.read())
        # Quiet for ten watchdog periods, by the busy one's ticks and the clock of the machine.
        quiet_since, count = 0, -1
        while quiet_since < 100:
            await busy.until_line("tick")
            now = manager.read().count("WATCHDOG=1")
            quiet_since, count = (quiet_since + 1, count) if now == count else (0, now)
        assert stuck.process.returncode is None


@pytest.mark.parametrize(
    ("mode", "code", "words"),
    [
        ("fault", 1, "broken on purpose"),
        ("refuse", 1, "w: port taken\n  hint: take another"),
    ],
)
async def test_worker_that_fails_says_why(tmp_path: Path, mode: str, code: int, words: str) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, WRITER, mode, "w", "0") as running:
        assert await running.ended() == code
        assert words in running.log.read_text()
        assert ("Traceback" in running.log.read_text()) is (mode == "fault")


async def test_worker_without_its_database_names_the_command(tmp_path: Path) -> None:
    async with worker(tmp_path, WRITER, "count", "w", "1") as running:
        assert await running.ended() == EXIT_NO_DATABASE
        assert "decnetctl migrate" in running.log.read_text()
        assert "Traceback" not in running.log.read_text()


async def test_worker_with_a_wrong_setting_names_the_variable(tmp_path: Path) -> None:
    async with worker(tmp_path, WRITER, "count", "w", "1", DECNET_API_PORT="x") as running:
        assert await running.ended() == EXIT_CONFIG
        assert "DECNET_API_PORT" in running.log.read_text()
