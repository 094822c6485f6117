"""The ground for system tests: a delegated cgroup v2, and managers that start in groups of it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import managers
from tests.system import results
from zygote.sys.cgroupfs import Group, group_of

managers.PATIENCE = 240.0  # an emulated machine is some twenty times slower, and often busy

WANTED = ("memory", "pids", "cpu")
_numbers = itertools.count(1)
_chosen: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if "system" in item.path.parts:
            item.add_marker(pytest.mark.vm)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def why_not() -> str:
    """Why these tests cannot run here; "" where they can (the VM, or a delegated unit, as root)."""
    group = group_of("self")
    if os.geteuid() != 0:
        return "system tests need root; tests/system/run.sh runs them in a VM"
    if group is None or not group.controllers() >= set(WANTED):
        return "no cgroup v2 with memory, pids and cpu; tests/system/run.sh runs them in a VM"
    if not group.is_delegated() and not Group(group.path.parent).is_delegated():
        return f"{group.path} is not delegated to us; tests/system/run.sh runs them in a VM"
    return ""


@pytest.fixture(scope="session")
def ground() -> Iterator[Group]:
    """Our own delegated group, emptied of ourselves, giving its controllers."""
    ours = group_of("self")
    assert ours is not None
    home = Group(ours.path / "tests")
    home.path.mkdir()
    for pid in ours.pids():
        home.take_in(pid)
    for name in WANTED:
        ours.give(name)
    yield ours


class VmManager(managers.Manager):
    """A manager that starts alone in a cgroup of its own, as a unit's does."""

    def __init__(self, folder: Path, fleet: str, ground: Group, spawn_path: str = "auto") -> None:
        folder.mkdir(exist_ok=True)
        super().__init__(folder, "", spawn_path)
        self.file.write_text(fleet)
        self.base = ground.path / f"fleet-{next(_numbers)}"
        self.enter()

    def enter(self) -> None:
        """The next `start` is in a fresh group: one that gives controllers takes nobody in."""
        self.base = self.base.with_name(f"fleet-{next(_numbers)}")
        self.base.mkdir()
        script = f'echo 0 >{self.base}/cgroup.procs && exec "$@"'
        self.prefix = ("/bin/sh", "-c", script, "sh")

    def leaf(self, name: str) -> Group:
        """The leaf of a worker."""
        return Group(self.base / f"worker.{name}")


def pytest_collection_finish(session: pytest.Session) -> None:
    _chosen.extend(item.nodeid for item in session.items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With SYSTEM_RESULTS: what came of each test, as `tests/system/RESULTS.md` has it."""
    if os.environ.get("SYSTEM_RESULTS"):
        for line in results.lines(terminalreporter.stats, _chosen):
            terminalreporter.write_line(line)
