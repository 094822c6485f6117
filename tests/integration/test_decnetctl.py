"""`decnetctl`'s own verbs, as a user runs them, on a real interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from decnet.web.api import auth
from tests.support.api import Api, running_api
from tests.support.ports import free_port

PROGRAM = [sys.executable, "-m", "decnet.cli.app"]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("api")) as running:
        yield running


def environment(api: Api) -> dict[str, str]:
    settings = api.settings
    return os.environ | {
        "DECNET_STATE_DIR": str(settings.state_dir),
        "DECNET_API_PORT": str(settings.api_port),
    }


def decnetctl(api: Api, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], env=environment(api), capture_output=True, text=True, timeout=180
    )


def test_decnetctl_help_loads_no_table_no_web_framework_no_scapy() -> None:
    code = "import sys; from decnet.cli.app import main; sys.argv[1:] = ['--help']; main()"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    assert "visits" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "cyclopts" in loaded
    assert not loaded & {"sqlmodel", "sqlalchemy", "fastapi", "pydantic", "scapy", "asyncssh"}


def test_decnetctl_shows_visits_and_attackers(api: Api) -> None:
    api.add_logs(7)
    done = decnetctl(api, "visits", "-n", "3", "--json")
    assert [json.loads(line)["fields"]["n"] for line in done.stdout.splitlines()] == [4, 5, 6]
    assert "decky-01/ssh" in decnetctl(api, "visits", "--service", "ssh").stdout
    assert json.loads(decnetctl(api, "attackers", "--json").stdout)["total"] == 0
    assert "nobody yet" in decnetctl(api, "attackers").stdout


def test_decnetctl_visits_follow_goes_on_with_what_comes(api: Api) -> None:
    api.add_logs(2)
    process = subprocess.Popen(
        [*PROGRAM, "visits", "-f", "-n", "1", "--json"],
        env=environment(api),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        api.add_logs(2)
        later = [json.loads(process.stdout.readline())["id"] for _ in range(2)]
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(120)
    assert later == [first["id"] + 1, first["id"] + 2]


def test_decnetctl_token_is_good_for_curl(api: Api) -> None:
    token = decnetctl(api, "token").stdout.strip()
    assert auth.check(api.settings.jwt_secret, token).role == "admin"


def test_decnetctl_without_an_interface_says_where_it_looked(tmp_path: Path) -> None:
    port = free_port()
    env = os.environ | {"DECNET_STATE_DIR": str(tmp_path), "DECNET_API_PORT": str(port)}
    done = subprocess.run(
        [*PROGRAM, "attackers"], env=env, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 3
    assert str(port) in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def test_decnetctl_visits_lets_no_control_character_through(api: Api) -> None:
    api.add_logs(1, decky="evil\x1b[2J")
    out = decnetctl(api, "visits").stdout
    assert "\x1b" not in out
    assert "evil\\x1b[2J" in out
