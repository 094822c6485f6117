"""Recordings, cursors, heartbeats and settings of the web side, without a server."""

from __future__ import annotations

import asyncio
import json
import threading
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi import HTTPException
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col

from decnet.bus.client import BusClient
from decnet.bus.subscription import Event
from decnet.context import WorkerError
from decnet.db.tables import Attacker, Log
from decnet.settings import Settings
from decnet.web.api import recordings, registry
from decnet.web.api.paging import _decode, _encode
from decnet.web.front.files import Files
from decnet.web.front.settings import WebSettings
from decnet.workers import api as api_worker
from tests.support.api import NOW


def shard(tmp_path: Path, lines: list[bytes]) -> Path:
    folder = tmp_path / "decky" / "ssh" / "transcripts"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sessions.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_recording_comes_in_parts_that_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "EVENTS_MOST", 3)
    made = [json.dumps({"sid": f"s{n % 2}", "event": [n, "o", str(n)]}) for n in range(20)]
    path = shard(tmp_path, [line.replace(" ", "").encode() for line in made])
    offset: int | None = 0
    texts = []
    while offset is not None:
        piece = recordings.read(tmp_path, str(path), "s1", offset)
        assert len(piece.events) <= 3
        texts += [text for _, _, text in piece.events]
        offset = piece.next
    assert texts == [str(n) for n in range(1, 20, 2)]


@given(st.lists(st.binary(max_size=60), max_size=20), st.integers(0, 2000))
def test_recording_of_any_bytes_is_read_or_passed_over(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], offset: int
) -> None:
    folder = tmp_path_factory.mktemp("shard")
    path = shard(folder, [b'{"sid":"s",' + line for line in lines])
    piece = recordings.read(folder, str(path), "s", offset)
    assert json.dumps(piece.events).encode("utf-8")


@pytest.mark.parametrize("path", ["", "\0", "/etc/passwd", "x/../../../etc/passwd", "transcripts"])
def test_recording_outside_of_the_artifacts_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(recordings.NoRecording):
        recordings.read(tmp_path / "artifacts", path, "s")


def test_recording_through_a_link_to_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    link = tmp_path / "artifacts" / "transcripts" / "link"
    link.parent.mkdir(parents=True)
    link.symlink_to(secret)
    with pytest.raises(recordings.NoRecording):
        recordings.read(tmp_path / "artifacts", str(link), "s")


def test_cursor_round_trip() -> None:
    keys = [col(Attacker.last_seen), col(Attacker.uuid)]
    assert _decode(_encode([NOW, "a"]), keys) == [NOW, "a"]
    assert _decode(_encode([7]), [col(Log.id)]) == [7]


@given(st.text(max_size=80) | st.binary(max_size=60).map(lambda b: _encode([b.hex(), 1])))
def test_cursor_that_is_none_is_refused_and_never_a_fault(text: str) -> None:
    with pytest.raises(HTTPException) as refused:
        _decode(text, [col(Attacker.last_seen), col(Attacker.uuid)])
    assert refused.value.status_code == 422


def beat(name: str, **fields: object) -> Event:
    payload = {"worker": name, "ts": 1.0, "pid": 7, "uptime_sec": 1.0, **fields}
    return Event(f"system.{name}.health", "health", payload, "", 0.0)


def test_registry_keeps_the_last_beat_and_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "NAMES_MOST", 3)
    beats = registry.Registry(BusClient("/nowhere", "api", enabled=False))
    for number in range(5):
        beats.hear(beat(f"w{number}", queue=number, note="x" * 9999))
    beats.hear(beat("w3", queue=9, pid="no number"))
    beats.hear(beat("collector", queue=1))
    assert list(beats.beats) == ["w3", "w4", "collector"]
    assert beats.bad == 1
    found = beats.get("collect")
    assert found is not None and found.fields["queue"] == 1
    assert len(beats.beats["w4"].fields["note"]) == registry.TEXT_MOST
    assert found.age(found.heard + 91) > registry.STALE_SECONDS


def test_web_settings_reach_an_interface_that_listens_everywhere(tmp_path: Path) -> None:
    for host, url in (
        *(("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")),
        *(("::1", "http://[::1]:8000"), ("10.1.2.3", "http://10.1.2.3:8000")),
    ):
        env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_API_HOST": host}
        assert WebSettings.from_env(Settings.from_env(env), env).upstream == url


def test_web_without_its_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkerError) as error:
        Files.load(tmp_path)
    assert error.value.exit_code == 78


def test_web_index_names_only_files_that_are_there() -> None:
    found = Files.load()
    root = files("decnet.web").joinpath("static")
    index = root.joinpath("index.html").read_text()
    for name in ("/style.css", "/js/app.js", "/favicon.svg"):
        assert name in index
        assert found.get(name) is not found.get("/index.html")


async def test_api_rehearsal_answers_all_and_leaves_nothing_bound(tmp_path: Path) -> None:
    statuses: list[int] = []
    real = api_worker.ask

    async def noted(*arguments: object) -> int:
        statuses.append(await real(*arguments))  # type: ignore[arg-type]
        return statuses[-1]

    before = {thread.name for thread in threading.enumerate()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_worker, "ask", noted)
        await api_worker.rehearse(tmp_path)
    assert set(statuses) == {200}
    assert not api_worker.APP.state._state
    async with asyncio.timeout(30):
        # A closed connection's thread ends a moment later.
        while {thread.name for thread in threading.enumerate()} - before:
            await asyncio.sleep(0.01)
