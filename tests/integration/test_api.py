"""The REST interface as a real process on a real database, asked by a real HTTP client."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, create_engine

from decnet.db.migrate import migrate
from decnet.db.tables import Attacker, AttackerBehavior
from decnet.settings import Settings
from decnet.web.api import auth
from tests.support.api import NOW, Api, running_api, start


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as running:
        yield running


def test_api_health_needs_no_token_and_says_what_is_away(api: Api) -> None:
    del api.client.headers["Authorization"]
    for path in ("/health", "/api/v1/health"):
        health = api.client.get(path).json()
        assert health["database"] == "ok"
        assert health["bus"].startswith("away")
        assert health["status"] == "degraded"
        assert health["pid"] == api.process.pid


def test_api_refuses_without_a_good_token(api: Api) -> None:
    del api.client.headers["Authorization"]
    for path in ("/logs", "/attackers", "/events", "/attackers/x"):
        for header in (None, "Bearer x.y.z", "Basic YTpi", "Bearer"):
            headers = {"Authorization": header} if header is not None else {}
            answer = api.client.get(f"/api/v1{path}", headers=headers)
            assert answer.status_code == 401, (path, header)
            assert "token" in answer.json()["detail"]


def test_api_refuses_expired_and_foreign_tokens(api: Api) -> None:
    old = auth.mint(api.settings.jwt_secret, "admin", "admin", lifetime=-5)
    foreign = auth.mint("another secret of at least 32 characters", "admin", "admin")
    for token in (old, foreign):
        answer = api.client.get("/logs", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401


def test_api_login_by_password_gives_a_token_that_works(api: Api) -> None:
    body = {"username": "admin", "password": api.settings.admin_password}
    token = api.client.post("/api/v1/auth/login", json=body).json()["access_token"]
    answer = api.client.get("/logs", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_api_login_is_braked_after_ten_failures_of_one_address_or_user(api: Api) -> None:
    def guess(username: str, address: str) -> int:
        body = {"username": username, "password": "a guess"}
        # As the dashboard's proxy says it: the address that counts is the browser's.
        headers = {"X-Forwarded-For": address}
        return api.client.post("/api/v1/auth/login", json=body, headers=headers).status_code

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


def test_api_shows_attackers_with_behaviour(api: Api) -> None:
    engine = create_engine(f"sqlite:///{api.settings.db_file}")
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
    page = api.client.get("/attackers").json()
    assert page["total"] == 1
    assert (
        page["data"][0] | {"ip": "192.0.2.9", "event_count": 3, "services": ["ssh"]}
        == page["data"][0]
    )
    one = api.client.get(f"/attackers/{uuid}").json()
    assert one["behavior_class"] == "brute_force"
    assert api.client.get("/attackers/unknown").status_code == 404


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
        assert api.process.wait(30) == 0


def test_api_port_taken_names_the_port_and_the_variable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        migrate(Settings.from_env({"DECNET_STATE_DIR": str(tmp_path)}).db_url)
        process = start(tmp_path, port)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"port {port}".encode() in errors
    assert b"DECNET_API_PORT" in errors
    assert b"Traceback" not in errors
