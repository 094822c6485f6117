"""The REST interface's stream, which a kill does not tear; and settings that it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from decnet.web.api import auth
from tests.support.api import Api, blocks, running_api, start
from tests.support.decnet_env import migrated
from tests.support.ports import free_port


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("DECNET_JWT_SECRET", "a" * 40, "jwt-secret"),
        ("DECNET_CORS_ORIGINS", "*", "DECNET_CORS_ORIGINS"),
    ],
)
def test_api_refuses_weak_settings_with_exit_code_78(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, named: str
) -> None:
    migrated(tmp_path)
    monkeypatch.setenv(name, value)
    process = start(tmp_path, free_port())
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 78
    assert named.encode() in errors
    assert b"Traceback" not in errors


def test_api_stream_ends_with_its_token(api: Api) -> None:
    for lifetime in (3, 12, 48):
        token = auth.mint(api.settings.jwt_secret, "admin", "admin", lifetime=lifetime)
        with api.client.stream(
            "GET", "/api/v1/stream", headers={"Authorization": f"Bearer {token}"}
        ) as answer:
            if answer.status_code == 401 and lifetime < 48:
                continue  # it took so long to ask that the token had ended by then
            assert answer.status_code == 200
            kinds = [line for line in answer.iter_lines() if line.startswith("event:")]
        break
    assert kinds == ["event: hello"]


@pytest.mark.timeout(480)  # it starts three of them
def test_api_stream_resumes_over_a_kill_and_loses_nothing(api: Api) -> None:
    """api is killed (-9) in mid-stream, twice; who resumes by the last id sees each row once."""
    seen: list[int] = []
    last = "0"
    for kills_left in (2, 1, 0):
        api.add_logs(250)
        begun = len(seen)
        try:
            with api.client.stream(
                "GET", "/api/v1/stream", headers={"Last-Event-ID": last}
            ) as answer:
                for event in blocks(answer):
                    last = event.get("id", last)
                    if event.get("event") == "log":
                        seen.append(json.loads(event["data"])["id"])
                    if kills_left and len(seen) == begun + 120:
                        api.process.kill()
                    if len(seen) == 750:
                        break
        except httpx2.TransportError:
            assert kills_left, "the last one was not killed"
        if kills_left:
            api.restart()
    assert seen == list(range(1, 751))


def test_api_stream_whose_reader_leaves_amid_a_burst_is_no_error(api: Api) -> None:
    """Told to stop in that moment it ends in order, and logs no traceback: `running_api` looks."""
    api.add_logs(400)
    with api.client.stream("GET", "/api/v1/stream", headers={"Last-Event-ID": "0"}) as answer:
        events = (event for event in blocks(answer) if event.get("event") == "log")
        assert [json.loads(next(events)["data"])["id"] for _ in range(150)] == list(range(1, 151))
        api.process.terminate()
