"""Reading where we are in the cgroup tree, from the texts that real machines gave."""

from __future__ import annotations

from pathlib import Path

import pytest

from zygote.fleet.model import Run, WorkerSpec
from zygote.manager import leaves
from zygote.sys import cgroupfs
from zygote.sys.cgroupfs import Group, Mount

UNIFIED = (
    "28 22 0:25 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw"
)
HYBRID = """\
40 24 0:30 / /sys/fs/cgroup rw,relatime - tmpfs cgroup_root rw,mode=755
41 40 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
49 40 0:39 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
CONTAINER = "1042 1038 0:27 /docker/ab /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate"


def test_cgroupfs_mountinfo_unified() -> None:
    assert cgroupfs.parse_mountinfo(UNIFIED) == Mount(Path("/sys/fs/cgroup"), "/", False)
    quick = cgroupfs.parse_mountinfo(f"{UNIFIED},nsdelegate,favordynmods")
    assert quick == Mount(Path("/sys/fs/cgroup"), "/", False, moves_quickly=True)


def test_cgroupfs_mountinfo_hybrid_takes_the_v2_mount() -> None:
    mount = cgroupfs.parse_mountinfo(HYBRID)
    assert mount and mount.path == Path("/sys/fs/cgroup/unified")


def test_cgroupfs_mountinfo_container_is_read_only_and_shows_a_part() -> None:
    assert cgroupfs.parse_mountinfo(CONTAINER) == Mount(Path("/sys/fs/cgroup"), "/docker/ab", True)


def test_cgroupfs_mountinfo_v1_only_and_escapes() -> None:
    assert cgroupfs.parse_mountinfo(HYBRID.splitlines()[1]) is None
    mount = cgroupfs.parse_mountinfo(UNIFIED.replace("/sys/fs/cgroup ", r"/my\040tree "))
    assert mount and mount.path == Path("/my tree")


def test_cgroupfs_membership() -> None:
    assert cgroupfs.parse_membership("0::/system.slice/x.service\n") == (
        "/system.slice/x.service",
        (),
    )
    hybrid = "9:name=systemd:/\n4:memory:/a:b\n3:cpu,cpuacct:/\n0::/c:d\n"
    assert cgroupfs.parse_membership(hybrid) == ("/c:d", ("memory", "cpu", "cpuacct"))
    assert cgroupfs.parse_membership("4:memory:/\n") == (None, ("memory",))


@pytest.mark.parametrize(
    "root,path,folder",
    [
        ("/", "/", "/m"),
        ("/", "/a/b", "/m/a/b"),
        ("/docker/ab", "/docker/ab", "/m"),
        ("/docker/ab", "/docker/ab/c", "/m/c"),
        ("/docker/ab", "/docker/abc", None),
        ("/docker/ab", "/", None),
    ],
)
def test_cgroupfs_folder_of(root: str, path: str, folder: str | None) -> None:
    found = cgroupfs.folder_of(Mount(Path("/m"), root, False), path)
    assert found == (Path(folder) if folder else None)


def test_cgroupfs_kill_and_remove_of_a_gone_group_are_quiet(tmp_path: Path) -> None:
    gone = Group(tmp_path / "gone")
    gone.kill()
    gone.remove()
    assert gone.pids() == [] and gone.counters("memory.events") == {}


def worker(**limits: object) -> WorkerSpec:
    return WorkerSpec("web", "floor", Run("module", "x"), **limits)  # type: ignore[arg-type]


def test_leaves_limits_are_written_as_the_kernel_reads_them(tmp_path: Path) -> None:
    names = "memory.max memory.high memory.swap.max pids.max cpu.weight cpu.max memory.events"
    for name in names.split():
        (tmp_path / name).write_text("")
    leaf = leaves.Leaf(tmp_path)
    leaf.limit(
        worker(memory_max=1 << 20, memory_high=1 << 19, tasks_max=7, cpu_weight=50, cpu_max=0.25)
    )
    assert leaf.unenforced == []
    assert {n: (tmp_path / n).read_text() for n in names.split()[:-1]} == {
        "memory.max": "1048576",
        "memory.high": "524288",
        "memory.swap.max": "0",
        "pids.max": "7",
        "cpu.weight": "50",
        "cpu.max": "25000 100000",
    }


def test_leaves_limit_without_its_controller_is_told_by_key(tmp_path: Path) -> None:
    leaf = leaves.Leaf(tmp_path)
    leaf.limit(worker(tasks_max=7))
    assert leaf.unenforced == ["tasks_max: the controller pids is not given to this cgroup"]


def test_leaves_oom_kills_count_from_their_making(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\n")
    leaf = leaves.Leaf(tmp_path)
    assert leaf.oom_kills() == 0
    events.write_text("low 0\noom 4\noom_kill 3\n")
    assert leaf.oom_kills() == 1
    assert leaves.Leaf(tmp_path).oom_kills() == 0


def test_leaf_counts_the_private_memory_that_is_charged_to_it(tmp_path: Path) -> None:
    leaf = leaves.Leaf(tmp_path)
    assert leaf.anonymous() is None, "no memory controller here"
    (tmp_path / "memory.stat").write_text("anon 4096\nfile 81920\n")
    assert leaf.anonymous() == 4096


def test_leaves_without_base_give_none_and_say_why() -> None:
    none = leaves.Leaves(None, "no cgroup v2 file system is mounted here")
    assert none.leaf("worker", "web", worker()) is None
    assert none.summary == "not enforced: no cgroup v2 file system is mounted here"
    assert leaves.Leaves(Group(Path("/x")), "").summary == "enforced"


@pytest.mark.parametrize(
    "folder,is_leaf",
    [
        ("worker.web", True),
        ("worker.web+2", True),
        ("worker.web2", False),
        ("worker.web+x", False),
        ("zygote.web", False),
    ],
)
def test_leaves_know_their_own_names(folder: str, is_leaf: bool) -> None:
    assert leaves._is_name(folder, "worker.web") is is_leaf
