"""From a visit to a profile, with every worker killed on the way: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.bus import topics
from decnet.collect.noise import NOISY
from decnet.rehearsal import rehearse
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import Worker, connection_threads, migrated, query, worker
from tests.support.mounts import fill, tmpfs
from tests.support.visitors import Crowd, decoy, spooled, ssh

COLLECT = "decnet.workers.collect"
PROFILER = "decnet.workers.profiler"
VICTIMS = ("collect", "collect", "profiler", "bus")


def stored(folder: Path, database: Path | None = None) -> int:
    rows = query(database or folder / "decnet.db", "SELECT count(*) FROM logs")
    return int(rows[0][0])


def profiled(folder: Path, database: Path | None = None) -> int:
    sql = "SELECT coalesce(sum(event_count), 0) FROM attackers"
    return int(query(database or folder / "decnet.db", sql)[0][0])


def json_lines(folder: Path) -> list[dict[str, object]]:
    """Those of `decnet.json` that are whole: the last may be on its way."""
    file = folder / "decnet.json"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return [json.loads(line) for line in lines]


async def until_all_is_there(
    folder: Path, database: Path | None = None, log: Path | None = None
) -> None:
    """Wait until what the decoys wrote is stored, profiled and exported; no more may come."""
    spool = [e for f in (folder / "spool").glob("*.log") for e in spooled(folder, f.stem)]
    attributable = [e for e in spool if "src_ip" in e.fields]
    async with asyncio.timeout(3 * DEADLINE):
        while stored(folder, database) < len(spool):
            await asyncio.sleep(0.05)
        while profiled(folder, database) < len(attributable):
            await asyncio.sleep(0.05)
        log = log or folder / "decnet.log"
        while len(log.read_text().splitlines() if log.exists() else []) < len(spool):
            await asyncio.sleep(0.05)
        # The other file is written after it, and does not have all that is noise.
        quiet = sum(e.type not in NOISY for e in spool)
        while sum(o["event_type"] not in NOISY for o in json_lines(log.parent)) < quiet:
            await asyncio.sleep(0.05)


def check_counts(folder: Path, crowd: Crowd, database: Path | None = None) -> None:
    """Sent = in the spool = stored = profiled = exported, each once."""
    file = database or folder / "decnet.db"
    sent = {f"/visit/{n}" for n in crowd.answered}
    spool = spooled(folder, "decoy@http")
    rows = query(file, "SELECT event_type, json_extract(fields, '$.path'), raw_line FROM logs")
    assert Counter(kind for kind, _, _ in rows) == Counter(e.type for e in spool)
    paths = [path for kind, path, _ in rows if kind == "request"]
    assert sorted(paths) == sorted(sent)
    attributable = sum("src_ip" in e.fields for e in spool)
    assert profiled(folder, database) == attributable
    per_ip = dict(query(file, "SELECT ip, event_count FROM attackers"))
    assert per_ip == Counter(e.fields["src_ip"] for e in spool if "src_ip" in e.fields)
    raw = (folder / "decnet.log").read_text().splitlines()
    assert sorted(raw) == sorted(line for _, _, line in rows)
    exported = json_lines(folder)
    assert sorted(
        o["fields"]["path"]  # type: ignore[index]
        for o in exported
        if o["event_type"] == "request"
    ) == sorted(sent)
    quiet = [o for o in exported if o["event_type"] not in NOISY]
    assert len(quiet) == sum(e.type not in NOISY for e in spool)


@contextlib.asynccontextmanager
async def kept_alive(folder: Path, module: str, **env: str) -> AsyncIterator[list[Worker]]:
    """A worker that is started again whenever it is dead; the list's last is the living one."""
    living: list[Worker] = []

    async def keep() -> None:
        while True:
            async with worker(folder, module, **env) as running:
                living.append(running)
                # No deadline: on a busy machine the last one lives for long.
                assert running.process.stdout is not None
                await running.process.stdout.read()
                await running.process.wait()

    task = asyncio.create_task(keep())
    try:
        await until(lambda: living)
        yield living
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.timeout(600)
async def test_pipeline_killed_again_and_again_under_load_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    chance = random.Random(7)
    kills = Counter[str]()
    async with (
        broker_process(tmp_path) as broker,
        decoy(tmp_path, "http") as running,
        kept_alive(tmp_path, COLLECT, DECNET_BATCH_SIZE="20") as collectors,
        kept_alive(tmp_path, PROFILER) as profilers,
    ):
        crowd = Crowd(running.port)
        storm = asyncio.create_task(crowd.storm(160, 20, at_once=4))
        visits, most = 3200, 3300
        while not storm.done() or stored(tmp_path) < most or min(kills[v] for v in VICTIMS) < 2:
            if storm.done() and stored(tmp_path) >= most:
                # Who is killed next was held up, while all was done: there is to be more for him.
                storm = asyncio.create_task(crowd.storm(40, 20, at_once=4))
                visits, most = visits + 800, most + 800
            victim = chance.choice(VICTIMS)
            # In the middle of the work: when some was seen to be done, not after a time.
            measure = profiled if victim == "profiler" else stored
            goal = min(measure(tmp_path) + chance.randrange(20, 200), most)
            await until(lambda: measure(tmp_path) >= goal)  # noqa: B023
            kills[victim] += 1
            if victim == "bus":
                await broker.signal(signal.SIGKILL)
                await broker.spawn()
                continue
            target = (collectors if victim == "collect" else profilers)[-1]
            with contextlib.suppress(ProcessLookupError):
                target.signal(signal.SIGKILL)
        await storm
        await until_all_is_there(tmp_path)
        assert len(crowd.answered) == visits
    check_counts(tmp_path, crowd)


@pytest.mark.timeout(300)
async def test_pipeline_catches_up_without_a_bus_after_everything_was_dead(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with decoy(tmp_path, "http", DECNET_BUS_ENABLED="false") as running:
        crowd = Crowd(running.port)
        await crowd.storm(50, 20)
    async with worker(tmp_path, COLLECT, DECNET_BUS_ENABLED="false"):
        async with worker(tmp_path, PROFILER, DECNET_BUS_ENABLED="false"):
            await until_all_is_there(tmp_path)
    check_counts(tmp_path, crowd)


@pytest.mark.timeout(300)
async def test_pipeline_waits_for_a_full_database(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "8m") as small:
        database = await asyncio.to_thread(migrated, small)
        env = {"DECNET_DB_URL": f"sqlite:///{database}"}
        state = tmp_path / "state"
        state.mkdir()
        async with (
            decoy(state, "http") as running,
            worker(state, COLLECT, **env) as collect,
            worker(state, PROFILER, **env) as profiler,
        ):
            crowd = Crowd(running.port)
            await crowd.storm(5, 10)
            await until_all_is_there(state, database)
            filler = fill(small)
            visits = 50
            while "waiting" not in collect.log.read_text():  # there is some room in its files yet
                await crowd.storm(60, 20)
                visits += 1200
                await asyncio.sleep(1)
            assert len(crowd.answered) == visits, "visitors notice nothing"
            assert collect.process.returncode is profiler.process.returncode is None
            filler.unlink()
            await until_all_is_there(state, database)
        check_counts(state, crowd, database)


@pytest.mark.timeout(300)
async def test_pipeline_files_on_a_full_disk_catch_up(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    with tmpfs(tmp_path / "small", "1m") as small:
        env = {"DECNET_INGEST_LOG_FILE": str(small / "decnet.log")}
        async with (
            decoy(tmp_path, "http") as running,
            worker(tmp_path, COLLECT, **env) as collect,
            worker(tmp_path, PROFILER),
        ):
            crowd = Crowd(running.port)
            await crowd.storm(2, 10)
            await until(lambda: (small / "decnet.json").exists())
            filler = fill(small, leave=700)
            await crowd.storm(20, 10)
            count = len(spooled(tmp_path, "decoy@http"))
            await until(lambda: stored(tmp_path) == count)
            await until(lambda: "cannot use export" in collect.log.read_text())
            filler.unlink()
            log = small / "decnet.log"
            await until_all_is_there(tmp_path, log=log)
            lines = (small / "decnet.json").read_text().splitlines()
            (tmp_path / "decnet.log").write_bytes(log.read_bytes())
        (tmp_path / "decnet.json").write_text("\n".join(lines) + "\n")
    check_counts(tmp_path, crowd)


async def test_pipeline_tells_the_bus_of_visits_credentials_and_sessions(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as bus,
        decoy(tmp_path, "ssh") as running,
    ):
        told = bus.subscribe("attacker.>")
        credentials = bus.subscribe(topics.CREDENTIAL_CAPTURED)
        logs = bus.subscribe(topics.SYSTEM_LOG)
        await bus.flush()
        async with worker(tmp_path, COLLECT), worker(tmp_path, PROFILER):
            ran = await ssh(tmp_path, running.port, "id; uname -a")
            assert ran.code == 0
            seen: dict[str, dict[str, object]] = {}
            wanted = {
                topics.ATTACKER_OBSERVED,
                topics.ATTACKER_SCORED,
                topics.ATTACKER_SESSION_ENDED,
            }
            async with asyncio.timeout(DEADLINE):
                async for event in told:
                    if not event.topic.startswith("attacker.observation."):  # told when they are
                        seen.setdefault(event.topic, event.payload)
                    if wanted <= set(seen):
                        break
                credential = await anext(credentials)
                log = await anext(logs)
            await running.deserted()
            await until_all_is_there(tmp_path)
    assert set(seen) == wanted
    ended = seen[topics.ATTACKER_SESSION_ENDED]
    assert [c["command_text"] for c in ended["commands"]] == ["id; uname -a"]  # type: ignore[index, attr-defined]
    assert ended["attacker_ip"] == "127.0.0.1"
    assert credential.payload["secret_kind"] == "plaintext"
    assert "hunter2" not in json.dumps(credential.payload)
    assert log.payload["flushed"] >= 1
    file = tmp_path / "decnet.db"
    assert query(file, "SELECT secret_printable, attempt_count, outcome FROM credentials") == [
        ("hunter2", 1, "accepted")
    ]
    uuid, count = query(file, "SELECT uuid, credential_count FROM attackers")[0]
    assert count == 1
    assert query(file, "SELECT attacker_uuid FROM credentials") == [(uuid,)]
    recording = query(file, "SELECT session_id, principal, commands FROM session_recordings")[0]
    assert recording[:2] == (ended["session_id"], "root")
    assert json.loads(recording[2]) == ended["commands"]


async def test_collect_stores_bad_lines_by_their_reason_and_goes_on(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    spool = tmp_path / "spool"
    spool.mkdir()
    good = b'<134>1 2026-11-24T03:00:00Z d ssh - command [relay@55555 src_ip="192.0.2.7"]\n'
    (spool / "foreign.log").write_bytes(
        good
        + b"\xff\xfe not utf-8\n"
        + b"no syslog at all \x1b[2J\n"
        + b"A" * (10 << 20)
        + b"\n"
        + b"\x00" * 500
        + b"\n"
        + good
        + b"half a li"
    )
    async with worker(tmp_path, COLLECT) as running:
        await until(lambda: stored(tmp_path) == 6)
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
    rows = query(
        tmp_path / "decnet.db", "SELECT event_type, fields, raw_line FROM logs ORDER BY id"
    )
    reasons = [json.loads(fields).get("reason") for _, fields, _ in rows]
    assert reasons == [None, "not_utf8", "not_rfc5424", "too_long", "not_rfc5424", None]
    assert all(raw.isprintable() and len(raw) < 5000 for _, _, raw in rows)
    assert len(json_lines(tmp_path)) == len((tmp_path / "decnet.log").read_text().splitlines()) == 6


async def test_collect_is_not_stopped_by_a_line_that_the_database_refuses(tmp_path: Path) -> None:
    database = await asyncio.to_thread(migrated, tmp_path)
    query(
        database,
        "CREATE TRIGGER picky BEFORE INSERT ON logs WHEN NEW.decky = 'poison' "
        "BEGIN SELECT RAISE(ABORT, 'I do not like it'); END",
    )
    spool = tmp_path / "spool"
    spool.mkdir()
    names = ["a", "b", "poison", "c", "poison", "d"]
    lines = [f"<134>1 2026-11-24T03:00:00Z {name} ssh - command - x\n" for name in names]
    (spool / "x.log").write_text("".join(lines))
    async with worker(tmp_path, COLLECT):
        await until(lambda: stored(tmp_path) == 6)
    rows = query(database, "SELECT decky, event_type FROM logs ORDER BY id")
    assert [decky for decky, _ in rows] == ["a", "b", "Unknown", "c", "Unknown", "d"]
    assert [kind for _, kind in rows].count("parse_error") == 2


async def test_collect_deletes_segments_that_are_stored(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    spool = tmp_path / "spool"
    spool.mkdir()
    line = "<134>1 2026-11-24T03:00:00Z d ssh - command - {}\n"
    for name, first in (("d.log.1", 0), ("d.log.2", 300), ("d.log", 600)):
        (spool / name).write_text("".join(line.format(first + n) for n in range(300)))
    async with worker(tmp_path, COLLECT):
        await until(lambda: stored(tmp_path) == 900)
        await until(lambda: [f.name for f in spool.iterdir()] == ["d.log"])
        cursors = "SELECT count(*) FROM state WHERE key LIKE 'collect_spool:%'"
        await until(lambda: query(tmp_path / "decnet.db", cursors) == [(1,)])
    texts = query(tmp_path / "decnet.db", "SELECT msg FROM logs ORDER BY id")
    assert [int(text) for (text,) in texts] == list(range(900)), "in the order of the segments"


async def test_workers_alone_beat_and_obey_the_bus(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with broker_process(tmp_path) as broker, bus_client(broker.path) as bus:
        for module, name, field in (
            (COLLECT, "collect", "lag_bytes"),
            (PROFILER, "profiler", "lag"),
        ):
            beats = bus.subscribe(topics.health(name))
            await bus.flush()
            async with worker(tmp_path, module, cold=True) as running:
                async with asyncio.timeout(DEADLINE):
                    async for beat in beats:
                        if field in beat.payload:
                            break
                assert beat.payload[field] == 0
                bus.publish(topics.control(name), {"action": "stop", "requested_by": "test"})
                assert await running.ended() == 0
            beats.close()


async def test_rehearsal_goes_all_the_way_and_leaves_nothing_running(tmp_path: Path) -> None:
    await rehearse(tmp_path)
    assert stored(tmp_path) == profiled(tmp_path) == 48
    await until(lambda: not connection_threads())
    recorded = query(tmp_path / "decnet.db", "SELECT count(*) FROM session_recordings")
    assert recorded == [(1,)]
    assert not [link for link in open_files() if str(tmp_path) in link]


def open_files() -> list[str]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return found
