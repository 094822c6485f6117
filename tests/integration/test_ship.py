"""Forwarder and listener: real processes, real certificates, killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from decnet.run.prepare import certificates
from decnet.ship.tls import FILES
from tests.support.bus import until
from tests.support.decnet_env import Worker, migrated, query, worker
from tests.support.mounts import fill, tmpfs
from tests.support.ports import free_port
from tests.support.ship import (
    FORWARDER,
    LINE,
    LISTENER,
    authority,
    bundle,
    forwarder_env,
    lines,
    listener,
    raw,
    received,
)
from tests.support.visitors import Ran, run

needs_rsyslog = pytest.mark.skipif(
    shutil.which("rsyslogd") is None or not [*Path("/usr/lib").glob("*/rsyslog")],
    reason="needs rsyslogd: apt install rsyslog rsyslog-openssl",
)


def append(path: Path, texts: list[str]) -> None:
    with path.open("a") as file:
        file.write("".join(text + "\n" for text in texts))


def numbers(state: Path) -> list[int]:
    return [int(record["fields"]["n"]) for record in received(state)]


async def test_ship_lines_arrive_with_the_name_of_the_certificate(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1", "agent-2")
    async with listener(tmp_path / "master", ship) as (_, port):
        for name in ("agent-1", "agent-2"):
            state = tmp_path / name
            state.mkdir()
            forged = LINE.format(name, 0).replace("] text", ' source_worker="someone"] text')
            append(state / "decnet.log", [forged])
        async with (
            worker(tmp_path / "agent-1", FORWARDER, **forwarder_env(bundle(ship, "agent-1"), port)),
            worker(tmp_path / "agent-2", FORWARDER, **forwarder_env(bundle(ship, "agent-2"), port)),
        ):
            await until(lambda: len(received(tmp_path / "master")) == 2)
            with (tmp_path / "agent-1" / "decnet.log").open("a") as file:
                file.write(LINE.format("agent-1", 1))
                file.flush()
                await asyncio.sleep(1.2)  # a half line: polled twice, sent never
                assert len(received(tmp_path / "master")) == 2
                file.write("\n")
            await until(lambda: len(received(tmp_path / "master")) == 3)
    for record in received(tmp_path / "master"):
        assert record["source_worker"] == record["decky"] == record["fields"]["source_worker"]
        assert record["attacker_ip"] == "192.0.2.7"
    assert len(raw(tmp_path / "master")) == 3
    assert not (tmp_path / "master" / "decnet.db").exists(), "no database"
    assert not list((tmp_path / "master" / "spool").glob("ship*")), "not ingested by default"


@pytest.mark.timeout(500)
async def test_ship_killed_on_both_sides_again_and_again_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    """And the master's collect, so that all the way into the database every line is there once."""
    master, agent = tmp_path / "master", tmp_path / "agent"
    ship = authority(tmp_path, "agent-1")
    agent.mkdir()
    master.mkdir()
    await asyncio.to_thread(migrated, master)
    count, chance = 12_000, random.Random(5)
    port = free_port()
    living: dict[str, Worker] = {}
    stop = asyncio.Event()

    async def keep(name: str) -> None:
        while not stop.is_set():
            if name == "listener":
                env = {
                    "DECNET_SHIP_DIR": str(ship),
                    "DECNET_SWARM_SYSLOG_PORT": str(port),
                    "DECNET_LISTENER_INGEST": "true",
                    "DECNET_BUS_ENABLED": "false",
                }
                async with worker(master, LISTENER, **env) as running:
                    living[name] = running
                    await running.process.wait()
            elif name == "forwarder":
                env = forwarder_env(bundle(ship, "agent-1"), port)
                async with worker(agent, FORWARDER, **env) as running:
                    living[name] = running
                    await running.process.wait()
            else:
                env = {"DECNET_BUS_ENABLED": "false", "DECNET_BATCH_SIZE": "500"}
                async with worker(master, "decnet.workers.collect", **env) as running:
                    living[name] = running
                    await running.process.wait()

    def arrived() -> int:
        return len(raw(master))

    def stored() -> int:
        return int(query(master / "decnet.db", "SELECT count(*) FROM logs")[0][0])

    log = agent / "decnet.log"
    tasks = [asyncio.create_task(keep(name)) for name in ("listener", "forwarder", "collect")]
    try:
        written = 0
        for turn in range(8):
            append(log, lines(count // 8, first=written))
            written += count // 8
            if turn in (2, 3, 5):
                log.rename(agent / f"decnet.log.{9 - turn}")
            victim = ("forwarder", "listener", "forwarder", "listener", "collect")[turn % 5]
            goal = arrived() + chance.randrange(1, 1200)
            await until(lambda: arrived() >= min(goal, written))  # noqa: B023
            with contextlib.suppress(ProcessLookupError, KeyError):
                living[victim].signal(signal.SIGKILL)
        async with asyncio.timeout(240):
            while arrived() < count or stored() < count:
                assert not any(task.done() for task in tasks), tasks
                await asyncio.sleep(0.05)
    finally:
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert numbers(master) == list(range(count)), "all, once, in order"
    assert len(raw(master)) == count
    rows = query(
        master / "decnet.db",
        "SELECT count(*), count(DISTINCT json_extract(fields, '$.n')),"
        " min(json_extract(fields, '$.source_worker')) FROM logs",
    )
    assert rows == [(count, count, "agent-1")]
    assert not list((master / "spool").glob(".ship.*"))


async def test_ship_forwarder_waits_for_a_master_and_reads_over_rotations(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1")
    agent, master = tmp_path / "agent", tmp_path / "master"
    agent.mkdir()
    log = agent / "decnet.log"
    append(log, lines(10))
    async with listener(master, ship) as (_, port):
        env = forwarder_env(bundle(ship, "agent-1"), port)
        async with worker(agent, FORWARDER, **env):
            await until(lambda: len(received(master)) == 10)
    # Everybody is away, and the log is rotated three times.
    for turn in (3, 2, 1):
        append(log, lines(10, first=10 * (4 - turn)))
        log.rename(agent / f"decnet.log.{turn}")
    append(log, lines(10, first=40))
    async with worker(agent, FORWARDER, **env) as running:
        await until(lambda: "trying again" in running.log.read_text())
        async with listener(master, ship, port):
            await until(lambda: len(received(master)) == 50)
    assert numbers(master) == list(range(50))


async def test_ship_forwarder_drops_the_oldest_beyond_its_limit_and_counts(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1")
    agent, master = tmp_path / "agent", tmp_path / "master"
    agent.mkdir()
    long = [line + "x" * 1000 for line in lines(3000)]
    append(agent / "decnet.log", long)
    async with listener(master, ship) as (_, port):
        env = {**forwarder_env(bundle(ship, "agent-1"), port), "DECNET_FORWARDER_LAG_MIB": "1"}
        async with worker(agent, FORWARDER, **env) as running:
            await until(lambda: numbers(master)[-1:] == [2999])
            await until(lambda: "lines dropped" in running.log.read_text())
    found = numbers(master)
    assert found == list(range(found[0], 3000)), "the newest, without a hole"
    assert 500 < len(found) < 1500


async def test_ship_listener_waits_for_a_full_disk(tmp_path: Path) -> None:
    ship = authority(tmp_path, "agent-1")
    agent, master = tmp_path / "agent", tmp_path / "master"
    agent.mkdir()
    with tmpfs(tmp_path / "small", "1m") as small:
        async with listener(master, ship, DECNET_MASTER_LOG_FILE=str(small / "master.log")) as (
            running,
            port,
        ):
            env = forwarder_env(bundle(ship, "agent-1"), port)
            async with worker(agent, FORWARDER, **env):
                append(agent / "decnet.log", lines(100))
                await until(lambda: len(received(small)) == 100)
                filler = fill(small, leave=900)
                append(agent / "decnet.log", lines(900, first=100))
                await until(lambda: "cannot write" in running.log.read_text())
                filler.unlink()
                await until(lambda: len(received(small)) == 1000)
        assert numbers(small) == list(range(1000))
        assert len(raw(small)) == 1000


async def test_ship_workers_without_certificates_say_what_to_do(tmp_path: Path) -> None:
    for module, remedy in ((FORWARDER, "ca issue"), (LISTENER, "ca init")):
        async with worker(tmp_path, module, DECNET_BUS_ENABLED="false") as running:
            assert await running.ended() == 78
            assert remedy in running.log.read_text()
    ship = authority(tmp_path, "agent-1")
    (bundle(ship, "agent-1") / "worker.key").chmod(0o644)
    async with worker(tmp_path, FORWARDER, **forwarder_env(bundle(ship, "agent-1"), 1)) as running:
        assert await running.ended() == 78
        assert "chmod 600" in running.log.read_text()


async def test_ship_with_certificates_from_the_command_line(tmp_path: Path) -> None:
    master, agent = tmp_path / "master", tmp_path / "agent"
    agent.mkdir()

    async def ca(*arguments: str) -> Ran:
        command = (sys.executable, "-m", "decnet.cli.app", "ca", *arguments)
        return await run(*command, DECNET_STATE_DIR=str(master))

    assert "ca init" in (await ca("issue", "web-7")).err
    assert (await ca("init")).code == 0
    assert "already" in (await ca("init")).out
    made = await ca("issue", "web-7", "--out", str(agent / "etc"))
    assert made.out.split() == [str(agent / "etc" / f"{n}") for n in FILES]
    assert (await ca("issue", "../web")).code != 0
    append(agent / "decnet.log", lines(3))
    async with listener(master, master / "ship") as (_, port):
        async with worker(agent, FORWARDER, **forwarder_env(agent / "etc", port)):
            await until(lambda: len(received(master)) == 3)
    assert {record["source_worker"] for record in received(master)} == {"web-7"}


def test_ship_certificates_of_one_machine_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECNET_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DECNET_MODE", "agent")
    certificates()
    assert not (tmp_path / "ship").exists(), "an agent gets them from its master"
    monkeypatch.delenv("DECNET_MODE")
    certificates()
    before = (tmp_path / "ship" / "agent" / "worker.crt").read_bytes()
    certificates()
    assert (tmp_path / "ship" / "agent" / "worker.crt").read_bytes() == before
    assert (tmp_path / "ship" / "master" / "worker.key").exists()


@needs_rsyslog
async def test_ship_rsyslog_sends_to_the_listener(tmp_path: Path) -> None:
    ship = authority(tmp_path, "rsyslog-1")
    certificates = bundle(ship, "rsyslog-1")
    master = tmp_path / "master"
    async with listener(master, ship) as (_, port):
        config = tmp_path / "rsyslog.conf"
        config.write_text(f"""
global(workDirectory="{tmp_path}" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{certificates}/ca.crt"
  defaultNetstreamDriverCertFile="{certificates}/worker.crt"
  defaultNetstreamDriverKeyFile="{certificates}/worker.key")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{tmp_path}/in.sock" CreatePath="off" useSpecialParser="on")
action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" tcp_framing="octet-counted"
  action.resumeRetryCount="-1"
  template="RSYSLOG_SyslogProtocol23Format" streamDriver="ossl" streamDriverMode="1"
  streamDriverAuthMode="x509/certvalid")
""")
        rsyslog = await asyncio.create_subprocess_exec(
            *("rsyslogd", "-n", "-f", str(config), "-i", str(tmp_path / "pid")),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await until(lambda: (tmp_path / "in.sock").exists())
            for number in range(20):
                text = f"Failed password for root from 192.0.2.{number} port 22"
                ran = await asyncio.create_subprocess_exec(
                    *("logger", "-u", str(tmp_path / "in.sock"), "-t", "sshd", text)
                )
                assert await ran.wait() == 0
            await until(lambda: len(received(master)) >= 20)
        finally:
            rsyslog.terminate()
            await rsyslog.wait()
    found = received(master)[-20:]
    assert [record["attacker_ip"] for record in found] == [f"192.0.2.{n}" for n in range(20)]
    assert {record["service"] for record in found} == {"sshd"}
    assert {record["source_worker"] for record in found} == {"rsyslog-1"}


def test_ship_workers_load_no_orm() -> None:
    code = (
        "import decnet.workers.forwarder, decnet.workers.listener, sys;"
        "print([m for m in ('sqlalchemy', 'sqlmodel', 'pydantic', 'cryptography')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        ["python", "-c", code],
        executable=sys.executable,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.stdout.strip() == "[]"
