"""The canary as a visitor meets it: curl, a resolver, floods, kills, a database in trouble."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import dns.rcode
import pytest

from decnet.bus import topics
from decnet.canary import store
from decnet.cli import canary as cli
from decnet.db.engine import Database
from decnet.db.tables import CanaryToken
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.decnet_env import Worker, migrated, query, worker
from tests.support.mounts import fill, tmpfs
from tests.support.ports import free_port

CANARY = "decnet.workers.canary"
ZONE = "canary.test"
ROOT = Path(__file__).resolve().parents[2]


class Place:
    """A state folder with a token, and the ports of its canary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.dns_port = free_port(), free_port()
        self.env = {
            "DECNET_CANARY_PORT": str(self.port),
            "DECNET_CANARY_DNS_PORT": str(self.dns_port),
            "DECNET_CANARY_DNS_ZONE": ZONE,
            "DECNET_TRUSTED_PROXIES": "127.0.0.0/8",
        }
        self.token = CanaryToken(name="", kind="", callback_token="", fingerprint_nonce="")

    async def make(self, name: str = "bait") -> CanaryToken:
        database = Database(f"sqlite+aiosqlite:///{self.folder}/decnet.db")
        await database.open()
        try:
            self.token = await database.write(lambda s: store.add(s, name))
            return self.token
        finally:
            await database.close()

    async def get(self, path: str, *headers: str) -> bytes:
        """A plain request, the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
        writer.write("\r\n".join(lines).encode())
        data = await reader.read()
        writer.close()
        return data

    def triggers(self) -> int:
        return int(query(self.folder / "decnet.db", "SELECT count(*) FROM canary_triggers")[0][0])

    @contextlib.asynccontextmanager
    async def running(self, **env: str) -> AsyncIterator[Worker]:
        async with worker(self.folder, CANARY, **self.env, **env) as made:
            before = self._begun

            def listening() -> bool:
                # Its own word, not a connection: the DNS port comes after that of HTTP.
                self._begun = made.log.read_text().count(f"http on 127.0.0.1:{self.port}, dns")
                return self._begun > before or made.process.returncode is not None

            await until(listening)
            assert made.process.returncode is None, made.log.read_text()
            yield made

    _begun = 0


@pytest.fixture
async def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    await asyncio.to_thread(migrated, tmp_path)
    await made.make()
    return made


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs the package curl")
async def test_canary_answers_curl_the_same_for_known_and_unknown(place: Place) -> None:
    slug = place.token.callback_token

    async def curl(*words: str) -> bytes:
        done = await asyncio.to_thread(
            subprocess.run, ["curl", "-si", *words], capture_output=True, timeout=DEADLINE
        )
        return b"\n".join(x for x in done.stdout.split(b"\n") if not x.startswith(b"Date"))

    async with place.running():
        base = f"http://127.0.0.1:{place.port}"
        known = await curl(f"{base}/c/{slug}", "-A", "Mozilla", "-H", "X-Forwarded-For: 9.9.9.9")
        assert known == await curl(f"{base}/c/{store.make_slug()}")
        assert b"Server: nginx" in known and b"GIF89a" in known
        assert (await curl(f"{base}/")).startswith(b"HTTP/1.1 404")
        assert b"200 OK" in await curl("-X", "POST", "-d", "x=y", f"{base}/c/{slug}/bucket")
        assert b"200 OK" in await curl("-I", f"{base}/c/{slug}.gif")
        await until(lambda: place.triggers() == 3)
    rows = query(
        place.folder / "decnet.db",
        "SELECT src_ip, user_agent, request_path, raw_headers FROM canary_triggers ORDER BY id",
    )
    assert rows[0][:3] == ("9.9.9.9", "Mozilla", f"/c/{slug}")
    assert json.loads(rows[0][3])["x-forwarded-for"] == "9.9.9.9"
    assert rows[1][0] == "127.0.0.1" and rows[1][2] == f"/c/{slug}/bucket"
    count = query(place.folder / "decnet.db", "SELECT trigger_count FROM canary_tokens")
    assert count == [(3,)]


async def test_canary_answers_resolvers_and_tells_the_bus(place: Place) -> None:
    slug = place.token.callback_token

    async def ask(name: str) -> Any:
        question = dns.message.make_query(name, "A")
        return await asyncio.to_thread(
            dns.query.udp, question, "127.0.0.1", port=place.dns_port, timeout=DEADLINE
        )

    async with place.running() as running, broker_process(place.folder) as broker:
        # The bus came after the worker.
        async with bus_client(broker.path) as bus:
            told = bus.subscribe("canary.>")
            await bus.flush()
            event = None
            async with asyncio.timeout(DEADLINE):
                while event is None:  # the worker finds the bus in a while
                    answer = await ask(f"aGk.{slug.upper()}.{ZONE}")
                    assert answer.answer[0].to_text().endswith("192.0.2.1")
                    await asyncio.sleep(0.2)
                    event = told.try_get()
            assert (await ask(f"nothing.{ZONE}")).rcode() == dns.rcode.NXDOMAIN
            assert (await ask("example.org")).rcode() == dns.rcode.REFUSED
            assert event.topic == f"canary.{place.token.uuid}.triggered"
            assert event.payload["dns_qname"] == f"aGk.{slug.upper()}.{ZONE}"
            assert event.payload["src_ip"] == "127.0.0.1"
            bus.publish(topics.control("canary"), {"action": "stop", "requested_by": "test"})
            assert await running.ended() == 0
    assert place.triggers() >= 1


async def test_canary_survives_nonsense(place: Place) -> None:
    slug = place.token.callback_token
    async with place.running():
        for noise in (b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\r\n\r\n", b"A" * 40_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
            writer.write(noise + b"\n")
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(DEADLINE):
                    assert b"200 OK" not in await reader.read()
            writer.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for noise in (b"", b"\0" * 12, b"\xff" * 40, b"\0" * 5000):
                sock.sendto(noise, ("127.0.0.1", place.dns_port))
        idle = [await asyncio.open_connection("127.0.0.1", place.port) for _ in range(600)]
        assert b"GIF89a" in await place.get(f"/c/{slug}")
        await until(lambda: place.triggers() == 1)
        for _, writer in idle:
            writer.close()


@pytest.mark.timeout(300)
async def test_canary_killed_again_and_again_loses_and_doubles_no_answered_hit(
    place: Place,
) -> None:
    slug, answered = place.token.callback_token, 0
    for _ in range(4):
        async with place.running() as running:
            # Another writer has the lock, so the hits are in the journal when the kill comes.
            with contextlib.closing(
                sqlite3.connect(place.folder / "decnet.db", timeout=DEADLINE)
            ) as locked:
                locked.execute("BEGIN IMMEDIATE")
                for number in range(20):
                    assert b"GIF89a" in await place.get(f"/c/{slug}/{number}")
                    answered += 1
                running.signal(signal.SIGKILL)
                await running.ended()
    async with place.running():
        await until(lambda: place.triggers() == answered)
        journal = place.folder / "canary-hits.jsonl"
        await until(lambda: journal.stat().st_size == 0)
    count = query(place.folder / "decnet.db", "SELECT trigger_count FROM canary_tokens")
    assert count == [(answered,)]


@pytest.mark.timeout(300)
async def test_canary_on_a_full_disk_keeps_its_hits(place: Place) -> None:
    slug = place.token.callback_token
    with tmpfs(place.folder / "small", "4m") as small:
        place.folder = small
        await asyncio.to_thread(migrated, small)
        slug = (await place.make()).callback_token
        async with place.running() as running:
            await place.get(f"/c/{slug}")
            await until(lambda: place.triggers() == 1)
            filler = fill(small)
            for number in range(100):
                assert b"GIF89a" in await place.get(f"/c/{slug}/{number}")
            assert running.process.returncode is None
            filler.unlink()
            await until(lambda: place.triggers() == 101)
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0


async def test_canary_fingerprint_is_stored_and_ends_the_token(place: Place) -> None:
    token = place.token
    told = {
        "nonce": token.fingerprint_nonce,
        "mint": token.uuid,
        "nav": {"ua": "x"},
        "screen": [1, 2, 3],
        "tz": {"off": 60},
    }
    data = base64.urlsafe_b64encode(json.dumps(told).encode()).decode().rstrip("=")
    async with place.running():
        for piece, number in ((data[50:], 1), (data[:50], 0)):
            path = f"/c/{token.callback_token}.gif?s=a&i={number}&n=2&d={piece}"
            assert b"GIF89a" in await place.get(path)
        await until(lambda: place.triggers() == 1)
        assert b"GIF89a" in await place.get(f"/c/{token.callback_token}")
    rows = query(place.folder / "decnet.db", "SELECT fingerprint FROM canary_triggers")
    assert json.loads(rows[0][0]) == {k: told[k] for k in ("nav", "screen", "tz")}
    state = "SELECT state, revoked_reason, trigger_count FROM canary_tokens"
    assert query(place.folder / "decnet.db", state) == [("revoked", "fingerprinted", 1)]


async def test_canary_command_line_makes_bait_and_shows_who_took_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"DECNET_STATE_DIR": str(place.folder), **place.env}.items():
        monkeypatch.setenv(name, value)

    async def say(verb: Callable[..., None], *words: Any, **options: Any) -> str:
        capsys.readouterr()
        await asyncio.to_thread(verb, *words, **options)
        return capsys.readouterr().out

    async def refuse(verb: Callable[..., None], *words: Any, **options: Any) -> None:
        with pytest.raises(store.CanaryError):
            await asyncio.to_thread(verb, *words, **options)

    notes, out = place.folder / "notes.txt", place.folder / "out.txt"
    notes.write_text("the plan\n")
    async with place.running():
        made = await say(cli.add, "keys", make="aws", decky="web-01", as_json=True)
        url = json.loads(made)["url"]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "decnet.cli.app", "canary", "render", "keys"],
            capture_output=True,
            timeout=2 * DEADLINE,
            cwd=ROOT,
        )
        assert url.encode() in done.stdout, done.stderr
        await say(cli.add, "notes", file=notes)
        await say(cli.render_, "notes", out)
        assert out.read_text().startswith("the plan\nfull copy: http")
        # Made while the worker runs, without a bus to tell it.
        assert b"GIF89a" in await place.get("/c/" + url.rpartition("/")[2])
        await until(lambda: place.triggers() == 1)
        seen = json.loads(await say(cli.triggers, "keys", as_json=True))
        assert [row["src_ip"] for row in seen] == ["127.0.0.1"]
        assert "127.0.0.1" in await say(cli.triggers)
        await say(cli.revoke, "keys")
        listed = json.loads(await say(cli.list_, as_json=True))
        states = {row["name"]: row["state"] for row in listed}
        assert states == {"bait": "planted", "keys": "revoked", "notes": "planted"}
        assert all("fingerprint_nonce" not in row for row in listed)
    await refuse(cli.add, "x", make="nothing")
    await refuse(cli.add, "x", file=Path("/nonexistent.txt"))
    await refuse(cli.render_, "bait")
    await refuse(cli.revoke, "nobody")


async def test_canary_says_which_port_is_taken(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", place.port))
        taken.listen()
        async with worker(place.folder, CANARY, cold=True, **place.env) as running:
            assert await running.ended() != 0
            assert "DECNET_CANARY_PORT" in running.log.read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", place.dns_port))
        async with worker(place.folder, CANARY, cold=True, **place.env) as running:
            assert await running.ended() != 0
            assert "DECNET_CANARY_DNS_PORT" in running.log.read_text()
