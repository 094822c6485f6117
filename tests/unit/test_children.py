"""Whose process it is that speaks: found by asking the process, however many workers there are."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from zygote.manager.children import Child, Children
from zygote.manager.leaves import Leaf
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
