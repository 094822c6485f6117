"""What the webhook worker tells: of which rows and events, in which words; and its command line."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import json
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col

from decnet.bus import topics
from decnet.cli import webhooks as cli
from decnet.db import cursors
from decnet.db.tables import (
    Attacker,
    AttackerIdentity,
    AttackerIntel,
    Campaign,
    CanaryToken,
    CanaryTrigger,
    Credential,
    CredentialReuse,
    TtpTag,
    utc_now,
)
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker
from tests.support.receiver import SECRET, receiver
from tests.support.webhooks import (
    NOW,
    QUICK,
    WEBHOOK,
    line,
    setting,
    store_lines,
    subscribe,
    write,
)
from zygote.errors import ZygoteError


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

            # Until it listens; not so many that what comes after them has to wait.
            async with asyncio.timeout(DEADLINE):
                while "system.prober.health" not in siem.topics():
                    bus.publish("system.prober.health", {"worker": "prober"})
                    await asyncio.sleep(0.2)
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
        async with worker(tmp_path, WEBHOOK, cold=True, **QUICK) as running:
            await until(lambda: len(siem.bodies) == 29)
            await until(lambda: "left out" in running.log.read_text())
    numbers = {int(b["payload"]["fields"]["number"]) for b in siem.bodies}
    assert numbers == set(range(30)) - {16}


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
