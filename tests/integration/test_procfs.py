"""Our reader of /proc against psutil, and against processes that end under it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.support.cli import eventually
from zygote.client.memory import measure
from zygote.sys import procfs

TOLERANCE_KIB = 256
"""Two readings of an idle process differ by what is still being paged in."""

TOLERANCE_START = 1.1
"""psutil counts from the boot's time in whole seconds (btime in /proc/stat)."""

TOLERANCE_PSS_SHARE = 0.02
"""PSS changes as other processes map and unmap the same libraries."""


@pytest.fixture
def idle() -> Iterator[psutil.Process]:
    """A process with 20 MB of its own that does nothing."""
    code = "import sys, json; x = bytearray(b'x' * 20_000_000); print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        eventually(lambda: (stat := procfs.read_stat(process.pid)) and stat.state == "S")
        yield psutil.Process(process.pid)
        process.kill()


def test_memory_agrees_with_psutil(idle: psutil.Process) -> None:
    while True:
        before = procfs.read_memory(idle.pid)
        theirs = idle.memory_full_info()
        ours = procfs.read_memory(idle.pid)
        assert before and ours
        # Else others, who share its libraries, came or went between the readings.
        if abs(before.pss_kib - ours.pss_kib) <= TOLERANCE_KIB and before.rss_kib == ours.rss_kib:
            break
    assert abs(ours.rss_kib - theirs.rss / 1024) <= TOLERANCE_KIB
    assert abs(ours.uss_kib - theirs.uss / 1024) <= TOLERANCE_KIB
    slack = TOLERANCE_KIB + TOLERANCE_PSS_SHARE * theirs.pss / 1024
    assert abs(ours.pss_kib - theirs.pss / 1024) <= slack
    assert ours.swap_kib == theirs.swap // 1024


def test_meminfo_agrees_with_psutil() -> None:
    assert procfs.read_meminfo_kib("MemTotal") == psutil.virtual_memory().total // 1024
    assert 0 < procfs.read_meminfo_kib("MemAvailable") <= procfs.read_meminfo_kib("MemTotal")
    assert procfs.read_meminfo_kib("Mem") == 0, "of no such line"


def test_memory_figures_fit_together(idle: psutil.Process) -> None:
    ours = procfs.read_memory(idle.pid)
    assert ours
    assert 20_000_000 / 1024 <= ours.private_dirty_kib <= ours.uss_kib
    assert ours.uss_kib <= ours.pss_kib <= ours.rss_kib
    assert ours.uss_kib + ours.shared_clean_kib + ours.shared_dirty_kib == ours.rss_kib
    assert 20 <= ours.pagetables_kib <= 4096
    resident = procfs.read_resident(idle.pid)
    assert resident
    assert resident.pagetables_kib == ours.pagetables_kib
    assert abs(resident.rss_kib - ours.rss_kib) <= TOLERANCE_KIB


def test_stat_agrees_with_psutil(idle: psutil.Process) -> None:
    ours = procfs.read_stat(idle.pid)
    assert ours
    assert (ours.pid, ours.ppid, ours.threads) == (idle.pid, os.getpid(), idle.num_threads())
    assert ours.name == idle.name()[:15]
    assert ours.pgrp == os.getpgid(idle.pid)
    assert ours.session == os.getsid(idle.pid)
    times = idle.cpu_times()
    assert ours.cpu == pytest.approx(times.user + times.system, abs=0.02)
    assert ours.started_at() == pytest.approx(idle.create_time(), abs=TOLERANCE_START)
    assert 0 < ours.age() < 120


def test_stat_of_an_evil_name() -> None:
    """The name may hold what separates the fields."""
    code = (
        "import ctypes, sys\n"
        "ctypes.CDLL(None).prctl(15, b') R 1 1 ) (\\n', 0, 0, 0)\n"
        "print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "up\n"
        found = procfs.read_stat(process.pid)
        process.kill()
    assert found
    assert (found.pid, found.ppid, found.name) == (process.pid, os.getpid(), ") R 1 1 ) (\n")


def test_gone_is_none_everywhere() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    for read in (procfs.read_stat, procfs.read_memory, procfs.read_resident, procfs.read_children):
        assert read(process.pid) is None
    assert measure(process.pid).pid is None


def test_zombie_has_a_state_and_no_memory() -> None:
    process = subprocess.Popen(["true"])

    def zombie() -> procfs.Stat | None:
        stat = procfs.read_stat(process.pid)
        return stat if stat and stat.is_zombie else None

    stat = eventually(zombie)
    assert stat.ppid == os.getpid()
    assert procfs.read_memory(process.pid) is None
    assert procfs.read_resident(process.pid) is None
    row = measure(process.pid)
    assert (row.pid, row.rss_kib, row.ppid) == (process.pid, None, os.getpid())
    process.wait()


def test_children_of_all_threads() -> None:
    code = (
        "import subprocess, threading\n"
        "found = []\n"
        "def start(): found.append(subprocess.Popen(['sleep', '100']).pid)\n"
        "done = threading.Event()\n"
        "t = threading.Thread(target=lambda: (start(), done.wait()))\n"
        "t.start(); start()\n"
        "import time\n"
        "while len(found) < 2: time.sleep(0.01)\n"
        "print(*found, flush=True)\n"
        "try: input()\nexcept EOFError: pass\n"
        "done.set()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        born = tuple(sorted(map(int, process.stdout.readline().split())))
        try:
            assert procfs.read_children(process.pid) == born
            assert procfs._children_by_scan(process.pid) == born
        finally:
            for pid in born:
                os.kill(pid, signal.SIGKILL)
            process.kill()


def test_reading_while_processes_end() -> None:
    """Whatever moment a process ends at, the answer is a record or None, and no exception."""
    deadline = time.monotonic() + 1.0
    rounds = 0
    while time.monotonic() < deadline or rounds < 20:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        for read in (procfs.read_stat, procfs.read_memory, procfs.read_resident):
            read(pid)
        os.waitpid(pid, 0)
        measure(pid)
        rounds += 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_permission_denied_is_told_from_gone() -> None:
    """As `nobody`, of a process of root: what is open to all, and the rest marked as denied."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgid(65534)
        os.setuid(65534)
        try:
            procfs.read_memory(os.getppid())
            said = "readable"
        except PermissionError:
            row = measure(os.getppid())
            seen = row.denied and row.rss_kib and row.pagetables_kib and row.pss_kib is None
            said = "denied" if seen else repr(row)
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with open(read) as answer:
        assert answer.read() == "denied"


def test_boot_id_is_a_uuid() -> None:
    assert len(procfs.read_boot_id()) == 36
