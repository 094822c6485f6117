"""Leaves on the kernel's own ground: finding a base, limits, birth into a leaf, kill, removal."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zygote.fleet.model import Run, WorkerSpec
from zygote.manager.leaves import Leaf, Leaves
from zygote.sys.cgroupfs import Group
from zygote.sys.clone3 import clone3

SPEC = WorkerSpec("w", "floor", Run("module", "x"))
_numbers = itertools.count(1)


@pytest.fixture
def base(ground: Group) -> Iterator[Group]:
    """A group below our own, which holds no process yet."""
    group = Group(ground.path / f"base-{next(_numbers)}")
    group.path.mkdir()
    yield group
    group.kill()
    for _ in range(6000):
        try:
            group.remove()
            return
        except OSError as error:
            assert error.errno == errno.EBUSY
            select.select([], [], [], 0.02)
    pytest.fail(f"{group.path} stays busy: {group.pids()}")


@pytest.fixture
def leaves(base: Group) -> Leaves:
    for name in ("memory", "pids", "cpu"):
        base.give(name)
    return Leaves(base, "")


def made(leaves: Leaves, spec: WorkerSpec | None = None) -> Leaf:
    leaf = leaves.leaf("worker", "w", spec)
    assert leaf is not None and leaf.unenforced == []
    return leaf


def start_in(leaf: Leaf | Group, code: str) -> subprocess.Popen[str]:
    """A Python process that joins the group before it does anything else."""
    enter = f"open({str(leaf.path / 'cgroup.procs')!r}, 'w').write('0')\n"
    return subprocess.Popen(
        [sys.executable, "-S", "-c", enter + code], stdout=subprocess.PIPE, text=True
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def ended(process: subprocess.Popen[str]) -> int:
    assert process.stdout
    process.stdout.close()
    return process.wait(120)


async def removed(leaf: Leaf) -> None:
    async with asyncio.timeout(120):
        while leaf.path.exists():
            await asyncio.sleep(0.02)


# ---- birth and death ---------------------------------------------------------------------


def test_leaf_child_is_born_in_it(leaves: Leaves) -> None:
    leaf = made(leaves)
    folder = leaf.open_dir()
    reader, writer = os.pipe()
    pid, pidfd = clone3(parent=False, cgroup=folder)
    if pid == 0:
        os.write(writer, Path("/proc/self/cgroup").read_bytes())
        os._exit(0)
    os.close(writer)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(reader, 4096).decode().strip().endswith(f"{leaf.path.parent.name}/worker.w")
    for fd in (reader, folder, pidfd):
        os.close(fd)


def test_leaf_without_clone3_is_joined_through_a_passed_descriptor(leaves: Leaves) -> None:
    """The right to join is that of who opened cgroup.procs: the child may be nobody by then."""
    leaf = made(leaves)
    procs = leaf.open_procs()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        os.write(procs, b"0")
        found = Path("/proc/self/cgroup").read_text().strip()
        os._exit(0 if found.endswith("/worker.w") else 1)
    os.close(procs)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("way", ["cgroup.kill", "one by one"])
async def test_leaf_kill_takes_daemons_and_removal_follows(
    leaves: Leaves, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By cgroup.kill, and as on a kernel before 5.14."""
    write = Group.write

    def without_kill(self: Group, name: str, value: str) -> None:
        if name == "cgroup.kill" and way == "one by one":
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        write(self, name, value)

    monkeypatch.setattr(Group, "write", without_kill)
    leaf = made(leaves)
    process = start_in(
        leaf,
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    for number in range(1, 32):\n"
        "        if number not in (9, 19): signal.signal(number, signal.SIG_IGN)\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n",
    )
    daemon = int(line_of(process))
    watch = os.pidfd_open(daemon)
    assert sorted(leaf.pids()) == sorted([process.pid, daemon])
    leaf.remove()
    assert select.select([watch], [], [], 60)[0]
    assert ended(process) == -signal.SIGKILL
    os.close(watch)
    await removed(leaf)
    leaf.kill()
    assert leaf.pids() == []


def test_leaf_name_is_free_again_or_gets_a_number(leaves: Leaves) -> None:
    first = made(leaves)
    process = start_in(first, "import signal; print('in', flush=True); signal.pause()")
    assert line_of(process) == "in"
    second = made(leaves)
    assert (first.path.name, second.path.name) == ("worker.w", "worker.w+2")
    adopted = leaves.adopt(process.pid, "worker", "w")
    assert adopted and adopted.path == first.path
    assert leaves.adopt(process.pid, "worker", "other") is None
    first.kill()
    ended(process)
    leaves.close()
    assert not second.path.exists()
    assert made(leaves).path.name == "worker.w"


# ---- limits ------------------------------------------------------------------------------


def limited(**limits: object) -> WorkerSpec:
    return WorkerSpec("w", "floor", Run("module", "x"), **limits)  # type: ignore[arg-type]


def test_leaf_oom_is_counted_and_takes_the_whole_group(leaves: Leaves) -> None:
    leaf = made(leaves, limited(memory_max=32 << 20))
    bystander = start_in(leaf, "import signal; print('in', flush=True); signal.pause()")
    assert line_of(bystander) == "in"
    hog = start_in(leaf, "taken = []\nwhile True: taken.append(bytearray(b'x') * (4 << 20))")
    assert ended(hog) == -signal.SIGKILL
    assert ended(bystander) == -signal.SIGKILL, "memory.oom.group"
    assert leaf.oom_kills() > 0


def test_leaf_sigkill_is_not_counted_as_oom(leaves: Leaves) -> None:
    leaf = made(leaves, limited(memory_max=32 << 20))
    process = start_in(leaf, "import signal; print('in', flush=True); signal.pause()")
    line_of(process)
    leaf.kill()
    assert ended(process) == -signal.SIGKILL and leaf.oom_kills() == 0


@pytest.mark.parametrize("cpu_max,shown", [(0.5, "50000"), (2, "200000"), (0.001, "1000")])
def test_leaf_cpu_max_is_taken_by_the_kernel(leaves: Leaves, cpu_max: float, shown: str) -> None:
    leaf = made(leaves, limited(cpu_max=cpu_max, cpu_weight=10_000, tasks_max=1))
    assert (leaf.path / "cpu.max").read_text() == f"{shown} 100000\n"


# ---- finding a base ----------------------------------------------------------------------

DISCOVER = """
from zygote.manager.leaves import Leaves
found = Leaves.discover("try")
leaf = found.leaf("worker", "x")
print(found.summary, leaf.path if leaf else None, open("/proc/self/cgroup").read(), sep="|")
"""


def discover(group: Group) -> list[str]:
    process = start_in(group, "import site; site.main()\n" + DISCOVER)
    assert process.stdout
    text = process.stdout.read()
    assert ended(process) == 0
    return [part.strip() for part in text.split("|")]


def test_discover_moves_the_manager_aside_and_divides_its_group(base: Group) -> None:
    summary, leaf, own = discover(base)
    assert summary == "enforced"
    assert Path(leaf) == base.path / "worker.x"
    assert own.endswith(f"/{base.path.name}/manager")
    assert base.given() >= {"memory", "pids", "cpu"}


def test_discover_again_in_the_manager_s_leaf_finds_the_same_base(base: Group) -> None:
    """As DelegateSubgroup=manager starts us, or a second start by hand."""
    discover(base)
    summary, leaf, _ = discover(Group(base.path / "manager"))
    assert (summary, Path(leaf)) == ("enforced", base.path / "worker.x")


def test_discover_with_others_in_the_group_changes_nothing_and_names_them(base: Group) -> None:
    other = start_in(base, "import signal; print('in', flush=True); signal.pause()")
    assert line_of(other) == "in"
    summary, leaf, own = discover(base)
    assert summary.startswith("not enforced: other processes") and str(other.pid) in summary
    assert (leaf, own.endswith(f"/{base.path.name}")) == ("None", True)
    assert base.children() == [] and base.given() == frozenset()
    other.kill()
    ended(other)


def test_discover_names_the_controllers_that_are_missing(base: Group) -> None:
    """A parent that gives memory only."""
    base.give("memory")
    inner = Group(base.path / "inner")
    inner.path.mkdir()
    summary, leaf, _ = discover(inner)
    assert leaf == str(inner.path / "worker.x")
    assert summary.startswith("enforced, but not tasks_max (controller pids is not available")
    assert "cpu_max, cpu_weight" in summary


def test_discover_in_a_group_that_systemd_keeps_touches_nothing(ground: Group) -> None:
    slice_ = Group(ground.path.parent / f"not-ours-{os.getpid()}")
    slice_.path.mkdir()
    try:
        summary, leaf, _ = discover(slice_)
        assert summary.startswith("not enforced: ") and "not delegated" in summary
        assert leaf == "None" and slice_.children() == []
    finally:
        slice_.remove()


def test_discover_in_a_read_only_tree_says_so(base: Group) -> None:
    """In a mount namespace of its own, as in most containers."""
    script = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.unshare(0x20000) == 0\n"  # CLONE_NEWNS
        "assert libc.mount(None, b'/', None, 0x44000, None) == 0\n"  # MS_REC | MS_PRIVATE
        "assert libc.mount(None, b'/sys/fs/cgroup', None, 0x1021, None) == 0\n"  # bind, ro
    )
    process = start_in(base, "import site; site.main()\n" + script + DISCOVER)
    assert process.stdout
    text = process.stdout.read()
    assert ended(process) == 0
    assert "not enforced: /sys/fs/cgroup is mounted read-only" in text
