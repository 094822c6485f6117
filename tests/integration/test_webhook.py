"""The webhook worker against real receivers: what they get, and what becomes of bad ones."""

from __future__ import annotations

import asyncio
import random
import signal
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from decnet.webhook import store
from tests.support.bus import until
from tests.support.decnet_env import migrated, query, worker
from tests.support.receiver import SECRET, receiver
from tests.support.webhooks import (
    QUICK,
    WEBHOOK,
    row,
    setting,
    store_lines,
    subscribe,
    write,
)


@pytest.mark.timeout(300)
async def test_webhook_killed_in_mid_delivery_loses_nothing_and_repeats_ids(
    tmp_path: Path,
) -> None:
    chance = random.Random(3)
    async with setting(tmp_path, "system.log", at_once=3, delay=0.003) as siem:
        for step in range(4):
            async with worker(tmp_path, WEBHOOK, **QUICK) as running:
                await store_lines(tmp_path, range(step * 50, step * 50 + 50))
                goal = len(siem.bodies) + chance.randrange(3, 40)
                await until(lambda: len(siem.bodies) >= min(goal, 200))  # noqa: B023
                running.signal(signal.SIGKILL)
                await running.ended()
        async with worker(tmp_path, WEBHOOK, **QUICK):
            await until(lambda: len(set(siem.ids())) == 200)
            pending = "SELECT count(*) FROM webhook_outbox"
            await until(lambda: query(tmp_path / "decnet.db", pending) == [(0,)])
        by_id: dict[str, dict[str, Any]] = {}
        for body in siem.bodies:
            assert by_id.setdefault(body["id"], body) == body, "a repeat is the same event"
        numbers = sorted(int(b["payload"]["fields"]["number"]) for b in by_id.values())
        assert numbers == list(range(200))
        assert len(siem.bodies) <= 200 + 4 * 3 + 4, "repeats are rare"
        assert not siem.wrong


async def test_webhook_retries_what_may_pass_and_buries_what_will_not(tmp_path: Path) -> None:
    answers = [500, 429, 200, 400, 503, 503, 503, 503]
    async with setting(tmp_path, "system.log", answers=answers) as siem:
        async with worker(tmp_path, WEBHOOK, **QUICK):
            await store_lines(tmp_path, range(4))
            await until(lambda: len(siem.bodies) == 2)
            tries = "SELECT outcome, attempts, status_code FROM webhook_deliveries ORDER BY id"
            expected = [
                ("delivered", 3, 200),
                ("failed", 1, 400),
                ("failed", 4, 503),
                ("delivered", 1, 200),
            ]
            await until(lambda: query(tmp_path / "decnet.db", tries) == expected)
            assert row(tmp_path, "consecutive_failures, delivered_count") == (0, 2)
            dead = await write(tmp_path, lambda s: store.dead(s, "siem"))
            assert [letter["last_error"] for letter in dead] == ["answered 503", "answered 400"]
            assert await write(tmp_path, lambda s: store.replay(s, "siem")) == 2
            await until(lambda: len(siem.bodies) == 4)
            assert len(set(siem.ids())) == 4


async def test_webhook_disables_after_failures_in_a_row_and_keeps_what_waits(
    tmp_path: Path,
) -> None:
    async with setting(tmp_path, "system.log", default=400) as siem:
        async with worker(tmp_path, WEBHOOK, **QUICK) as running:
            await store_lines(tmp_path, range(8))
            await until(lambda: row(tmp_path, "auto_disabled_at")[0] is not None)
            assert len(siem.seen) == 5
            await store_lines(tmp_path, range(8, 10))
            pending = "SELECT count(*) FROM webhook_outbox WHERE state = 'pending'"
            await until(lambda: query(tmp_path / "decnet.db", pending) == [(5,)])
            assert len(siem.seen) == 5 and not siem.bodies
            siem.default = 200
            await write(tmp_path, lambda s: store.enable(s, "siem"))
            await write(tmp_path, lambda s: store.replay(s, "siem"))
            await until(lambda: len(siem.bodies) == 10)
            assert SECRET not in running.log.read_text()
            assert "disabled" in running.log.read_text()


async def test_webhook_hanging_receiver_stops_nobody_else(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log", default="hang") as _, receiver() as other:
        await subscribe(tmp_path, "other", other.url, "system.log")
        # It holds for both. The other one has four times as much, so one may come to it twice.
        impatient = {**QUICK, "DECNET_WEBHOOK_TIMEOUT_MS": "2000"}
        async with worker(tmp_path, WEBHOOK, **impatient) as running:
            await store_lines(tmp_path, range(20))
            await until(lambda: len(set(other.ids())) == 20)
            log = "SELECT error FROM webhook_deliveries WHERE outcome = 'failed'"
            await until(lambda: query(tmp_path / "decnet.db", log))
            assert query(tmp_path / "decnet.db", log)[0] == ("no answer within 2 s",)
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0


async def test_webhook_goes_to_no_private_address_and_follows_no_redirect(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log") as inside:
        moved = {"Location": inside.url}
        async with receiver(default=302, headers=moved) as outside:
            await subscribe(tmp_path, "by-name", f"http://localhost:{inside.port}/", "system.log")
            await subscribe(
                tmp_path, "by-number", f"http://2130706433:{inside.port}/", "system.log"
            )
            await store_lines(tmp_path, range(1))
            strict = {**QUICK, "DECNET_WEBHOOK_ALLOW_PRIVATE": "false"}
            log = "SELECT count(*) FROM webhook_deliveries WHERE error LIKE 'refused: %loopback%'"
            async with worker(tmp_path, WEBHOOK, **strict):
                await until(lambda: query(tmp_path / "decnet.db", log) == [(3,)])
            assert not inside.seen
            await subscribe(tmp_path, "moved", outside.url, "system.log")
            await write(tmp_path, lambda s: store.remove(s, "siem"))
            await store_lines(tmp_path, range(1, 2))
            log = (
                "SELECT status_code, attempts FROM webhook_deliveries WHERE error LIKE '%redirect%'"
            )
            async with worker(tmp_path, WEBHOOK, **QUICK):
                await until(lambda: query(tmp_path / "decnet.db", log) == [(302, 1)])
            assert len(outside.seen) == 1
            assert "moved" not in [body["payload"].get("name") for body in inside.bodies]


async def test_webhook_speaks_tls_to_the_name_at_the_checked_address(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    authority = trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names: list[str | None] = []
    served.set_servername_callback(lambda _, name, __: names.append(name))
    authority.issue_cert("localhost").configure_cert(served)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with receiver(tls=served) as siem:
        await subscribe(tmp_path, "good", f"https://localhost:{siem.port}/x", "system.log")
        await subscribe(tmp_path, "bad", f"https://127.0.0.1:{siem.port}/x", "system.log")
        async with worker(tmp_path, WEBHOOK, **QUICK, SSL_CERT_FILE=str(tmp_path / "ca.pem")):
            await store_lines(tmp_path, range(1))
            await until(lambda: siem.bodies)
            log = "SELECT error FROM webhook_deliveries WHERE outcome = 'failed'"
            await until(lambda: query(tmp_path / "decnet.db", log))
            assert "certificate" in query(tmp_path / "decnet.db", log)[0][0].lower()
        assert "localhost" in names
        assert siem.seen[0]["host"] == f"localhost:{siem.port}"
        assert len(siem.bodies) == 1


async def test_webhook_sends_ten_at_once_and_no_more(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log", at_once=10, delay=0.05, together=2) as siem:
        await subscribe(tmp_path, "second", siem.url, "system.log", at_once=10)
        await store_lines(tmp_path, range(40))
        async with worker(tmp_path, WEBHOOK, **QUICK):
            await until(lambda: len(siem.bodies) >= 80)
        assert siem.most_at_once <= 10
        assert siem.most_at_once > 1


async def test_webhook_full_queue_drops_the_oldest_and_counts(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log", default="hang") as siem:
        async with worker(tmp_path, WEBHOOK, **QUICK, DECNET_WEBHOOK_QUEUE_MAX="30"):
            await store_lines(tmp_path, range(100))
            await until(lambda: row(tmp_path, "dropped_count") == (70,))
            siem.default = 200
        async with worker(tmp_path, WEBHOOK, **QUICK):
            await until(lambda: len(siem.bodies) >= 30)
        numbers = sorted(int(b["payload"]["fields"]["number"]) for b in siem.bodies)
        assert numbers[-30:] == list(range(70, 100))
