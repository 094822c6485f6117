"""What every test gets: a session mark in the environment, and a check that no process is left."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support import nursery
from zygote.audit.environ import is_secret

MARK = f"ZYGOTE_TEST_SESSION={uuid.uuid4().hex}"
os.environ.__setitem__(*MARK.split("="))
# The outer shell may ask Python to write no bytecode; the processes under test must not
# compile their floor anew each time, it would be slow and falsify every memory figure.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for name in [n for n in os.environ if n.startswith(("ZYGOTE_", "DECNET_"))]:
    if name != "ZYGOTE_TEST_SESSION":
        del os.environ[name]
os.environ.pop("NOTIFY_SOCKET", None)
# What the outer shell, or a CI runner, wants of programs on its own terminal.
for name in ("FORCE_COLOR", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "PAGER"):
    os.environ.pop(name, None)
# A floor's audit warns of secrets in its environment: it must not depend on who runs the tests.
for name in filter(is_secret, list(os.environ)):
    del os.environ[name]
# Started in the background (`make test &`, nohup, some CI runners) the tests inherit ignored
# signals, and so would all that they start: a Ctrl-C on a test's terminal would do nothing.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# No test asserts a time: neither does Hypothesis, whose deadline is 200 ms an example otherwise.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

LONGEST = (
    "test_chaos.py",
    "test_dashboard.py",
    "test_cow.py",
    "test_run_probe.py",
    "test_first_machine.py",
    "test_reload.py",
    "test_fleet_under_load.py",
    "test_reexec.py",
    "test_deploy.py",
    "test_postgres.py",
    "test_estate.py",
    "test_first_ten_minutes.py",
    "test_dress.py",
    "test_cli_up.py",
    "test_cli_start.py",
)
"""Those with all of decnet's fleet not side by side: each of them wants both CPUs."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several at a time, the files that take longest first: none is waited for alone."""
    if not hasattr(config, "workerinput"):
        return

    def place(item: pytest.Item) -> tuple[int, int]:
        name, ring = item.path.name, item.path.parent.name
        return (LONGEST.index(name) if name in LONGEST else len(LONGEST), int(ring == "unit"))

    items.sort(key=place)


def marked_processes() -> dict[int, int]:
    """pid -> parent of every live process that descends from this test session.

    A worker's /proc/PID/environ is its zygote's, so the mark shows wherever the process
    hangs in the tree by now.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if MARK.encode() not in (entry / "environ").read_bytes():
                continue
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        state, ppid = stat[stat.rindex(")") + 2 :].split()[:2]
        if state not in "ZX":
            found[int(entry.name)] = int(ppid)
    return found


@pytest.fixture(autouse=True)
def no_process_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process, unless it belongs to a longer-lived fixture's tree."""
    if "integration" not in request.node.path.parts and "system" not in request.node.path.parts:
        yield
        return
    before = set(marked_processes())
    yield
    deadline = time.monotonic() + 120
    while left := _not_below(marked_processes(), before | nursery.pids()):
        if time.monotonic() > deadline:
            names = [f"{pid} {_command(pid)}" for pid in left]
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            pytest.fail(f"left {len(left)} process(es) behind: " + "; ".join(names))
        time.sleep(0.02)


def _not_below(now: dict[int, int], before: set[int]) -> list[int]:
    """The processes that are neither old nor descend from an old one."""
    fresh = []
    for pid in now:
        at = pid
        while at in now and at not in before:
            at = now[at]
        if at not in before:
            fresh.append(pid)
    return fresh


def _command(pid: int) -> str:
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")[:120]
        )
    except OSError:
        return "?"
