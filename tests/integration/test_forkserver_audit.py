"""The audit of a real zygote: each hazard refused by rule, with the module that made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import BakeFailedError, MiniManager

THREAD = """
import threading
threading.Thread(target=threading.Event().wait, name="sampler", daemon=True).start()
"""
SOCKET = "import socket\nKEPT = socket.socket()\n"
EPOLL = "import select\nKEPT = select.epoll()\n"
FILE = "KEPT = open(__file__)\n"
CHILD = "import subprocess\nKEPT = subprocess.Popen(['sleep', '600'])\n"
ZOMBIE = "import os\nPID = os.fork()\nif not PID: os._exit(0)\n"
SQLITE = "import sqlite3\nKEPT = sqlite3.connect(':memory:')\n"
LOOP_SET = "import asyncio\nasyncio.set_event_loop(asyncio.new_event_loop())\n"
LOOP_OPEN = "import asyncio\nKEPT = asyncio.new_event_loop()\n"

HAZARDS = {
    "thread": (THREAD, "thread", "thread 'sampler'"),
    "socket": (SOCKET, "socket", "socket (fd "),
    "epoll": (EPOLL, "fd", "anon_inode:[eventpoll] (fd "),
    "file": (FILE, "fd", "culprit.py (fd "),
    "child": (CHILD, "child-process", "process 'sleep'"),
    "zombie": (ZOMBIE, "child-process", "process '"),
    "sqlite": (SQLITE, "sqlite", "an open sqlite3.Connection"),
    "loop set": (LOOP_SET, "loop", "an event loop that is set"),
    "loop open": (LOOP_OPEN, "loop", "an event loop that was not closed"),
}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[MiniManager]:
    made = MiniManager(tmp_path / "zygote.log", cwd=tmp_path)
    yield made
    made.close()


def write(folder: Path, source: str) -> None:
    """floor imports middle imports culprit."""
    (folder / "floor.py").write_text("import middle\n")
    (folder / "middle.py").write_text("import json\nimport culprit\n")
    (folder / "culprit.py").write_text(source)


@pytest.mark.parametrize("name", HAZARDS)
def test_audit_refuses_and_names_the_module(manager: MiniManager, name: str) -> None:
    source, rule, what = HAZARDS[name]
    write(manager.cwd, source)
    try:
        with pytest.raises(BakeFailedError) as caught:
            manager.bake(preload=("floor",))
    finally:
        end_child(manager, source)
    parts = caught.value.parts
    assert parts["code"] == "audit-refused"
    findings = [finding for finding in parts["findings"] if what in finding["what"]]
    assert [finding["rule"] for finding in findings] == [rule]
    assert findings[0]["module"] == "culprit"
    assert f"allow = {{ {parts['findings'][0]['rule']} = " in parts["hint"]
    assert manager.process.wait(120) == 1


@pytest.mark.parametrize("name", ["thread", "socket", "sqlite"])
def test_audit_accepts_what_the_fleet_allows(manager: MiniManager, name: str) -> None:
    source, rule, what = HAZARDS[name]
    write(manager.cwd, source)
    report = manager.bake(preload=("floor",), allow={rule: "known to be safe"})
    [finding] = report["findings"]
    assert what in finding["what"]
    assert (finding["rule"], finding["module"]) == (rule, "culprit")
    assert finding["allowed"] == "known to be safe"
    assert manager.spawn("print(1)").line() == "1"


def test_audit_after_the_warm_up_blames_it(manager: MiniManager) -> None:
    body = THREAD.strip().replace("\n", "\n    ")
    (manager.cwd / "floor.py").write_text(f"def warm():\n    {body}\n")
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(preload=("floor",), warm=("floor:warm",))
    [finding] = caught.value.parts["findings"]
    assert (finding["rule"], finding["module"]) == ("thread", "floor:warm")


def test_audit_finds_a_connection_that_the_warm_up_left_open(manager: MiniManager) -> None:
    (manager.cwd / "floor.py").write_text(
        "import sqlite3\nKEPT = []\n"
        "def closed(): sqlite3.connect(':memory:').close()\n"
        "def opened(): KEPT.append(sqlite3.connect(':memory:'))\n"
    )
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(preload=("floor",), warm=("floor:closed", "floor:opened"))
    assert [finding["rule"] for finding in caught.value.parts["findings"]] == ["sqlite"]


def test_audit_waits_for_threads_that_are_about_to_end(manager: MiniManager) -> None:
    (manager.cwd / "floor.py").write_text(
        "import asyncio\n"
        "async def warm():\n"
        "    await asyncio.gather(*[asyncio.to_thread(sum, [1, 2]) for _ in range(8)])\n"
    )
    report = manager.bake(preload=("floor",), warm=("floor:warm",))
    assert report["findings"] == []


def test_audit_counts_several_findings(manager: MiniManager) -> None:
    write(manager.cwd, SOCKET + SQLITE.replace("KEPT", "OTHER"))
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(preload=("floor",), allow={"sqlite": "only one of the two"})
    parts = caught.value.parts
    assert [(f["rule"], bool(f["allowed"])) for f in parts["findings"]] == [
        ("socket", False),
        ("sqlite", True),
    ]


def end_child(manager: MiniManager, source: str) -> None:
    """A refused zygote ends without its child, which nobody else knows."""
    if source is CHILD:
        import psutil

        for process in psutil.process_iter(["cmdline", "cwd"]):
            if process.info["cmdline"] == ["sleep", "600"] and process.info["cwd"] == str(
                manager.cwd
            ):
                process.kill()
