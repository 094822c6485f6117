"""Every route of the REST interface against a real process with a row of each kind."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.support.api import NOW, Api, running_api
from tests.support.estate_rows import HOSTILE, fill


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, dict[str, str]]]:
    import os

    os.environ["DECNET_WEBHOOK_ALLOW_PRIVATE"] = "true"
    with running_api(tmp_path_factory.mktemp("api")) as api:
        del os.environ["DECNET_WEBHOOK_ALLOW_PRIVATE"]
        api.add_logs(7)
        yield api, fill(api.settings)


def get(api: Api, path: str, **params: Any) -> Any:
    answer = api.client.get(f"/api/v1{path}", params=params)
    assert answer.status_code == 200, (path, answer.text)
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def test_api_every_get_route_answers_with_the_row_that_is_there(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, at = filled
    attacker = get(api, f"/attackers/{at['attacker']}")
    assert attacker["behavior"]["tool_guesses"] == [HOSTILE]
    assert attacker["intel"]["aggregate_verdict"] == "malicious"
    assert attacker["ptr_record"] == HOSTILE
    assert get(api, f"/attackers/{at['attacker']}/intel")["attacker_ip"] == "192.0.2.77"
    seen = get(api, f"/attackers/{at['attacker']}/observations")["data"]
    assert seen[0]["value"] == "typed"
    assert get(api, f"/attackers/{at['attacker']}/commands")["data"] == []
    assert get(api, "/credentials")["data"][0]["secret_printable"] == HOSTILE
    assert get(api, "/credential-reuse")["data"][0]["target_count"] == 2
    assert get(api, "/bounty", bounty_type="artifact")["data"][0]["payload"] == {"name": HOSTILE}
    assert get(api, "/attachments")["data"] == []
    assert [i["uuid"] for i in get(api, "/identities")["data"]] == [at["identity"]]
    assert len(get(api, "/identities", merged=True)["data"]) == 2
    identity = get(api, f"/identities/{at['merged']}")
    assert identity["uuid"] == at["identity"], "a merged one answers as what it is a part of"
    assert identity["attackers"][0]["ip"] == "192.0.2.77"
    assert identity["habits"][0]["state"] == "stable"
    assert get(api, "/campaigns")["data"][0]["notes"] == HOSTILE
    assert get(api, f"/campaigns/{at['campaign']}")["identities"][0]["uuid"] == at["identity"]
    assert get(api, "/deckies")[0]["name"] == "decky-01"
    assert get(api, "/deckies/decky-01")["services"] == ["ssh"]
    assert get(api, "/orchestrator/events")["data"][0]["dst"] == "decky-01"
    for path in ("/mutations", "/lifecycle"):
        assert "data" in get(api, path)
    for by, uuid in (
        *(("attacker", at["attacker"]), ("identity", at["identity"])),
        *(("campaign", at["campaign"]), ("session", "s1")),
    ):
        tags = get(api, f"/ttp/by-{by}/{uuid}")["data"]
        assert [tag["uuid"] for tag in tags] == ["t1"], by
    assert get(api, "/ttp/tags", technique="T1059.004")["data"][0]["evidence"]["command"] == HOSTILE
    technique = get(api, "/ttp/techniques")[0]
    assert (technique["count"], technique["attackers"]) == (1, 1)
    assert technique["name"] == "Command and Scripting Interpreter: Unix Shell"
    matrix = get(api, "/ttp/matrix")
    assert len(matrix) == 14
    column = next(c for c in matrix if c["short"] == "execution")
    assert column["techniques"][0]["technique_id"] == "T1059.004"
    layer = get(api, "/ttp/navigator")
    assert layer["domain"] == "enterprise-attack"
    assert layer["techniques"][0]["techniqueID"] == "T1059.004"
    assert get(api, "/canary/tokens")["data"][0]["url"].endswith("/c/slug")
    assert get(api, "/canary/triggers", token=at["token"])["data"][0]["user_agent"] == HOSTILE
    stats = get(api, "/stats")
    assert (stats["events"], stats["attackers"], stats["canary_triggers"]) == (7, 1, 1)
    assert stats["techniques"] == 1
    config = get(api, "/config")
    assert config["decky_name"] == "decky-01"
    assert api.settings.jwt_secret not in json.dumps(config)
    fleet = get(api, "/workers")
    assert "without a manager" in fleet["manager"]
    assert [user["username"] for user in get(api, "/users")] == ["admin"]
    for path in ("attackers/x", "identities/x", "campaigns/x", "sessions/x", "deckies/x"):
        assert api.client.get(f"/api/v1/{path}").status_code == 404, path
    assert api.client.get("/api/v1/canary/tokens/x").status_code == 404
    assert api.client.get("/api/v1/webhooks/x").status_code == 404


def test_api_graph_names_for_each_node_what_it_belongs_to(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, at = filled
    found = get(api, "/graph")
    assert [c["uuid"] for c in found["campaigns"]] == [at["campaign"]]
    (identity,) = found["identities"]
    assert (identity["uuid"], identity["campaign_id"]) == (at["identity"], at["campaign"])
    assert identity["known_by"] == {"ja3": 1}
    assert (identity["addresses"], identity["left_out"], found["left_out"]) == (1, 0, 0)
    (address,) = found["addresses"]
    assert (address["ip"], address["identity_id"]) == ("192.0.2.77", at["identity"])
    assert get(api, "/graph", campaign=at["campaign"]) == found
    assert get(api, "/graph", campaign="none")["identities"] == []


def test_api_docs_work_without_the_net_and_name_every_route(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    page = api.client.get("/api/docs").text
    document = api.client.get("/api/openapi.json").json()
    assert all(path in page for path in document["paths"])
    assert "//cdn" not in page and "<script" not in page


def test_api_recording_gives_the_sessions_own_events_in_parts(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    recording = get(api, "/sessions/s1/recording")
    assert recording["header"]["width"] == 80
    assert recording["next"] is None
    assert [(kind, text) for _, kind, text in recording["events"]] == [
        ("o", "$ "),
        ("i", "id\r"),
        ("o", f"{HOSTILE}\N{REPLACEMENT CHARACTER}\r\n"),
        ("x", ""),
    ]
    assert get(api, "/sessions/s1")["commands"][0]["command_text"] == HOSTILE
    assert len(get(api, "/sessions", attacker_ip="192.0.2.77")["data"]) == 2


def test_api_recording_never_leaves_the_artifacts_folder(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    answer = api.client.get("/api/v1/sessions/outside/recording")
    assert answer.status_code == 404
    assert "outside of the artifacts" in answer.json()["detail"]
    assert api.settings.jwt_secret not in answer.text


def test_api_pages_by_cursor_see_each_row_once_though_rows_are_added(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    seen, cursor = [], None
    while True:
        page = get(api, "/logs", limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [row["id"] for row in page["data"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == 7
    for bad in (
        "x",
        "W10=",
        "WyJhIl0=",
        "e30=",
        "WzFlOTld",
        "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ==",
    ):
        assert api.client.get("/api/v1/logs", params={"cursor": bad}).status_code == 422, bad
        assert api.client.get("/api/v1/attackers", params={"cursor": bad}).status_code == 422, bad
    assert api.client.get("/api/v1/logs", params={"limit": 5000}).status_code == 422


def test_api_histogram_counts_each_event_once(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    since, until = NOW.isoformat(), NOW.replace(minute=1).isoformat()
    hist = get(api, "/logs/histogram", since=since, until=until, buckets=60)
    assert hist["total"] == 7
    assert [bucket["count"] for bucket in hist["data"][:8]] == [1] * 7 + [0]
    some = get(api, "/logs/histogram", since=since, until=until, buckets=2, service="ssh")
    assert some["total"] == 3
    bad = api.client.get("/api/v1/logs/histogram", params={"since": until, "until": since})
    assert bad.status_code == 422


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_api_webhooks_are_made_tested_changed_and_removed(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    server.got = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/hook"
        body = {"name": "siem", "url": url}
        made = api.client.post("/api/v1/webhooks", json=body)
        assert made.status_code == 201, made.text
        assert len(made.json()["secret"]) >= 32
        assert api.client.post("/api/v1/webhooks", json=body).status_code == 422
        assert "secret" not in get(api, "/webhooks/siem")
        tried = api.client.post("/api/v1/webhooks/siem/test").json()
        assert tried["ok"], tried
        assert server.got[0]["topic"] == "system.webhook.test"  # type: ignore[attr-defined]
        change = {"enabled": False, "topic_patterns": ["canary.>"]}
        changed = api.client.patch("/api/v1/webhooks/siem", json=change).json()
        assert (changed["enabled"], changed["topic_patterns"]) == (False, ["canary.>"])
        bad = api.client.patch("/api/v1/webhooks/siem", json={"topic_patterns": ["a..b"]})
        assert bad.status_code == 422
        bad = api.client.patch("/api/v1/webhooks/siem", json={"url": "file:///etc/passwd"})
        assert bad.status_code == 422
        assert get(api, "/webhooks/siem/deliveries") == []
        assert get(api, "/webhooks/siem/dead") == []
        assert api.client.post("/api/v1/webhooks/siem/replay").json() == {"count": 0}
        assert api.client.delete("/api/v1/webhooks/siem").status_code == 204
        assert get(api, "/webhooks") == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_api_canary_tokens_are_made_and_revoked(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    made = api.client.post("/api/v1/canary/tokens", json={"name": "payroll"})
    assert made.status_code == 201
    uuid = made.json()["uuid"]
    revoked = api.client.post(f"/api/v1/canary/tokens/{uuid}/revoke", json={}).json()
    assert (revoked["state"], revoked["revoked_reason"]) == ("revoked", "by hand")


def test_api_rules_are_decided_and_deckies_mutated(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    url = "/api/v1/ttp/rules/R0001/state"
    assert api.client.put(url, json={"state": "clipped"}).status_code == 422
    clipped = {"state": "clipped", "confidence_max": 0.3, "reason": "noisy"}
    assert api.client.put(url, json=clipped).json()["confidence_max"] == 0.3
    assert get(api, "/ttp/rules")[0]["state"] == "clipped"
    assert api.client.put(url, json={"state": "enabled"}).json()["confidence_max"] is None
    asked = api.client.post("/api/v1/deckies/decky-01/mutate", json={"services": ["http"]})
    assert asked.json()["id"] is not None
    assert api.client.post("/api/v1/deckies/decky-01/mutate", json={}).json()["id"] is None
    assert get(api, "/mutations", decky="decky-01")["data"][0]["new_services"] == ["http"]
    bad = api.client.post("/api/v1/deckies/decky-01/mutate", json={"services": ["nothing"]})
    assert bad.status_code == 422


def test_api_workers_without_a_manager_or_bus_say_so(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    for verb in ("start", "stop", "restart"):
        answer = api.client.post(f"/api/v1/workers/collect/{verb}")
        assert answer.status_code == 503
        assert "manager" in answer.json()["detail"]
    assert api.client.post("/api/v1/workers/collect/explode").status_code == 422


def login(api: Api, username: str, password: str) -> str:
    body = {"username": username, "password": password}
    answer = api.client.post("/api/v1/auth/login", json=body)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def test_api_users_roles_and_passwords(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    new = {"username": "ann", "password": "first password"}
    ann = api.client.post("/api/v1/users", json=new).json()
    assert api.client.post("/api/v1/users", json=new).status_code == 409
    headers = {"Authorization": f"Bearer {login(api, 'ann', 'first password')}"}

    def as_ann(method: str, path: str, **more: Any) -> int:
        return api.client.request(method, f"/api/v1{path}", headers=headers, **more).status_code

    assert as_ann("GET", "/logs") == 403, "the first password has to be changed"
    change = {"current_password": "first password", "new_password": "second password"}
    wrong = {**change, "current_password": "no"}
    assert as_ann("POST", "/auth/password", json=wrong) == 403
    assert as_ann("POST", "/auth/password", json=change) == 204
    assert as_ann("GET", "/logs") == 401, "tokens of before the change have ended"
    headers["Authorization"] = f"Bearer {login(api, 'ann', 'second password')}"
    assert as_ann("GET", "/logs") == 200
    for method, path in (
        *(("GET", "/users"), ("POST", "/workers/collect/stop"), ("DELETE", "/webhooks/x")),
        *(("PUT", "/ttp/rules/R0001/state"), ("POST", "/deckies/decky-01/mutate")),
        *(("POST", "/webhooks"), ("POST", "/canary/tokens"), ("PUT", "/config/realism/weights")),
    ):
        assert as_ann(method, path, json={}) in (403,), path
    path = f"/api/v1/users/{ann['uuid']}"
    assert api.client.patch(path, json={"role": "admin"}).json()["role"] == "admin"
    assert as_ann("GET", "/users") == 200, "a role counts at once"
    assert as_ann("POST", "/auth/logout") == 204
    assert as_ann("GET", "/logs") == 401
    headers["Authorization"] = f"Bearer {login(api, 'ann', 'second password')}"
    assert api.client.delete(path).status_code == 204
    assert as_ann("GET", "/logs") == 401, "a removed user's token is no longer good"
    admin = get(api, "/users")[0]
    assert api.client.delete(f"/api/v1/users/{admin['uuid']}").status_code == 409
    for more in ({"username": "a b", "password": "long enough indeed"}, {"username": "x"}):
        assert api.client.post("/api/v1/users", json=more).status_code == 422


def test_api_realism_weights_are_what_the_orchestrator_reads(
    filled: tuple[Api, dict[str, str]],
) -> None:
    api, _ = filled
    weights = {"traffic": 1.0, "file": 2.0, "email": 0.0}
    assert api.client.put("/api/v1/config/realism/weights", json=weights).json() == weights
    assert get(api, "/config")["realism"]["weights"] == weights
    assert api.client.put("/api/v1/config/realism/x", json=weights).status_code == 404


def test_api_refuses_a_body_that_is_too_large(filled: tuple[Api, dict[str, str]]) -> None:
    api, _ = filled
    for _ in range(5):
        result = subprocess.run(
            ["sh", "-c", 'head -c 13000000 /dev/zero | curl -s -o /dev/null -w "%{http_code}" '
             '-H "Expect:" -H "Transfer-Encoding: chunked" --data-binary @- "$0"',
             f"{api.client.base_url}/api/v1/auth/login"],
            capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        # Hung up on in the middle of a write, curl gives up without having read the answer.
        if result.stdout != "000":
            break
    assert result.stdout == "413", result
