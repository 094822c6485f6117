"""One blank of a real zygote: what it is while it waits, and what comes of what it is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_forkserver_spawn import IDENTITY, PATHS
from tests.support.cgroups import try_cgroup
from tests.support.forkserver import MiniManager, subreaper
from zygote.sys import fds
from zygote.wire.messages import Kind, Packet, encode

LOOP = """
import asyncio, os, random
async def main():
    process = await asyncio.create_subprocess_exec("/bin/echo", "hello", stdout=-1)
    out, _ = await process.communicate()
    print(out.decode().strip(), await asyncio.to_thread(os.getpid) == os.getpid(), random.random())
asyncio.run(main())
"""


@pytest.fixture(params=PATHS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MiniManager]:
    with subreaper():
        made = MiniManager(tmp_path / "zygote.log", request.param)
        try:
            assert made.bake()["blanks"]
            yield made
        finally:
            made.close()


def test_blank_becomes_a_sound_process(manager: MiniManager) -> None:
    one, other, third = manager.blanks(3)
    worker = manager.spawn(IDENTITY, blank=one)
    assert worker.up()["pid"] == one.pid
    found = worker.json()
    assert found["pid"] == found["native_id"] == one.pid
    assert found["ppid"] == os.getpid()
    assert found["main"]
    assert found["seen"] == ["raised", "killed", "raised", "thread"]
    assert worker.wait() == 37
    drawn = set()
    for blank in (other, third):
        words = manager.spawn(LOOP, blank=blank).line().split()
        assert words[:2] == ["hello", "True"]
        drawn.add(words[2])
    drawn.add(manager.spawn(LOOP).line().split()[2])
    assert len(drawn) == 3


def test_blank_that_nobody_wants_ends_quietly(manager: MiniManager) -> None:
    (blank,) = manager.blanks(1)
    manager.waiting.remove(blank)
    blank.sock.close()
    assert os.waitstatus_to_exitcode(os.waitpid(blank.pid, 0)[1]) == 0


@pytest.mark.parametrize(
    "packet",
    [b"nonsense", encode(Packet(Kind.BAKE)), encode(Packet(Kind.SPAWN, body=b"{}"))[:-1]],
    ids=["nonsense", "no spawn", "cut"],
)
def test_blank_that_is_sent_nonsense_says_so_and_ends(tmp_path: Path, packet: bytes) -> None:
    made = MiniManager(tmp_path / "zygote.log")
    try:
        made.bake()
        (blank,) = made.blanks(1)
        fds.send(blank.sock, packet)
        made.waiting.remove(blank)
        assert os.waitstatus_to_exitcode(os.waitpid(blank.pid, 0)[1]) == 70
        blank.sock.close()
        assert "zygote: a blank: " in made.log.read_text()
        assert made.spawn("print(1)").line() == "1"  # the zygote serves on
    finally:
        made.close()


def test_blank_moves_to_its_workers_cgroup(tmp_path: Path) -> None:
    with try_cgroup() as leaf, subreaper():
        if leaf is None:
            pytest.skip("no cgroup v2 folder can be made here")
        made = MiniManager(tmp_path / "zygote.log")
        procs = os.open(leaf / "cgroup.procs", os.O_WRONLY)
        try:
            made.bake()
            (blank,) = made.blanks(1)
            code = "print(open('/proc/self/cgroup').read().strip())"
            worker = made.spawn(code, blank=blank, cgroup_procs=procs)
            assert worker.read().splitlines()[-1].endswith(f"/{leaf.name}")
            assert worker.wait() == 0
        finally:
            os.close(procs)
            made.close()
