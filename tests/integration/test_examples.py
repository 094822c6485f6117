"""The fleets of docs/examples, started from a copy, used, and stopped."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, eventually
from tests.support.ports import free_port

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Cli]:
    folder = tmp_path / "shop"
    shutil.copytree(EXAMPLES / "shop", folder)
    cli = Cli(folder)
    yield cli
    cli("--runtime-dir", str(tmp_path / "run"), "down", code=None)


def ask(port: int, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return json.loads(reply.read())
    except OSError:
        return None


def test_example_shop_is_ten_lines_and_does_its_work(shop: Cli, tmp_path: Path) -> None:
    """An order comes by the web, the queue's worker does it, the clock's job reports it."""
    lines = (shop.folder / "fleet.toml").read_text().splitlines()
    assert len(lines) == 10
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    own = {"SHOP_DATA": str(data), "SHOP_PORT": str(port), "SHOP_EVERY": "0.2"}
    there = ("--runtime-dir", str(tmp_path / "run"))
    assert shop(*there, "check").err == "", "no warning"
    done = shop(*there, "up", "--detach", **own)
    assert done.out.startswith("up: 3 of 3 workers ready")
    task = eventually(lambda: ask(port, "/customers/Ada", "POST"))["task"]
    assert eventually(lambda: (ask(port, f"/tasks/{task}") or {}).get("state") == "done")
    assert ask(port, f"/tasks/{task}")["result"] == "Dear Ada, welcome!"
    report = data / "report.txt"
    assert eventually(lambda: report.exists() and report.read_text() == "1 tasks done\n")
    said = shop(*there, "ps", "--json").json
    floor = said["zygotes"][0]["rss_kib"]
    for worker in said["workers"]:
        assert worker["uss_kib"] < floor / 3, f"{worker['name']} shares the floor"
    shop(*there, "down")
    assert ask(port, "/tasks/1") is None


def test_example_shop_worker_killed_is_back(shop: Cli, tmp_path: Path) -> None:
    data, port = tmp_path / "data", free_port()
    data.mkdir()
    there = ("--runtime-dir", str(tmp_path / "run"))
    shop(*there, "up", "--detach", SHOP_DATA=str(data), SHOP_PORT=str(port))

    def pid() -> int:
        found: int = shop(*there, "ps", "--json", "web").json["workers"][0]["pid"]
        return found

    before = pid()
    shop(*there, "kill", "--signal", "KILL", "web")
    assert eventually(lambda: pid() not in (before, None))
    assert eventually(lambda: ask(port, "/customers/Bob", "POST"))
