"""Workers of a real zygote: whose children they are, on every path, and what the zygote keeps."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cgroups import try_cgroup
from tests.support.forkserver import (
    DEADLINE,
    BakeFailedError,
    MiniManager,
    SpawnFailedError,
    subreaper,
)
from tests.support.tracing import strace
from zygote.sys import procfs

PATHS = ("clone3", "clone", "fork")

IDENTITY = """
import json, os, signal, threading
seen = []
signal.signal(signal.SIGUSR1, lambda number, frame: seen.append("raised"))
signal.raise_signal(signal.SIGUSR1)
signal.signal(signal.SIGUSR2, lambda number, frame: seen.append("killed"))
os.kill(os.getpid(), signal.SIGUSR2)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
thread = threading.Thread(target=lambda: seen.append("thread"))
thread.start()
thread.join()
print(json.dumps({
    "pid": os.getpid(), "ppid": os.getppid(), "native_id": threading.get_native_id(),
    "main": threading.current_thread() is threading.main_thread(), "seen": seen,
}))
raise SystemExit(37)
"""

OUTLIVES = """
import signal
import time
signal.signal(signal.SIGUSR1, lambda number, frame: None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("waiting", flush=True)
signal.sigwait({signal.SIGUSR1})
print("alive", flush=True)
raise SystemExit(3)
"""


@pytest.fixture(params=PATHS)
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MiniManager]:
    with subreaper():
        made = MiniManager(tmp_path / "zygote.log", request.param)
        try:
            report = made.bake()
            assert report["spawn_path"] == request.param
            yield made
        finally:
            made.close()


def test_spawn_worker_is_the_managers_child_and_knows_itself(manager: MiniManager) -> None:
    worker = manager.spawn(IDENTITY)
    told = worker.json()
    assert told == {
        "pid": worker.pid,
        "ppid": os.getpid(),
        "native_id": worker.pid,
        "main": True,
        "seen": ["raised", "killed", "raised", "thread"],
    }
    assert worker.wait() == 37


def test_spawn_worker_reports_up_with_its_pid(manager: MiniManager) -> None:
    worker = manager.spawn("pass")
    report = worker.up()
    assert (report["up"], report["pid"]) == (True, worker.pid)
    assert worker.wait() == 0


def test_spawn_death_by_signal_is_reaped_as_such(manager: MiniManager) -> None:
    worker = manager.spawn("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert worker.wait() == -signal.SIGKILL


def test_spawn_pidfd_is_the_workers(manager: MiniManager) -> None:
    worker = manager.spawn(OUTLIVES)
    assert worker.line() == "waiting"
    if worker.pidfd < 0:  # the fork path has none: the manager opens it for its own child
        worker.pidfd = os.pidfd_open(worker.pid)
    signal.pidfd_send_signal(worker.pidfd, signal.SIGUSR1)
    assert worker.line() == "alive"
    assert worker.wait() == 3


def test_spawn_worker_outlives_its_killed_zygote(manager: MiniManager) -> None:
    worker = manager.spawn(OUTLIVES)
    assert worker.line() == "waiting"
    manager.process.kill()
    assert manager.process.wait(120) == -signal.SIGKILL
    os.kill(worker.pid, signal.SIGUSR1)
    assert worker.line() == "alive"
    assert worker.wait() == 3


def test_spawn_leaves_nothing_in_the_zygote(manager: MiniManager) -> None:
    pid = manager.process.pid
    for _ in range(3):
        assert manager.spawn("pass").wait() == 0
    fds, before = _kept_fds(pid), _rss_kib(pid)
    for _ in range(20):
        assert manager.spawn("pass").wait() == 0
    assert _kept_fds(pid) == fds
    assert _rss_kib(pid) - before <= 64


def test_spawn_large_body_travels_in_a_memfd(manager: MiniManager) -> None:
    code = "import sys; print(len(sys.argv[1]))"
    worker = manager.spawn(code, args=["x" * 100_000])
    assert worker.line() == "100000"
    assert worker.wait() == 0


def test_spawn_worker_has_no_link(manager: MiniManager) -> None:
    code = """
import os
names = [os.readlink(f"/proc/self/fd/{fd}") for fd in map(int, os.listdir("/proc/self/fd"))
         if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}")]
print([name for name in names if name.startswith("socket:")])
"""
    worker = manager.spawn(code)
    assert worker.line() == "[]"
    assert worker.wait() == 0


def test_spawn_zygote_ends_when_the_manager_hangs_up(manager: MiniManager) -> None:
    worker = manager.spawn(OUTLIVES)
    assert worker.line() == "waiting"
    assert manager.hang_up() == 0
    os.kill(worker.pid, signal.SIGUSR1)
    assert worker.wait() == 3


def test_spawn_random_and_hashes_differ_between_workers(manager: MiniManager) -> None:
    code = "import random, os; print(random.random(), os.urandom(4).hex())"
    lines = {manager.spawn(code).line() for _ in range(3)}
    assert len(lines) == 3


def test_spawn_into_a_cgroup_starts_there(tmp_path: Path) -> None:
    with try_cgroup() as leaf, subreaper():
        if leaf is None:
            pytest.skip("no cgroup v2 folder can be made here")
        made = MiniManager(tmp_path / "zygote.log", "clone3")
        folder = os.open(leaf, os.O_RDONLY | os.O_DIRECTORY)
        try:
            made.bake()
            worker = made.spawn("print(open('/proc/self/cgroup').read().strip())", cgroup=folder)
            assert worker.read().splitlines()[-1].endswith(f"/{leaf.name}")
            assert worker.wait() == 0
        finally:
            os.close(folder)
            made.close()


def test_spawn_into_what_is_no_cgroup_fails_at_clone(tmp_path: Path) -> None:
    made = MiniManager(tmp_path / "zygote.log", "clone3")
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        made.bake()
        with pytest.raises(SpawnFailedError) as caught:
            made.spawn("pass", cgroup=folder)
        assert caught.value.parts["step"] == "clone"
        assert caught.value.parts["errno"] != 0
        assert "cgroup" in caught.value.parts["hint"]
        assert made.spawn("print(1)").line() == "1"
    finally:
        os.close(folder)
        made.close()


def test_spawn_path_falls_back_to_clone_where_clone3_is_refused(tmp_path: Path) -> None:
    made = MiniManager(tmp_path / "zygote.log", prefix=strace("-e", "inject=clone3:error=ENOSYS"))
    try:
        report = made.bake()
        assert report["spawn_path"] == "clone"
        assert "clone3: Function not implemented (ENOSYS)" in report["spawn_path_reason"]
        worker = made.spawn(IDENTITY)
        assert worker.json()["ppid"] == os.getpid()
        assert worker.wait() == 37
    finally:
        made.close()


def test_spawn_path_asked_for_and_refused_is_told(tmp_path: Path) -> None:
    made = MiniManager(
        tmp_path / "zygote.log", "clone3", prefix=strace("-e", "inject=clone3:error=EPERM")
    )
    try:
        with pytest.raises(BakeFailedError, match="cannot make processes by clone3") as caught:
            made.bake()
        assert caught.value.parts["code"] == "spawn-path"
        assert made.process.wait(120) == 1
    finally:
        made.close()


@pytest.mark.parametrize("name", ["EAGAIN", "ENOMEM"])
def test_spawn_without_room_for_a_process_fails_and_the_next_works(
    tmp_path: Path, name: str
) -> None:
    # The zygote's own first call is the test for CLONE_INTO_CGROUP, its second the first spawn.
    rule = f"inject=clone3:error={name}:when=2"
    made = MiniManager(tmp_path / "zygote.log", prefix=strace("-e", rule))
    try:
        assert made.bake()["spawn_path"] == "clone3"
        with pytest.raises(SpawnFailedError) as caught:
            made.spawn("pass")
        assert caught.value.parts["step"] == "clone"
        assert caught.value.parts["errno"] == getattr(errno, name)
        assert caught.value.parts["hint"]
        assert made.spawn("print(1)").line() == "1"
    finally:
        made.close()


def _kept_fds(pid: int) -> dict[str, str]:
    """Stdio and the link, once the zygote has closed what went with its last answer."""
    deadline = time.monotonic() + DEADLINE
    while True:
        with contextlib.suppress(FileNotFoundError):  # closed while we looked
            found = {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
            if len(found) <= 4:
                return found
            assert time.monotonic() < deadline, f"they stay open: {found}"
        time.sleep(0.005)


def _rss_kib(pid: int) -> int:
    memory = procfs.read_memory(pid)  # exact; what statm says may be some pages off
    assert memory
    return memory.rss_kib
