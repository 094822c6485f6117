"""The REST interface as a real process on a real database, asked by a real HTTP client."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, create_engine

from decnet.db.tables import Attacker, AttackerBehavior
from decnet.web.api import auth
from tests.support.api import NOW, Api, running_api, start
from tests.support.decnet_env import migrated


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One for those who only ask it."""
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """One whose rows are counted."""
    with running_api(tmp_path) as running:
        yield running


@pytest.fixture
def stranger(shared: Api) -> Iterator[Api]:
    """The shared one, asked without a token."""
    token = shared.client.headers.pop("Authorization")
    yield shared
    shared.client.headers["Authorization"] = token


def test_api_health_needs_no_token_and_says_what_is_away(stranger: Api) -> None:
    for path in ("/health", "/api/v1/health"):
        health = stranger.client.get(path).json()
        assert health["database"] == "ok"
        assert health["bus"].startswith("away")
        assert health["status"] == "degraded"
        assert health["pid"] == stranger.process.pid


def test_api_refuses_without_a_good_token(stranger: Api) -> None:
    for path in ("/logs", "/attackers", "/events", "/attackers/x"):
        for header in (None, "Bearer x.y.z", "Basic YTpi", "Bearer"):
            headers = {"Authorization": header} if header is not None else {}
            answer = stranger.client.get(f"/api/v1{path}", headers=headers)
            assert answer.status_code == 401, (path, header)
            assert "token" in answer.json()["detail"]


def test_api_refuses_expired_and_foreign_tokens(shared: Api) -> None:
    old = auth.mint(shared.settings.jwt_secret, "admin", "admin", lifetime=-5)
    foreign = auth.mint("another secret of at least 32 characters", "admin", "admin")
    for token in (old, foreign):
        answer = shared.client.get("/logs", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_api_login_by_password_gives_a_token_that_works(shared: Api) -> None:
    body = {"username": "admin", "password": shared.settings.admin_password}
    token = shared.client.post("/api/v1/auth/login", json=body).json()["access_token"]
    answer = shared.client.get("/logs", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_api_login_is_braked_after_ten_failures_of_one_address_or_user(shared: Api) -> None:
    def guess(username: str, address: str) -> int:
        body = {"username": username, "password": "a guess"}
        # As the dashboard's proxy says it: the address that counts is the browser's.
        headers = {"X-Forwarded-For": address}
        return shared.client.post("/api/v1/auth/login", json=body, headers=headers).status_code

    codes = [guess(f"user-{n % 2}", "198.51.100.9") for n in range(10)]
    assert codes == [401] * 10
    assert guess("user-2", "198.51.100.9") == 429
    assert guess("user-2", "198.51.100.10") == 401


def test_api_pages_and_filters_logs_newest_first(api: Api) -> None:
    api.add_logs(25)
    page = api.client.get("/api/v1/logs", params={"limit": 10, "offset": 5}).json()
    assert (page["total"], page["limit"], page["offset"]) == (25, 10, 5)
    assert [row["fields"]["n"] for row in page["data"]] == list(range(19, 9, -1))
    ssh = api.client.get("/logs", params={"service": "ssh", "attacker_ip": "192.0.2.1"}).json()
    assert ssh["total"] == 4
    assert {row["service"] for row in ssh["data"]} == {"ssh"}
    assert api.client.get("/logs", params={"limit": 0}).status_code == 422


def test_api_shows_attackers_with_behaviour(shared: Api) -> None:
    engine = create_engine(f"sqlite:///{shared.settings.db_file}")
    with Session(engine) as session:
        row = Attacker(
            ip="192.0.2.9", first_seen=NOW, last_seen=NOW, event_count=3, services=["ssh"]
        )
        session.add(row)
        session.flush()
        session.add(AttackerBehavior(attacker_uuid=row.uuid, behavior_class="brute_force"))
        session.commit()
        uuid = row.uuid
    engine.dispose()
    page = shared.client.get("/attackers").json()
    assert page["total"] == 1
    assert (
        page["data"][0] | {"ip": "192.0.2.9", "event_count": 3, "services": ["ssh"]}
        == page["data"][0]
    )
    one = shared.client.get(f"/attackers/{uuid}").json()
    assert one["behavior_class"] == "brute_force"
    assert shared.client.get("/attackers/unknown").status_code == 404


def test_api_events_stream_resumes_after_last_event_id_and_polls_without_a_bus(api: Api) -> None:
    api.add_logs(5)
    seen: list[int] = []
    with api.client.stream("GET", "/api/v1/events", headers={"Last-Event-ID": "2"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        added = False
        for line in stream.iter_lines():
            if line.startswith("data:"):
                seen.append(json.loads(line.removeprefix("data:"))["id"])
            if len(seen) == 3 and not added:
                api.add_logs(2)
                added = True
            if len(seen) == 5:
                break
    assert seen == [3, 4, 5, 6, 7]


def test_api_stops_though_a_stream_is_open(api: Api) -> None:
    with api.client.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        api.process.send_signal(signal.SIGTERM)
        assert api.process.wait(120) == 0


def test_api_port_taken_names_the_port_and_the_variable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        migrated(tmp_path)
        process = start(tmp_path, port)
        _, errors = process.communicate(timeout=180)
    assert process.returncode == 1
    assert f"port {port}".encode() in errors
    assert b"DECNET_API_PORT" in errors
    assert b"Traceback" not in errors
