"""The sniffer on real packets: real clients on a real link, in a network of their own."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from decnet.bus import topics
from decnet.decoys import catalogue
from decnet.models import DeckyTraffic
from decnet.packets.capture import Capture
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import Worker, migrated, query, worker
from tests.support.visitors import Event, decoy, run, spooled, ssh

SNIFFER = "decnet.workers.sniffer"
LINK = ip_address("198.18.0.0") + 4 * (os.getpid() % (1 << 14))
"""A network of four addresses of this process's own (RFC 2544): others may try this as well."""
HERE, THERE = str(LINK + 1), str(LINK + 2)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a packet socket needs CAP_NET_RAW")


def needs(program: str, package: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"no {program} here: install the Debian package {package}")


@pytest.fixture
def link() -> Iterator[str]:
    """A pair of network interfaces, its other end in a namespace; the namespace's name."""
    needs("ip", "iproute2")
    name = f"sniff{os.getpid()}"
    near = f"sn{os.getpid()}"
    steps = (
        f"netns add {name}",
        f"link add {near} type veth peer name far0 netns {name}",
        f"addr add {HERE}/30 dev {near}",
        f"link set {near} up",
        f"-n {name} addr add {THERE}/30 dev far0",
        f"-n {name} link set far0 up",
    )
    try:
        for step in steps:
            done = subprocess.run(["ip", *step.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces here: {done.stderr.strip()}")
        yield name
    finally:
        subprocess.run(["ip", "link", "del", near], capture_output=True)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


@contextlib.asynccontextmanager
async def sniffing(folder: Path, **env: str) -> AsyncIterator[Worker]:
    """A sniffer that has opened its socket, as its bus heartbeat tells."""
    async with broker_process(folder), bus_client(folder / "bus.sock") as client:
        beats = client.subscribe(topics.health("sniffer"))
        await client.flush()
        async with worker(folder, SNIFFER, **env) as running:
            async with asyncio.timeout(DEADLINE):
                while "packets_dropped" not in (await anext(beats)).payload:
                    pass
            beats.close()
            yield running


def told(folder: Path, *kinds: str) -> list[Event]:
    return [event for event in spooled(folder, "sniffer") if event.type in kinds]


async def until_told(folder: Path, *kinds: str, count: int = 1) -> list[Event]:
    found: list[Event] = await until(
        lambda: (events := told(folder, *kinds)) and len(events) >= count and events
    )
    return found


@contextlib.asynccontextmanager
async def https(host: str) -> AsyncIterator[tuple[int, str]]:
    """A TLS server: its port, and its certificate's SHA-256."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    issued = trustme.CA().issue_cert("sniffer.test")
    issued.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], hashlib.sha256(der).hexdigest()
    finally:
        server.close()


@needs_root
async def test_sniffer_names_real_clients_over_a_real_link(tmp_path: Path, link: str) -> None:
    """curl over TLS and plain, and nmap, from another network namespace."""
    needs("curl", "curl")
    needs("nmap", "nmap")
    inside = ("ip", "netns", "exec", link)
    async with https(HERE) as (port, digest):
        watched = {"DECNET_SNIFFER_IFACE": f"sn{os.getpid()}"}
        watched["DECNET_SNIFFER_PORTS"] = f"{port}=web-07/https"
        async with sniffing(tmp_path, **watched):
            async with bus_client(tmp_path / "bus.sock") as client:
                traffic = client.subscribe(topics.decky_traffic("web-07"))
                await client.flush()
                url = f"https://{HERE}:{port}/"
                assert (await run(*inside, "curl", "-sk", url)).out == "ok"
                (hello,) = await until_told(tmp_path, "tls_client_hello")
                (session,) = await until_told(tmp_path, "tls_session")
                (certificate,) = await until_told(tmp_path, "tls_certificate")
                await until_told(tmp_path, "tcp_flow_timing")
                event = await asyncio.wait_for(anext(traffic), DEADLINE)
                payload = DeckyTraffic.model_validate(event.payload)
                assert (event.type, payload.src_ip) == ("tls_client_hello", THERE)
                traffic.close()
            await run(*inside, "nmap", "-sS", "-Pn", "-n", "-p", str(port), HERE)
            await until(lambda: "nmap" in {e.fields.get("os_guess") for e in syns(tmp_path)})
    assert hello.fields["src_ip"] == THERE and hello.fields["dst_port"] == str(port)
    assert len(hello.fields["ja3"]) == 32 and hello.fields["ja4"].startswith("t13i")
    assert hashlib.md5(hello.fields["ja3_raw"].encode()).hexdigest() == hello.fields["ja3"]
    assert session.fields["tls_version"] == "12"
    assert certificate.fields["cert_sha256"] == digest
    assert {e.fields["os_guess"] for e in syns(tmp_path)} == {"Linux", "nmap"}
    linux = next(e for e in syns(tmp_path) if e.fields["os_guess"] == "Linux")
    assert (linux.fields["ttl"], linux.fields["hop_distance"]) == ("64", "0")


def syns(folder: Path) -> list[Event]:
    return told(folder, "tcp_syn_fingerprint")


@needs_root
async def test_sniffer_reads_ssh_and_http_on_the_loopback(tmp_path: Path) -> None:
    """The decoys as they are, the machine's own ssh and curl; through collect into the database."""
    needs("ssh", "openssh-client")
    needs("curl", "curl")
    file = await asyncio.to_thread(migrated, tmp_path)
    async with contextlib.AsyncExitStack() as stack:
        shell = await stack.enter_async_context(decoy(tmp_path, "ssh"))
        web = await stack.enter_async_context(decoy(tmp_path, "http"))
        ports = f"{shell.port}=decky-01/ssh {web.port}=decky-01/http"
        await stack.enter_async_context(sniffing(tmp_path, DECNET_SNIFFER_PORTS=ports))
        options = ("-o", "KexAlgorithms=curve25519-sha256,ecdh-sha2-nistp256")
        options += ("-o", "Ciphers=aes256-ctr,aes128-ctr", "-o", "MACs=hmac-sha2-256")
        await ssh(tmp_path, shell.port, "id", options=options)
        await run("curl", "-s", "-A", "tester/1", "-b", "a=b", f"http://127.0.0.1:{web.port}/")
        (banner,) = await until_told(tmp_path, "ssh_client_banner")
        (request,) = await until_told(tmp_path, "http_request_fingerprint")
        await until_told(tmp_path, "tcp_flow_timing", count=2)
        await stack.enter_async_context(worker(tmp_path, "decnet.workers.collect"))
        sql = "SELECT event_type FROM logs WHERE service = 'sniffer' AND attacker_ip = '127.0.0.1'"
        await until(lambda: len(query(file, sql)) >= 5)
    assert banner.fields["client_version"].startswith("SSH-2.0-OpenSSH")
    # Computed by hand of what the client was told to offer; it adds its own marks to the first.
    kex, ciphers, macs, compression = banner.fields["hassh_algorithms"].split(";")
    assert kex.startswith("curve25519-sha256,ecdh-sha2-nistp256")
    assert (ciphers, macs) == ("aes256-ctr,aes128-ctr", "hmac-sha2-256")
    assert compression.startswith("none")
    text = f"{kex};{ciphers};{macs};{compression}"
    assert banner.fields["hassh"] == hashlib.md5(text.encode()).hexdigest()
    order = request.fields["header_order"]
    assert order.split(",")[:2] == ["Host", "User-Agent"] and "Cookie" in order
    wanted = hashlib.sha256(f"1.1:{order}".encode()).hexdigest()[:24]
    assert request.fields["header_print"] == wanted
    assert request.fields["user_agent"] == "tester/1"
    # On lo each packet passes twice: it is counted once.
    flows = told(tmp_path, "tcp_flow_timing")
    web_flow = next(f for f in flows if f.fields["service"] == "http")
    assert web_flow.fields["retransmits"] == "0" and web_flow.fields["end"] == "closed"


async def test_sniffer_without_its_interface_waits_and_comes_back(tmp_path: Path) -> None:
    """Also where CAP_NET_RAW is missing: it is up, and says what is missing."""
    env = {"DECNET_SNIFFER_IFACE": "nosuch0", "DECNET_SNIFFER_RETRY": "1"}
    async with broker_process(tmp_path), bus_client(tmp_path / "bus.sock") as client:
        beats = client.subscribe(topics.health("sniffer"))
        await client.flush()
        async with worker(tmp_path, SNIFFER, cold=True, **env) as running:
            async with asyncio.timeout(DEADLINE):
                while not (said := (await anext(beats)).payload.get("waiting")):
                    pass
            missing = "CAP_NET_RAW" if os.geteuid() else "the interface 'nosuch0'"
            assert str(said).startswith(f"waiting for {missing}")
            assert running.process.returncode is None
            running.process.terminate()
            assert await running.ended() == 0
        beats.close()


@needs_root
async def test_sniffer_and_prober_without_the_capability_say_so(tmp_path: Path) -> None:
    """Root without CAP_NET_RAW, as in a container: both are up, the prober works without SYNs."""
    needs("setpriv", "util-linux")
    file = await asyncio.to_thread(migrated, tmp_path)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(attackers)")]
        row: dict[str, object] = dict.fromkeys(columns, "[]")
        row |= {name: 0 for name in columns if name.startswith("is_") or name.endswith("count")}
        row |= {"uuid": "u", "ip": "127.0.0.9", "identity_id": None}
        row |= dict.fromkeys(
            ("first_seen", "last_seen", "updated_at"), "2026-11-24 03:00:00.000000"
        )
        marks = ",".join("?" * len(row))
        connection.execute(f"INSERT INTO attackers VALUES ({marks})", list(row.values()))
    log = tmp_path / "said"
    async with contextlib.AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.9", 0)
        stack.callback(server.close)
        port = str(server.sockets[0].getsockname()[1])
        env = os.environ | {
            "DECNET_STATE_DIR": str(tmp_path),
            "DECNET_PROBE_PORTS_TCPFP": port,
            # Whatever port the kernel chose: no decky is to have it.
            **{f"DECNET_DECOY_{kind.upper()}_PORT": "0" for kind in catalogue.kinds()},
        }
        for module in (SNIFFER, "decnet.workers.probe"):
            process = await asyncio.create_subprocess_exec(
                *("setpriv", "--bounding-set", "-net_raw", sys.executable, "-m", module),
                env=env,
                stderr=stack.enter_context(log.open("a")),
            )
            stack.push_async_callback(process.wait)
            stack.callback(process.kill)
        for text in ("waiting for CAP_NET_RAW", "without the probe 'tcpfp'"):
            await until(lambda text=text: text in log.read_text())


@needs_root
async def test_sniffer_survives_a_link_that_goes_and_comes(tmp_path: Path, link: str) -> None:
    needs("curl", "curl")
    near = f"sn{os.getpid()}"
    env = {"DECNET_SNIFFER_IFACE": near, "DECNET_SNIFFER_RETRY": "1"}
    async with https(HERE) as (port, _):
        async with sniffing(tmp_path, DECNET_SNIFFER_PORTS=str(port), **env) as running:
            await run("ip", "link", "set", near, "down")
            await until(lambda: "no more packets" in running.log.read_text())
            await run("ip", "link", "set", near, "up")

            async def visit() -> None:
                while not told(tmp_path, "tls_client_hello"):
                    url = f"https://{HERE}:{port}/"
                    await run("ip", "netns", "exec", link, "curl", "-skm", "2", url)
                    await asyncio.sleep(0.1)

            await asyncio.wait_for(visit(), DEADLINE)


@needs_root
async def test_sniffer_reads_no_more_than_its_rate_and_counts_what_the_kernel_drops() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        capture = Capture("lo", {port: None}, 100)
        try:
            capture.start(lambda data, time: seen.append(data))
            loop = asyncio.get_running_loop()
            with socket.create_connection(("127.0.0.1", port)) as client:
                peer, _ = server.accept()
                with peer:
                    client.setblocking(False)
                    began = loop.time()
                    # More than the kernel's buffer holds, in packets of up to 64 KiB.
                    for _ in range(3000):
                        await loop.sock_sendall(client, b"x" * 16_000)
                        peer.recv(1 << 16)
                    assert len(seen) <= 100 * (loop.time() - began + 0.3)
                    await until(lambda: capture.count_drops() > 0)
            assert len(seen) == capture.received
        finally:
            capture.close()


@needs_root
async def test_sniffer_keeps_one_capability_only(tmp_path: Path) -> None:
    async with sniffing(tmp_path, DECNET_SNIFFER_PORTS="9") as running:
        status = Path(f"/proc/{running.pid}/status").read_text()
        for name in ("CapPrm", "CapEff", "CapBnd"):
            assert f"{name}:\t{1 << 13:016x}" in status


def test_scapy_is_in_the_branch_and_not_in_the_floor() -> None:
    def loaded(module: str) -> set[str]:
        code = f"import {module}, sys; print(*sys.modules)"
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return {name.partition(".")[0] for name in ran.stdout.decode().split()}

    assert "scapy" in loaded("decnet.packets.floor")
    assert "scapy" not in loaded("decnet.floor")
    # The sniffer itself, alone, loads no database.
    assert not loaded("decnet.workers.sniffer") & {"sqlalchemy", "sqlmodel", "pydantic", "fastapi"}
