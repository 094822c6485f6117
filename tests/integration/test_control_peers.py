"""Who may call which method: each of them, by somebody who may not, who may read, who may act."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.control_app import Served, reachable, serving
from tests.support.varlink_raw import NAME
from zygote.control.interface import ManagerInterface
from zygote.fleet.model import Fleet
from zygote.manager.peers import EVERYBODY, READ, Peers, resolve

METHODS = sorted(name for name in vars(ManagerInterface) if name[0].isupper())
REFUSED = 5
OPERATORS, READERS = 4242, 4243

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


STRANGER = """
import json, os, socket, sys
os.setgroups(json.loads(sys.argv[3])); os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
codes = {}
for method in sys.argv[2].split():
    sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1])
    words = {"follow": False, "last": 1} if method == "Events" else {}
    call = {"method": f"NAME.{method}", "parameters": words}
    if method in ("Events", "Run", "Roll", "Refork"): call["more"] = True
    sock.sendall(json.dumps(call).encode() + b"\\0")
    data = b""
    while b"\\0" not in data:
        part = sock.recv(65536)
        if not part: sys.exit("hung up")
        data += part
    codes[method] = json.loads(data.split(b"\\0")[0]).get("parameters", {}).get("exit_code")
print(json.dumps(codes))
""".replace("NAME", NAME)


async def codes(served: Served, groups: list[int]) -> dict[str, int | None]:
    """What each method answers to uid 65534 with these groups: 5 is "not allowed"."""
    reachable(served.path)
    served.app.events.emit("one", "x")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-c", STRANGER, str(served.path), " ".join(METHODS),
        json.dumps(groups), stdout=subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    found: dict[str, int | None] = json.loads(out)
    assert sorted(found) == METHODS
    return found


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as made:
        yield made


def allowed(found: dict[str, int | None]) -> set[str]:
    """Those that were not refused: what they then say without parameters does not matter."""
    return {name for name, code in found.items() if code != REFUSED}


async def test_peers_a_wrong_uid_may_call_no_method(served: Served) -> None:
    await served.start(peers=Peers(readers=READERS, operators=OPERATORS))
    assert allowed(await codes(served, [7])) == set()
    assert not served.app.calls and not served.app.stopping


async def test_peers_readers_may_call_what_changes_nothing(served: Served) -> None:
    await served.start(peers=Peers(readers=READERS, operators=OPERATORS))
    assert allowed(await codes(served, [READERS])) == READ
    assert not served.app.calls and not served.app.stopping


async def test_peers_everybody_may_read_where_the_file_says_so(served: Served) -> None:
    await served.start(peers=Peers(readers=EVERYBODY))
    assert allowed(await codes(served, [])) == READ


async def test_peers_operators_may_call_every_method(served: Served) -> None:
    served.app.release.set()
    await served.start(peers=Peers(operators=OPERATORS))
    assert allowed(await codes(served, [7, OPERATORS])) == set(METHODS)
    assert served.app.stopping, "Shutdown was done"


def test_peers_groups_of_the_fleet_file_are_resolved() -> None:
    def fleet(**keys: str) -> Fleet:
        return Fleet("f", "f.toml", "", {}, {}, {}, (), **keys)

    peers, trouble = resolve(fleet(operators=str(OPERATORS), readers="all"))
    assert not trouble and (peers._operators, peers._readers) == (OPERATORS, EVERYBODY)
    peers, trouble = resolve(fleet(operators="no-such-group", readers="nobody"))
    assert (peers._operators, peers._readers) == (None, None)
    assert trouble == [
        'operators = "no-such-group": there is no such group here, so nobody is let in'
    ]
