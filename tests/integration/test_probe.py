"""The prober on real servers: what it finds, whom it leaves alone, and that kills lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import sqlite3
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import trustme

from decnet.bus import topics
from decnet.models import AttackerFingerprinted, FingerprintRotated
from decnet.probes.settings import ProbeSettings
from decnet.probes.talk import Wire
from decnet.probes.visit import visit_port
from tests.support import ports
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import migrated, query, worker
from tests.support.visitors import Event, decoy, spooled

PROBE = "decnet.workers.probe"
TARGET = "127.0.0.9"
# Who answers is the test's own process, which may be held up: no short time-out.
FAST = {"DECNET_PROBE_TIMEOUT": "60", "DECNET_PROBE_GAP_MS": "0", "DECNET_PROBE_LEASE": "2"}
NONE = {f"DECNET_PROBE_PORTS_{p}": "none" for p in ("JARM", "HASSH", "TCPFP", "TLS", "BANNER")}
NOW = "2026-11-24 03:00:00.000000"


def free_port(*not_like: int) -> int:
    """A port that no decky of the catalogue has: on our own addresses those are left alone."""
    ours = {port % 100 for port in (*ProbeSettings.from_env({}).own_ports, *not_like)}
    while (port := ports.free_port()) % 100 in ours:
        pass
    return port


@contextlib.contextmanager
def certificate() -> Any:
    """A server's context, and the SHA-256 of its certificate."""
    ca = trustme.CA()
    issued = ca.issue_cert("probe.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    yield context, hashlib.sha256(der).hexdigest()


@contextlib.asynccontextmanager
async def tls_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(1)
        writer.close()

    asyncio.get_running_loop().set_exception_handler(lambda loop, error: None)
    server = await asyncio.start_server(serve, TARGET, port := free_port(), ssl=context)
    try:
        yield port
    finally:
        server.close()


class Visitors:
    """A TCP server that says a banner and counts who comes."""

    def __init__(self, host: str, banner: bytes, delay: float = 0.0, not_like: int = 0) -> None:
        self.host, self.banner, self.delay = host, banner, delay
        self.count = 0
        self.port = free_port(not_like)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        with contextlib.suppress(OSError):
            await asyncio.sleep(self.delay)
            writer.write(self.banner)
            await reader.read()
        writer.close()

    async def __aenter__(self) -> Visitors:
        self.server = await asyncio.start_server(self._serve, self.host, self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.server.close()


def attack(file: Path, *addresses: str, again: str = NOW) -> None:
    """What the profiler writes of an attacker; `again` is when it was seen last."""
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        names = [row[1] for row in connection.execute("PRAGMA table_info(attackers)")]
        for ip in addresses:
            row: dict[str, Any] = dict.fromkeys(names, 0)
            row |= {"uuid": f"uuid-{ip}", "ip": ip, "first_seen": NOW, "last_seen": again}
            row |= {"updated_at": again, "identity_id": None}
            row |= dict.fromkeys(("services", "deckies", "traversal_path", "fingerprints"), "[]")
            row |= {"commands": "[]"}
            marks = ",".join("?" * len(row))
            connection.execute(
                f"INSERT INTO attackers ({','.join(row)}) VALUES ({marks}) "
                "ON CONFLICT (ip) DO UPDATE SET last_seen=excluded.last_seen, "
                "updated_at=excluded.updated_at",
                list(row.values()),
            )


def events(folder: Path) -> list[Event]:
    return spooled(folder, "probe")


def rounds_over(file: Path) -> int:
    sql = "SELECT count(*) FROM probe_rounds WHERE finished_at IS NOT NULL AND due_at IS NULL"
    return int(query(file, sql)[0][0])


async def test_probe_tells_what_real_servers_show(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    attack(file, TARGET)
    with certificate() as (context, digest):
        async with contextlib.AsyncExitStack() as stack:
            tls_port = await stack.enter_async_context(tls_server(context))
            key = asyncssh.generate_private_key("ssh-ed25519")
            sshd = await stack.enter_async_context(
                await asyncssh.listen(TARGET, free_port(), server_host_keys=[key])
            )
            ssh_port = sshd.get_port()
            ftp = await stack.enter_async_context(Visitors(TARGET, b"220 ftp\x1b[31m ready\r\n"))
            ports = {
                "DECNET_PROBE_PORTS_JARM": f"{tls_port} {ssh_port}",
                "DECNET_PROBE_PORTS_TLS": str(tls_port),
                "DECNET_PROBE_PORTS_HASSH": f"{ssh_port} {tls_port}",
                "DECNET_PROBE_PORTS_BANNER": f"{ftp.port} 1",
                "DECNET_PROBE_PORTS_TCPFP": str(tls_port),
            }
            await stack.enter_async_context(broker_process(tmp_path))
            client = await stack.enter_async_context(bus_client(tmp_path / "bus.sock"))
            told = client.subscribe(topics.ATTACKER_FINGERPRINTED)
            await client.flush()
            await stack.enter_async_context(worker(tmp_path, PROBE, **FAST, **ports))
            await until(lambda: rounds_over(file))
            found = events(tmp_path)
            by_type = {event.type: event.fields for event in found}
            kinds = Counter(e.type for e in found)
            raw = os.geteuid() == 0
            wanted = {"jarm_fingerprint", "tls_certificate", "hassh_fingerprint", "service_banner"}
            assert kinds == Counter(wanted | ({"tcpfp_fingerprint"} if raw else set()))
            assert all(e.fields["target_ip"] == TARGET for e in found)
            certificate_ = by_type["tls_certificate"]
            assert certificate_["cert_sha256"] == digest
            assert certificate_["self_signed"] == "false"
            jarm = by_type["jarm_fingerprint"]["jarm"]
            assert len(jarm) == 62 and set(jarm) != {"0"}
            assert by_type["jarm_fingerprint"]["target_port"] == str(tls_port)
            offered = by_type["hassh_fingerprint"]
            assert offered["server_version"].startswith("SSH-2.0-AsyncSSH")
            again = hashlib.md5(offered["hassh_server_algorithms"].encode()).hexdigest()
            assert offered["hassh_server"] == again
            assert by_type["service_banner"]["banner"] == "220 ftp\\x1b[31m ready"
            if raw:
                assert by_type["tcpfp_fingerprint"]["os_guess"] == "Linux"
            stored = query(file, "SELECT probe_type, last_hash FROM attacker_fingerprint_state")
            assert ("jarm", jarm) in stored and len(stored) == len(found)
            hints = []
            while len(hints) < len(found):
                event = await asyncio.wait_for(anext(told), DEADLINE)
                hints.append(AttackerFingerprinted.model_validate(event.payload))
            assert {h.hash for h in hints} == {hash_ for _, hash_ in stored}
            told.close()


async def test_probe_leaves_alone_who_is_not_allowed_and_what_is_ours(tmp_path: Path) -> None:
    """The trap of one machine: an attacker at our own address, where our own decoys listen."""
    file = await asyncio.to_thread(migrated, tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        listening = {"DECNET_DECOY_HTTP_PORT": str(free_port())}
        ours = await stack.enter_async_context(decoy(tmp_path, "http", **listening))
        theirs = Visitors(TARGET, b"hello\r\n", not_like=ours.port)
        await stack.enter_async_context(theirs)
        attack(file, "127.0.0.1", TARGET, "192.0.2.77", "Unknown", "224.0.0.1", "127.0.0.66")
        both = f"{ours.port} {theirs.port}"
        ports = NONE | {"DECNET_PROBE_PORTS_BANNER": both, "DECNET_PROBE_PORTS_JARM": both}
        own = {**listening, "DECNET_PROBE_EXCLUDE": "127.0.0.66/32"}
        before = len(ours.events("connect"))
        async with worker(tmp_path, PROBE, **FAST, **ports, **own):
            await until(lambda: rounds_over(file) == 2)
        assert theirs.count > 0
        assert len(ours.events("connect")) == before, "the prober knocked at our own decoy"
        enrolled = {ip for (ip,) in query(file, "SELECT ip FROM probe_rounds")}
        assert enrolled == {"127.0.0.1", TARGET}
        # The same visit with the port not known as ours does reach the decoy: the test can fail.
        with contextlib.closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("DELETE FROM probe_rounds")
            connection.execute("DELETE FROM state")
        async with worker(tmp_path, PROBE, **FAST, **ports):
            await until(lambda: len(ours.events("connect")) > before)


async def test_probe_visits_once_and_again_only_who_came_back(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(Visitors(TARGET, b"220 one\r\n"))
        ports = NONE | {"DECNET_PROBE_PORTS_BANNER": str(server.port), "DECNET_PROBE_TTL": "1"}
        await stack.enter_async_context(broker_process(tmp_path))
        client = await stack.enter_async_context(bus_client(tmp_path / "bus.sock"))
        rotated = client.subscribe(topics.ATTACKER_FINGERPRINT_ROTATED)
        await client.flush()
        attack(file, TARGET)
        await stack.enter_async_context(worker(tmp_path, PROBE, **FAST, **ports))
        await until(lambda: rounds_over(file) == 1)
        first = server.count
        finished = query(file, "SELECT finished_at FROM probe_rounds")[0][0]
        # Seen in an event of the prober's own, at the latest when the round ended.
        attack(file, TARGET, again=finished)
        client.publish(topics.ATTACKER_SCORED, {"attacker_ip": TARGET})
        await asyncio.sleep(1.5)
        client.publish(topics.ATTACKER_SCORED, {"attacker_ip": TARGET})
        await asyncio.sleep(0.5)
        assert server.count == first, "the prober keeps itself busy"
        server.banner = b"220 two\r\n"
        attack(file, TARGET, again="2036-01-01 00:00:00.000000")
        client.publish(topics.ATTACKER_SCORED, {"attacker_ip": TARGET})
        event = await asyncio.wait_for(anext(rotated), DEADLINE)
        told = FingerprintRotated.model_validate(event.payload)
        assert (told.probe_type, told.rotation_count) == ("banner", 1)
        assert told.new_hash == hashlib.sha256(b"220 two\r\n").hexdigest()
        state = query(file, "SELECT last_hash, rotation_count FROM attacker_fingerprint_state")
        assert state == [(told.new_hash, 1)]
        assert query(file, "SELECT rotation_count FROM attackers") == [(1,)]
        rotated.close()


async def test_probe_killed_again_and_again_forgets_nobody_and_tells_once(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    addresses: list[str] = []
    async with Visitors("0.0.0.0", b"220 slow\r\n", delay=0.05) as server:
        ports = NONE | {"DECNET_PROBE_PORTS_BANNER": str(server.port)}
        # Each has attackers of its own to tell of; nobody is claimed more than three times, or he
        # would be given up.
        for pauses in ((0.0, 0.05), (0.1,)):
            for pause in pauses:
                fresh = [f"127.0.3.{len(addresses) + n}" for n in range(1, 5)]
                addresses += fresh
                attack(file, *fresh, again=f"2026-11-24 03:{len(addresses):02}:00.000000")
                told = len(events(tmp_path))
                async with worker(tmp_path, PROBE, **FAST, **ports) as running:
                    await until(lambda told=told: len(events(tmp_path)) > told)
                    await asyncio.sleep(pause)
                    running.signal(signal.SIGKILL)
            count = len(addresses)
            async with worker(tmp_path, PROBE, **FAST, **ports):
                await until(lambda count=count: rounds_over(file) == count)
    targets = Counter(e.fields["target_ip"] for e in events(tmp_path))
    ids = Counter(e.fields["probe_id"] for e in events(tmp_path))
    assert set(targets) == set(addresses)
    assert set(ids.values()) == {1}, "an event was told twice"
    assert set(targets.values()) == {1}
    assert server.count <= 3 * 2 * len(addresses)


async def test_probe_given_up_target_does_not_stop_others(tmp_path: Path) -> None:
    """A round that was claimed again and again, as by a prober that dies of it."""
    file = await asyncio.to_thread(migrated, tmp_path)
    attack(file, TARGET, "127.0.0.10")
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "INSERT INTO probe_rounds (attacker_uuid, ip, due_at, attempts, started_at, done, "
            "pending) VALUES (?, ?, ?, 3, ?, '[]', '[]')",
            (f"uuid-{TARGET}", TARGET, NOW, NOW),
        )
    async with Visitors("0.0.0.0", b"hi\r\n") as server:
        ports = NONE | {"DECNET_PROBE_PORTS_BANNER": str(server.port)}
        async with worker(tmp_path, PROBE, **FAST, **ports):
            await until(lambda: rounds_over(file) == 2)
    told = {e.fields["target_ip"]: e.type for e in events(tmp_path)}
    assert told == {TARGET: "prober_error", "127.0.0.10": "service_banner"}


@pytest.mark.parametrize(
    ("name", "value"), [("DECNET_PROBE_TARGETS", "everyone"), ("DECNET_PROBE_PORTS_JARM", "0")]
)
async def test_probe_wrong_setting_ends_with_the_variables_name(
    tmp_path: Path, name: str, value: str
) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, PROBE, cold=True, **{name: value}) as running:
        assert await running.ended() == 78
        assert name in running.log.read_text()


def test_probe_of_a_silent_port_ends(tmp_path: Path) -> None:
    """A port that accepts and never speaks costs its time-outs and no more."""

    with socket.create_server((TARGET, 0)) as silent:
        wire = Wire(TARGET, silent.getsockname()[1], 0.1, 0.0)
        probes = ["jarm", "hassh", "tls", "banner"]
        results = asyncio.run(visit_port(wire, probes, set(probes)))
    assert results == []
