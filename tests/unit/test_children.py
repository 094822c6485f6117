"""Whose process it is that speaks: found by asking the process, however many workers there are."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from zygote.manager.children import Child, Children
from zygote.manager.leaves import Leaf
from zygote.manager.policy import End
from zygote.manager.start import Program
from zygote.sys import cgroupfs
from zygote.sys.cgroupfs import Group


async def child_in(children: Children, pid: int, leaf: Path) -> Child:
    leaf.mkdir()
    ended = asyncio.get_running_loop().create_future()
    # Any descriptor that it may close will do: nothing is signalled here.
    descriptor = os.open(os.devnull, os.O_RDONLY)
    return children.add(Child(pid, descriptor, "worker", leaf.name, ended, Leaf(leaf)))


async def test_owner_is_found_by_cgroup_without_reading_every_leaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = Children()
    made = [await child_in(children, 4_000_000 + n, tmp_path / f"worker.{n}") for n in range(50)]
    reads: list[Path] = []
    monkeypatch.setattr(Leaf, "pids", lambda leaf: reads.append(leaf.path) or [])
    monkeypatch.setattr(cgroupfs, "group_of", lambda pid: Group(tmp_path / "worker.7"))
    assert children.owner(os.getpid()) is made[7]
    monkeypatch.setattr(cgroupfs, "group_of", lambda pid: Group(tmp_path / "stranger"))
    assert children.owner(os.getpid()) is None
    assert reads == []
    children.remove(made[7])
    monkeypatch.setattr(cgroupfs, "group_of", lambda pid: Group(tmp_path / "worker.7"))
    assert children.owner(os.getpid()) is None, "it is forgotten with its child"
    for child in made:
        if child is not made[7]:
            children.remove(child)


async def test_number_of_a_reaped_child_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda leader, number: killed.append(leader))
    children = Children()
    ended = asyncio.get_running_loop().create_future()
    child = Child(4_000_000, -1, "zygote", "floor", ended, session=False)
    children.kill(child)
    assert killed == [4_000_000]
    ended.set_result(End("exited"))
    children.kill(child)
    assert killed == [4_000_000], "it may be another's by now"


async def test_adopted_process_that_another_has_reaped_is_not_killed_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda leader, number: killed.append(leader))
    process = subprocess.Popen(  # noqa: ASYNC220
        ["/bin/sleep", "600"], start_new_session=True
    )
    ended = asyncio.get_running_loop().create_future()
    pidfd = os.pidfd_open(process.pid)
    child = Child(process.pid, pidfd, "worker", "web", ended, session=False, ours=False)
    try:
        children = Children()
        children.kill(child)
        assert killed == [process.pid]
        assert process.wait(20) == -signal.SIGKILL
        children.kill(child)
        assert killed == [process.pid], "it may be another's by now"
    finally:
        process.kill()
        process.wait()
        os.close(pidfd)


async def test_program_that_cannot_be_watched_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def no_descriptor(pid: int) -> int:
        made.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("zygote.manager.children.pidfds.pidfd_open", no_descriptor)
    children = Children()
    with pytest.raises(OSError, match="Too many open files"):
        children.start(Program(("/bin/sleep", "60"), {}), "checker", "sleep")
    _, status = os.waitpid(made[0], 0)  # noqa: ASYNC222 - it is dead, or as good as
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert children.of_kind("checker") == []
