"""The main job as a user runs it: a fleet, one real visit, one JSON object, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from decnet.bus.client import HELLO_TIMEOUT, BusClient
from decnet.run.probe import listening
from tests.support.bus import broker_process

FIELDS = {"name", "pid", "ppid", "rss_kib", "pss_kib", "uss_kib", "private_dirty_kib"}


@pytest.mark.timeout(600)
def test_probe_prints_one_object_with_the_visit_and_every_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "decnet.run", "--probe"],
        env=os.environ | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=560,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["event"]["service"] == "ssh"
    assert report["event"]["fields"]["principal"].startswith("probe-")
    assert report["event"]["attacker_ip"] == "127.0.0.1"
    assert report["event"]["event_type"] == "login_attempt"
    assert report["attacker"]["ip"] == "127.0.0.1"
    assert {"system.log", "attacker.scored"} <= set(report["bus"])
    names = {row["name"] for row in report["workers"]}
    assert names >= {"bus", "collect", "profiler", "api", "decoy@ssh", "decoy@http"}
    assert len({name for name in names if name.startswith("decoy@")}) == 26
    assert set(report["spawn_ms"]) == names
    manager = report["manager"]
    assert manager["pss_kib"] <= 20 * 1024
    for row in report["workers"]:
        assert set(row) >= FIELDS
        assert row["ppid"] == manager["pid"], f"{row['name']} is not the manager's own child"
        # Copies of the floor, not floors: what each has for itself is a fraction of what it shows.
        assert row["uss_kib"] < row["rss_kib"] / 3
    assert len({row["pid"] for row in report["workers"]}) == len(report["workers"])
    for row in [*report["workers"], manager, *report["zygotes"]]:
        assert not is_ours(row["pid"], tmp_path), f"{row['name']} was left running"


async def test_probe_waits_for_a_bus_that_is_held_up(tmp_path: Path) -> None:
    """Or it would not hear what its own visit makes the others say."""
    async with broker_process(tmp_path) as broker:
        assert broker.process
        bus = BusClient(broker.path, "probe")
        broker.process.send_signal(signal.SIGSTOP)
        try:
            waiting = asyncio.create_task(listening(bus))
            done, _ = await asyncio.wait({waiting}, timeout=1.5 * HELLO_TIMEOUT)
            assert not done
            broker.process.send_signal(signal.SIGCONT)
            assert await waiting
            assert bus.connected
        finally:
            await bus.close()


def is_ours(pid: int, home: Path) -> bool:
    """Whether it is a process of that fleet still, and not somebody who has the number by now."""
    try:
        return f"HOME={home}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.timeout(600)
def test_run_in_the_foreground_stops_cleanly_on_ctrl_c(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "decnet.run", "--free-ports", "--no-cold"],
        env=os.environ | {"HOME": str(tmp_path), "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    seen, deadline = "", time.monotonic() + 300
    while "Ctrl-C" not in seen and time.monotonic() < deadline:
        line = process.stdout.readline()
        assert line, f"ended early: {seen}"
        seen += line
    os.killpg(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=240)
    assert process.returncode == 0, seen + rest
    assert "Traceback" not in seen + rest
    assert "ssh -p" in seen
