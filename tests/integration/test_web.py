"""The dashboard's worker as a real process: files, and a proxy whose clients misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.api import Api, blocks, running_api
from tests.support.ports import free_port
from tests.support.web import Web, running_web

DEADLINE = 120.0


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Api]]:
    folder = tmp_path_factory.mktemp("web")
    with running_api(folder) as api:
        port = api.client.base_url.port
        assert port is not None
        with running_web(folder, port) as web:
            yield web, api


def eventually(check: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_web_serves_files_with_a_strict_policy_and_the_index_for_the_rest(
    both: tuple[Web, Api],
) -> None:
    web, _ = both
    index = web.client.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    policy = index.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert index.headers["x-frame-options"] == "DENY"
    for path in ("/no/such/page", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/js/"):
        assert web.client.get(path).content == index.content, path
    script = web.client.get("/js/app.js")
    assert script.headers["content-type"].startswith("text/javascript")
    again = web.client.get("/js/app.js", headers={"If-None-Match": script.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert web.client.head("/").content == b""
    assert web.client.post("/").status_code == 405
    assert "server" not in index.headers


def test_web_files_name_no_other_host() -> None:
    root = Path(__file__).resolve().parents[2] / "decnet" / "web" / "static"
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        text = path.read_text().replace("http://www.w3.org/", "")
        for link in ("https://attack.mitre.org/techniques/", 'placeholder: "https://"'):
            text = text.replace(link, "")
        assert "://" not in text, path
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text, path


def test_web_proxies_every_method_with_body_query_and_status(both: tuple[Web, Api]) -> None:
    web, api = both
    headers = {"Authorization": api.client.headers["Authorization"]}
    body = {"username": "admin", "password": api.settings.admin_password}
    made = web.client.post("/api/v1/auth/login", json=body)
    assert made.status_code == 200
    own = {"Authorization": f"Bearer {made.json()['access_token']}"}
    assert web.client.get("/api/v1/logs?limit=0", headers=own).status_code == 422
    assert web.client.get("/api/v1/logs", headers=own).json()["total"] == 0
    assert web.client.get("/api/v1/logs").status_code == 401
    name = {"name": "one", "url": "https://siem.example/x"}
    assert web.client.post("/api/v1/webhooks", json=name, headers=headers).status_code == 201
    change = web.client.patch("/api/v1/webhooks/one", json={"enabled": False}, headers=headers)
    assert change.json()["enabled"] is False
    assert web.client.delete("/api/v1/webhooks/one", headers=headers).status_code == 204
    weights = {"traffic": 1, "file": 1, "email": 1}
    put = web.client.put("/api/v1/config/realism/weights", json=weights, headers=headers)
    assert put.status_code == 200
    assert web.client.options("/api/v1/logs").status_code == 405
    assert web.client.get("/api/docs").status_code == 200
    chunked = web.client.post(
        "/api/v1/auth/login",
        content=iter([b'{"username":', b' "x", "password": "y"}']),
        headers={"Content-Type": "application/json"},
    )
    assert chunked.status_code == 401


def test_web_tells_the_browsers_address_and_not_what_it_claims(both: tuple[Web, Api]) -> None:
    web, _ = both
    for number in range(11):
        # All are counted for 127.0.0.1, whatever they claim.
        answer = web.client.post(
            "/api/v1/auth/login",
            json={"username": f"u{number}", "password": "x"},
            headers={"X-Forwarded-For": f"198.51.100.{number}"},
        )
    assert answer.status_code == 429


def test_web_streams_events_at_once_and_drops_upstream_when_the_browser_leaves(
    both: tuple[Web, Api],
) -> None:
    web, api = both
    headers = {"Authorization": api.client.headers["Authorization"], "Last-Event-ID": "0"}

    def streams() -> int:
        count: int = api.client.get("/api/v1/stats").json()["streams"]
        return count

    before = web.log.read_text()
    for _ in range(5):
        with web.client.stream("GET", "/api/v1/stream", headers=headers) as answer:
            events = blocks(answer)
            assert next(events)["event"] == "hello"
            api.add_logs(1)
            while next(events)["event"] != "log":
                pass
    eventually(lambda: streams() == 0)
    assert web.log.read_text() == before, "a browser that leaves is not worth a line"


@pytest.mark.timeout(600)
def test_web_answers_502_while_api_is_away_and_works_again_after(tmp_path: Path) -> None:
    with running_api(tmp_path) as api:
        port = api.client.base_url.port
        assert port is not None
        with running_web(tmp_path, port) as web:
            headers = {"Authorization": api.client.headers["Authorization"]}
            with web.client.stream("GET", "/api/v1/stream", headers=headers) as answer:
                events = blocks(answer)
                next(events)
                api.process.kill()
                assert list(events) == [], "the stream just ends"
            down = web.client.get("/api/v1/health")
            assert down.status_code == 502
            assert "REST interface" in down.json()["detail"]
            assert web.client.get("/").status_code == 200
            api.restart()
            assert web.client.get("/api/v1/health").status_code == 200


def raw(web: Web, data: bytes) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", web.port), timeout=DEADLINE)
    with contextlib.suppress(ConnectionError):  # it has answered and hung up amid what we say
        sock.sendall(data)
    return sock


def test_web_refuses_huge_heads_and_bodies(both: tuple[Web, Api]) -> None:
    web, _ = both
    with raw(web, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 40_000) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 400")
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    with raw(web, head) as sock:
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
    for bad in (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03", b"GET\r\n", b"\0" * 100 + b"\r\n"):
        with raw(web, bad + b"\r\n\r\n") as sock:
            assert sock.recv(100)[:12] in (b"HTTP/1.1 400", b""), bad
    curl = ["curl", "-s", "-m", "100", f"{web.url}/api/v1/health"]
    result = subprocess.run(curl, capture_output=True, check=True)
    assert json.loads(result.stdout)["database"] == "ok"


def test_web_clients_that_hang_up_in_the_middle_cost_nothing(both: tuple[Web, Api]) -> None:
    web, _ = both
    web.client.get("/")
    before = web.open_files()
    halves = (
        b"GET /api/v1/hea",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{\"user",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    )  # fmt: skip
    for half in halves * 10:
        raw(web, half).close()
    eventually(lambda: web.open_files() <= before + 2)
    assert web.client.get("/api/v1/health").status_code == 200


def test_web_port_taken_names_the_variable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_WEB_PORT": str(taken.getsockname()[1])}
        process = subprocess.run(
            [sys.executable, "-m", "decnet.workers.web"],
            env=os.environ | env,
            capture_output=True,
            timeout=180,
            check=False,
        )
    assert process.returncode == 1
    assert b"DECNET_WEB_PORT" in process.stderr
    assert b"Traceback" not in process.stderr


class Upstream:
    """An upstream that answers wrongly, once a connection: with `answer`."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", free_port()))
        self.port: int = self._sock.getsockname()[1]
        self.answer = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._sock.accept()
            with connection:
                if (data := connection.recv(65536)) == b"stop":
                    return
                if data:
                    connection.sendall(self.answer)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.sendall(b"stop")
        self._thread.join()
        self._sock.close()


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Web, Upstream]]:
    """The worker in front of such a one."""
    upstream = Upstream()
    try:
        folder = tmp_path_factory.mktemp("astray")
        with running_web(folder, upstream.port, said="without completing response") as web:
            yield web, upstream
    finally:
        upstream.close()


@pytest.mark.parametrize(
    "answer", [b"", b"what?\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n"]
)
def test_web_upstream_that_makes_no_sense_is_a_502(
    astray: tuple[Web, Upstream], answer: bytes
) -> None:
    web, upstream = astray
    upstream.answer = answer
    before = web.log.read_text()
    assert web.client.get("/api/v1/health").status_code == 502
    assert "ERROR" not in web.log.read_text().removeprefix(before)


def test_web_answer_that_breaks_off_does_not_look_complete(astray: tuple[Web, Upstream]) -> None:
    web, upstream = astray
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + json.dumps(1).encode()
    with pytest.raises(httpx2.TransportError):
        web.client.get("/api/v1/health")
