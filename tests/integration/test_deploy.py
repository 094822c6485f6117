"""`decnetctl deploy` and `teardown` on a real manager with real decoys."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.decnet_env import worker
from tests.support.estate import BOTH, STATES, rows, running_estate, until_rows
from tests.support.managers import Manager

FILE = """
mutate_interval = 0
[decky-01]
services = ["tcp", "http"]
[web]
services = ["http"]
amount = 2
"""
DEPLOYED = [
    ("decky-01", "running", '["http","tcp"]'),
    ("decky-02", "running", '["http"]'),
    ("decky-03", "running", '["http"]'),
]


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_estate(tmp_path) as manager:
        await until_rows(manager, STATES, BOTH)
        yield manager


async def decnetctl(manager: Manager, *words: str, code: int = 0) -> dict[str, Any]:
    env = {**manager.env, "ZYGOTE_RUNTIME_DIR": str(manager.run)}
    folder = Path(manager.env["DECNET_STATE_DIR"])
    async with worker(folder, "decnet.cli.app", *words, "--json", **env) as process:
        said = await process.line()
        assert await process.ended() == code, (said, process.log.read_text())
    answer: dict[str, Any] = json.loads(said)
    return answer


async def live(manager: Manager) -> set[str]:
    return {w.name for w in await manager.workers() if w.pid and w.name.startswith("decoy@")}


async def test_deploy_makes_the_fleet_what_the_file_says_and_keeps_it_so(
    estate: Manager, tmp_path: Path
) -> None:
    file = tmp_path / "deckies.toml"
    file.write_text(FILE)
    tcp = (await estate.worker("decoy@tcp")).pid
    dry = await decnetctl(estate, "deploy", str(file), "--dry-run")
    assert (dry["start"], dry["stop"]) == (["decoy@http-03"], ["decoy@smtp-02"])
    assert not dry["applied"]
    await until_rows(estate, STATES, BOTH)
    done = await decnetctl(estate, "deploy", str(file))
    assert done["applied"] and done["failed"] == []
    wanted = {"decoy@tcp", "decoy@http", "decoy@http-02", "decoy@http-03"}
    assert await live(estate) == wanted
    assert (await estate.worker("decoy@tcp")).pid == tcp, "what was right was left alone"
    await until_rows(estate, STATES, DEPLOYED)
    again = await decnetctl(estate, "deploy", str(file))
    assert (again["start"], again["stop"], again["kept"]) == ([], [], 4)
    # Another decoy, started by hand, does not stay; nor do the fleet file's after a new start.
    await estate.spawn("decoy@ftp-02")
    await estate.eventually(lambda: live(estate), lambda found: found == wanted)
    await estate.end()
    await estate.start()
    await estate.eventually(lambda: live(estate), lambda found: found == wanted)
    await until_rows(estate, STATES, DEPLOYED)
    gone = await decnetctl(estate, "teardown", "decky-02")
    assert gone["stop"] == ["decoy@http-02"]
    assert await live(estate) == wanted - {"decoy@http-02"}
    await decnetctl(estate, "teardown", "--all")
    assert await live(estate) == set() and rows(estate, STATES) == []
    assert (await decnetctl(estate, "teardown", "decky-07", code=4))["error"]["code"]


async def test_deploy_tells_which_decoy_did_not_start(estate: Manager, tmp_path: Path) -> None:
    file = tmp_path / "deckies.ini"
    file.write_text("[decky-01]\nservices = http, ftp\n")
    with socket.create_server(("127.0.0.1", int(estate.env["DECNET_DECOY_FTP_PORT"]))):
        done = await decnetctl(estate, "deploy", str(file), code=1)
    assert [each["name"] for each in done["failed"]] == ["decoy@ftp"]
    assert "decoy@http" in await live(estate)
