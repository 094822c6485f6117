"""The webhook worker against real receivers: what they get, and what becomes of bad ones."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import json
import random
import signal
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy import update
from sqlmodel import col

from decnet.bus import topics
from decnet.cli import webhooks as cli
from decnet.db import cursors
from decnet.db.engine import Database
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    AttackerIntel,
    Campaign,
    CanaryToken,
    CanaryTrigger,
    Credential,
    CredentialReuse,
    Log,
    TtpTag,
    utc_now,
)
from decnet.webhook import store
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker
from tests.support.receiver import SECRET, Receiver, receiver
from zygote.errors import ZygoteError

WEBHOOK = "decnet.workers.webhook"
QUICK = {
    "DECNET_WEBHOOK_ALLOW_PRIVATE": "true",
    "DECNET_WEBHOOK_RETRY_MS": "20",
    "DECNET_WEBHOOK_POLL_MS": "100",
    "DECNET_BUS_ENABLED": "false",
}
NOW = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)


async def write(folder: Path, work: Callable[[Any], Awaitable[Any]]) -> Any:
    database = Database(f"sqlite+aiosqlite:///{folder}/decnet.db")
    await database.open()
    try:
        return await database.write(work)
    finally:
        await database.close()


async def subscribe(folder: Path, name: str, url: str, *patterns: str, at_once: int = 1) -> None:
    await write(
        folder,
        lambda s: store.add(s, name, url, patterns, secret=SECRET, concurrency=at_once),
    )


def line(number: int, ip: str = "192.0.2.1", kind: str = "connect", **fields: str) -> Log:
    return Log(
        timestamp=NOW + dt.timedelta(seconds=number),
        decky="web-01",
        service="http",
        event_type=kind,
        attacker_ip=ip,
        raw_line="-",
        fields={"number": str(number), **fields},
    )


async def store_lines(folder: Path, numbers: range) -> None:
    async def work(session: Any) -> None:
        session.add_all([line(number) for number in numbers])

    await write(folder, work)


@contextlib.asynccontextmanager
async def setting(
    tmp_path: Path, *patterns: str, at_once: int = 1, **options: Any
) -> AsyncIterator[Receiver]:
    """A database with one subscription, "siem", and its receiver."""
    await asyncio.to_thread(migrated, tmp_path)
    async with receiver(**options) as made:
        await subscribe(tmp_path, "siem", made.url, *patterns, at_once=at_once)
        yield made


def row(folder: Path, columns: str, name: str = "siem") -> Any:
    sql = f"SELECT {columns} FROM webhook_subscriptions WHERE name = '{name}'"
    return query(folder / "decnet.db", sql)[0]


async def test_webhook_delivers_what_the_database_says_without_a_bus(tmp_path: Path) -> None:
    patterns = ("attacker.>", "credential.>", "ttp.>", "canary.>", "system.log")
    async with setting(tmp_path, *patterns) as siem, worker(tmp_path, WEBHOOK, **QUICK):

        async def attack(session: Any) -> None:
            session.add_all([line(1), line(2), line(3, "192.0.2.9")])
            for ip, count in (("192.0.2.1", 2), ("192.0.2.9", 1)):
                session.add(
                    Attacker(
                        uuid=f"uuid-{ip}", ip=ip, first_seen=NOW, last_seen=NOW, event_count=count
                    )
                )
            session.add(
                Credential(
                    attacker_ip="192.0.2.1",
                    decky_name="web-01",
                    service="http",
                    secret_sha256="0" * 64,
                    secret_b64="",
                    first_seen=NOW,
                    last_seen=NOW,
                )
            )
            token = CanaryToken(
                name="bait", kind="http", callback_token="slug", fingerprint_nonce="n"
            )
            session.add(token)
            await session.flush()
            session.add(
                CanaryTrigger(
                    hit_id="hit", token_uuid=token.uuid, occurred_at=NOW, src_ip="192.0.2.1"
                )
            )
            session.add(
                CredentialReuse(
                    secret_sha256="0" * 64, secret_kind="plaintext", first_seen=NOW, last_seen=NOW
                )
            )
            await session.flush()
            session.add(
                AttackerIntel(
                    attacker_uuid="uuid-192.0.2.1",
                    attacker_ip="192.0.2.1",
                    aggregate_verdict="malicious",
                    cached_at=utc_now(),
                    expires_at=utc_now(),
                )
            )
            session.add(
                TtpTag(
                    uuid="tag",
                    source_kind="command",
                    source_id="1",
                    attacker_uuid="uuid-192.0.2.1",
                    tactic="TA0007",
                    technique_id="T1082",
                    confidence=0.5,
                    rule_id="R0001",
                    rule_version=1,
                    attack_release="0",
                    mitre_url="",
                    observed_at=NOW,
                )
            )
            # As the profiler leaves it: two of the three lines are in the profiles.
            await cursors.set(session, "attacker_worker_cursor", 2)

        await write(tmp_path, attack)
        expected = [
            *("attacker.intel.enriched", "attacker.observed", "attacker.scored"),
            *("credential.captured", "credential.reuse.detected"),
            *("system.log", "system.log", "system.log", "ttp.rule.fired.T1082", "ttp.tagged"),
        ]

        def told() -> list[str]:
            return sorted(topic for topic in siem.topics() if not topic.startswith("canary"))

        await until(lambda: len(siem.bodies) >= len(expected) + 2)
        assert told() == sorted(expected)
        canary = sorted(topic.split(".")[2] for topic in siem.topics() if "canary" in topic)
        assert canary == ["placed", "triggered"]
        assert not siem.wrong
        observed = next(b for b in siem.bodies if b["topic"] == "attacker.observed")
        assert observed["v"] == 1 and observed["type"] == "observed"
        assert observed["payload"]["attacker_ip"] == "192.0.2.1"
        assert observed["ts"] == (NOW + dt.timedelta(seconds=1)).timestamp()
        head = siem.seen[0]
        assert head["user-agent"] == "decnet-webhook/1.0"
        assert head["host"] == f"127.0.0.1:{siem.port}"
        assert head["x-decnet-event-topic"] in siem.topics()


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
        async with worker(tmp_path, WEBHOOK, **QUICK, DECNET_WEBHOOK_TIMEOUT_MS="300") as running:
            await store_lines(tmp_path, range(20))
            await until(lambda: len(other.bodies) == 20)
            log = "SELECT error FROM webhook_deliveries WHERE outcome = 'failed'"
            await until(lambda: query(tmp_path / "decnet.db", log))
            assert query(tmp_path / "decnet.db", log)[0] == ("no answer within 0.3 s",)
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


async def test_webhook_forwards_heartbeats_and_rare_topics_from_the_bus(tmp_path: Path) -> None:
    async with (
        setting(tmp_path, "system.>", "topology.>", at_once=2) as siem,
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
    ):
        quick = {k: v for k, v in QUICK.items() if k != "DECNET_BUS_ENABLED"}
        health = bus.subscribe(topics.health("webhook"))
        await bus.flush()
        async with worker(tmp_path, WEBHOOK, **quick):
            async with asyncio.timeout(DEADLINE):
                while (beat := await health.get()) and "lanes" not in beat.payload:
                    pass
            assert beat is not None and beat.payload["lanes"] == 1

            def poke() -> bool:
                bus.publish("system.prober.health", {"worker": "prober"})
                return "system.prober.health" in siem.topics()

            await until(poke)
            bus.publish("topology.one.status", {"state": "running"})
            bus.publish("system.log", {"component": "collector", "flushed": 1, "position": 1})
            await until(lambda: {"topology.one.status", "system.log"} <= set(siem.topics()))
            summary = next(b for b in siem.bodies if b["topic"] == "system.log")
            assert summary["payload"]["flushed"] == 1
            assert len(siem.ids()) == len(set(siem.ids()))
            stored = "SELECT topic FROM webhook_events"
            assert query(tmp_path / "decnet.db", stored) == [("topology.one.status",)]


async def test_webhook_tells_how_identities_form_merge_and_part(tmp_path: Path) -> None:
    def identity(name: str) -> AttackerIdentity:
        return AttackerIdentity(uuid=name, first_seen_at=NOW, last_seen_at=NOW)

    async def old(session: Any) -> None:
        session.add(identity("old"))

    async def form(session: Any) -> None:
        session.add(Campaign(uuid="war", first_seen_at=NOW, last_seen_at=NOW))
        session.add_all([identity("a"), identity("b")])
        session.add(Attacker(uuid="x", ip="::1", first_seen=NOW, last_seen=NOW, identity_id="a"))

    async def change(session: Any, **columns: Any) -> None:
        await session.execute(
            update(AttackerIdentity).where(col(AttackerIdentity.uuid) == "b").values(**columns)
        )

    steps: list[Callable[[Any], Awaitable[None]]] = [
        form,
        functools.partial(change, merged_into_uuid="a"),
        functools.partial(change, merged_into_uuid=None, campaign_id="war"),
        functools.partial(change, merged_into_uuid="a"),
    ]
    told = [
        ["campaign.formed", "identity.formed", "identity.formed"],
        ["identity.merged"],
        ["campaign.identity.assigned", "identity.campaign.assigned", "identity.unmerged"],
        ["identity.merged"],
    ]
    await asyncio.to_thread(migrated, tmp_path)
    await write(tmp_path, old)
    async with receiver() as siem:
        # Before the worker ever ran: what is there is known, what comes is told.
        await subscribe(tmp_path, "siem", siem.url, "identity.>", "campaign.>")
        found: dict[str, dict[str, Any]] = {}
        for step, topics_told in zip(steps, told, strict=True):
            await write(tmp_path, step)
            goal = len(found) + len(topics_told)
            async with worker(tmp_path, WEBHOOK, **QUICK):
                await until(lambda: len(set(siem.ids())) >= goal)  # noqa: B023
            # Killed before it noted the last ones, it repeats them: with the same ids.
            fresh = {b["id"]: b for b in siem.bodies if b["id"] not in found}
            assert sorted(b["topic"] for b in fresh.values()) == topics_told
            found |= fresh
        (last,) = fresh.values()
        assert last["payload"] == {"winner_uuid": "a", "loser_uuid": "b"}
        members = [b["payload"].get("observation_uuids") for b in found.values()]
        assert ["x"] in members


async def test_webhook_leaves_out_a_row_that_cannot_be_read(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log", at_once=4) as siem:
        await store_lines(tmp_path, range(30))
        with contextlib.closing(sqlite3.connect(tmp_path / "decnet.db")) as connection:
            connection.execute("UPDATE logs SET fields = '{broken' WHERE id = 17")
            connection.commit()
        async with worker(tmp_path, WEBHOOK, **QUICK) as running:
            await until(lambda: len(siem.bodies) == 29)
            assert "left out" in running.log.read_text()
    numbers = {int(b["payload"]["fields"]["number"]) for b in siem.bodies}
    assert numbers == set(range(30)) - {16}


async def test_webhook_sends_ten_at_once_and_no_more(tmp_path: Path) -> None:
    async with setting(tmp_path, "system.log", at_once=10, delay=0.05) as siem:
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


async def test_webhook_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    for name, value in {"DECNET_STATE_DIR": str(tmp_path), **QUICK}.items():
        monkeypatch.setenv(name, value)

    async def say(verb: Callable[..., None], *words: str, **options: Any) -> str:
        capsys.readouterr()
        await asyncio.to_thread(verb, *words, **options)
        return capsys.readouterr().out

    async def refuse(verb: Callable[..., None], *words: str, **options: Any) -> str:
        with pytest.raises(ZygoteError) as caught:
            await asyncio.to_thread(verb, *words, **options)
        assert caught.value.exit_code in (1, 2)
        return f"{caught.value.message} {caught.value.hint}"

    async with receiver(answers=[500, 500, 500, 500]) as siem:
        made = await say(cli.add, "siem", siem.url, "canary.>", secret=SECRET, as_json=True)
        assert json.loads(made)["secret"] == SECRET
        listed = await say(cli.list_, as_json=True)
        assert json.loads(listed)[0]["topic_patterns"] == ["canary.>"]
        assert SECRET not in listed + await say(cli.list_)
        assert "answered 500" in await refuse(cli.test, "siem")
        assert json.loads(await say(cli.test, "siem", as_json=True))["ok"]
        assert siem.topics() == ["system.webhook.test"] and not siem.wrong
        assert "take another name" in await refuse(cli.add, "siem", siem.url)
        assert "http" in await refuse(cli.add, "x", "ftp://a/")
        assert "pattern" in await refuse(cli.add, "x", siem.url, "a..b")
        assert "16" in await refuse(cli.add, "x", siem.url, secret="short")
        rotated = await say(cli.rotate, "siem")
        assert len(rotated) > 60
        await say(cli.test, "siem")
        assert siem.wrong == ["signature"], "the receiver has the old one"
        for verb in (cli.dead, cli.log, cli.replay, cli.disable, cli.enable):
            await say(verb, "siem")
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "decnet.cli.app", "webhooks", "remove", "siem"],
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert done.returncode == 0, done.stderr
        assert "no subscription" in await refuse(cli.dead, "siem")
