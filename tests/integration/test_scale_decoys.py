"""`decnetctl scale decoy@ssh N`: up, each answers a real client on a port of its own, and down."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from decnet.decoys.catalogue import port_of
from decnet.load import deeds
from decnet.run.ports import free_ports
from tests.support.cli import PATIENCE, Cli, Done, eventually
from zygote.sys import procfs

MANY = 7
FLEET = """
[fleet]
name = "scaled"
[zygote.decoy]
preload = ["decnet.decoys.floor"]
bake = ["freeze"]
[defaults]
type = "notify"
start_timeout = "60s"
[worker.bus]
run = "decnet.workers.bus:run"
[worker."decoy@"]
run = "decnet.workers.decoy:run"
args = ["%i"]
after = ["bus"]
autostart = false
"""


class Decnetctl:
    """The command, on a fleet of its own."""

    def __init__(self, folder: Path, ports: dict[str, str]) -> None:
        self.ports = ports
        self.runtime = folder / "run"
        self._cli = Cli(folder)
        self._env = ports | {
            "DECNET_STATE_DIR": str(folder / "state"),
            "ZYGOTE_RUNTIME_DIR": str(self.runtime),
            "DECNET_JWT_SECRET": "x" * 40,
        }
        self._fleet = folder / "fleet.toml"
        self._fleet.write_text(FLEET)

    def __call__(self, *words: str, code: int = 0) -> Done:
        argv = (sys.executable, "-m", "decnet.cli.app", "--fleet", str(self._fleet), *words)
        done = self._cli.run(*argv, **self._env)
        assert done.code == code, f"{words}: {done}"
        return done

    def ready(self) -> dict[str, int]:
        """Decoy -> pid, of those that are ready."""
        told = json.loads(self("ps", "--json").out)["workers"]
        return {w["name"]: w["pid"] for w in told if w["ready"] and w["name"].startswith("decoy@")}

    def port(self, kind: str, number: int) -> int:
        return port_of(kind, number, int(self.ports[f"DECNET_DECOY_{kind.upper()}_PORT"]))


@pytest.fixture
def ctl(tmp_path: Path) -> Iterator[Decnetctl]:
    made = Decnetctl(tmp_path, free_ports(MANY))
    made("up", "--detach")
    yield made
    made("down")


async def answers(kind: str, port: int, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await deeds.LOOKS[kind]("127.0.0.1", port, f"127.44.0.{number}", f"m{number}")


def listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def footprint(ctl: Decnetctl) -> dict[str, Any]:
    """What a decoy may leave behind."""
    told: Any = json.loads(ctl("status", "--json").out)
    manager = told["manager"]["pid"]
    return {
        "descriptors": len(os.listdir(f"/proc/{manager}/fd")),  # noqa: PTH208
        "children": len(procfs.read_children(manager) or ()),
        "state": sorted(path.name for path in (ctl.runtime / "state").iterdir()),
    }


async def test_scaled_decoys_answer_and_scaled_down_leave_nothing(ctl: Decnetctl) -> None:
    before = min((footprint(ctl) for _ in range(3)), key=lambda found: found["descriptors"])
    told = json.loads(ctl("scale", "decoy@ssh", str(MANY), "--json").out)
    assert (len(told["started"]), told["failed"]) == (MANY, [])
    ctl("scale", "decoy@http", "3")
    up = ctl.ready()
    # The first of a kind is decoy@ssh-01 or decoy@ssh: one of them, and the same port.
    assert len(up) == MANY + 3
    for kind, count in (("ssh", MANY), ("http", 3)):
        for number in range(1, count + 1):
            await answers(kind, ctl.port(kind, number), number)

    again = json.loads(ctl("scale", "decoy@ssh", str(MANY), "--json").out)
    assert (again["started"], again["stopped"], again["kept"]) == ([], [], MANY)

    ctl("scale", "decoy@ssh", "2")
    left = ctl.ready()
    assert len([name for name in left if "ssh" in name]) == 2
    assert {name: left[name] for name in left} == {name: up[name] for name in left}, "not restarted"
    await answers("ssh", ctl.port("ssh", 2), 2)
    assert not any(listens(ctl.port("ssh", number)) for number in range(3, MANY + 1))

    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", ctl.port("ssh", 3)))
        other.listen(1)
        done = ctl("scale", "decoy@ssh", "3", "--timeout", "1s", code=1)
    assert f"'decoy@ssh-03': port {ctl.port('ssh', 3)} on 127.0.0.1 is taken" in done.err

    ctl("scale", "decoy@ssh", "0")
    ctl("scale", "decoy@http", "0")
    assert ctl.ready() == {}

    # The connection of the command that was last, and who is about to be reaped, go a moment later.
    def nothing_is_left() -> bool:
        after = footprint(ctl)
        same = all(after[name] == before[name] for name in ("children", "state"))
        return same and after["descriptors"] <= before["descriptors"]

    eventually(nothing_is_left, f"not as before: {before}")
