"""What follows the end of a manager: with real groups, and a stand-in for systemctl."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_service_exec import base
from zygote.sys.cgroupfs import Group

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or base() is None,
    reason="root and a cgroup v2 that can be written are needed",
)


class Unit:
    """A delegated unit with one worker left, and a systemctl that tells what we say."""

    def __init__(self, folder: Path) -> None:
        top = base()
        assert top
        self.group = Group(top / f"ended-{uuid.uuid4().hex}")
        self.control = Group(self.group.path / ".control")
        self.worker = Group(self.group.path / "worker.web")
        for group in (self.group, self.control, self.worker):
            group.path.mkdir()
        self.folder = folder
        self.left = self._start(self.worker, ["sleep", "1000"])
        while self.left.pid not in self.worker.pids():
            assert self.left.poll() is None
            time.sleep(0.005)

    def _start(self, group: Group, words: list[str], **more: object) -> subprocess.Popen[str]:
        script = f'echo 0 >"{group.path}/cgroup.procs" && exec "$@"'
        return subprocess.Popen(["/bin/sh", "-c", script, "sh", *words], text=True, **more)  # type: ignore[call-overload,no-any-return]

    def end(self, job: str, status: str = "") -> str:
        """ExecStopPost=, while systemd has that job for the unit; what it said.

        Args:
            status: of the manager, where it ended by itself.
        """
        fake = self.folder / "systemctl"
        fake.write_text(
            f'#!/bin/sh\n[ "$1" != stop ] || echo "systemctl $*"\n[ "$3" != Job ] || echo "{job}"\n'
        )
        fake.chmod(0o755)
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        env |= {"EXIT_CODE": "exited" if status else "killed", "EXIT_STATUS": status or "KILL"}
        words = [sys.executable, "-P", "-m", "zygote.install.ended", "vm.service"]
        with self._start(self.control, words, env=env, stdout=subprocess.PIPE) as process:
            said, _ = process.communicate()
            assert process.returncode == 0
        return str(said)

    def close(self) -> None:
        self.worker.kill()
        self.left.wait()
        deadline = time.monotonic() + 60
        while True:
            try:
                return self.group.remove()
            except OSError:  # the kernel is not done with one that has ended
                assert time.monotonic() < deadline
                time.sleep(0.005)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    made = Unit(tmp_path)
    yield made
    made.close()


def test_ended_while_the_unit_stops_ends_what_is_left(unit: Unit) -> None:
    assert unit.end(job="42") == "worker.web: 1 processes are left, killed\n"
    assert unit.left.wait(120) == -9


def test_ended_by_a_crash_leaves_workers_alone(unit: Unit) -> None:
    for none in ("", "0"):
        assert unit.end(job=none) == ""
    assert unit.left.poll() is None


def test_ended_by_down_stops_the_socket_so_that_no_call_starts_it_again(unit: Unit) -> None:
    assert unit.end(job="0", status="0") == "systemctl stop --no-block vm.socket\n"
    assert unit.end(job="0", status="1") == "", "a failure is no `down`"
    assert unit.left.poll() is None
