"""decnet itself as a service: `decnetctl install --systemd`, a visit, deaths, an upgrade, its end.

All of its workers, and decoys of two kinds on one decky: the VM is emulated, and each of the other
24 would cost it some seconds of start without showing anything new. For the same reason zygotes are
frozen only, not warmed up, and all deadlines are long. Everything else is as shipped.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decnet.run.visit import ssh_visit
from tests.support.decnet_env import query
from tests.support.managers import alive
from tests.system.systemd import drop_in, eventually, journal, make_folder, run, show, workers_at
from zygote.sys.cgroupfs import Group, group_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
FOLDER = Path("/srv/fleet")
STATE = Path("/var/lib/decnet")
SETTINGS = Path("/etc/decnet/decnet.env")
UNIT = "decnet.service"
PASSWORD = "long-enough-and-the-operator-s"
SIGNING = "the-key-0123456789-of-tokens-ABCDEFGHIJ"
PATIENCE = 900.0
"""Seconds for three floors to be baked, and twenty workers to come up."""
DECOYS = ("ssh", "http")
LONGER = {
    'start_timeout = "60s"': 'start_timeout = "500s"\nstop_grace = "60s"',
    'watchdog = "60s"': 'watchdog = "300s"',
}


def fleet_text() -> str:
    """decnet's own fleet file, for a slow machine."""
    text = (ROOT / "decnet" / "fleet.toml").read_text()
    text = re.sub(r"(?m)^bake_timeout = .*\n", "", text)
    text, warmed = re.subn(r"(?m)^warm = .*$", 'bake = ["freeze"]\nbake_timeout = "900s"', text)
    assert warmed == 3
    for old, new in LONGER.items():
        assert old in text
        text = text.replace(old, new)
    head, _, _ = text.partition('[worker."decoy@ssh"]')
    return head + "".join(f'[worker."decoy@{kind}"]\n' for kind in DECOYS)


async def decnetctl(*words: str, code: int | None = 0) -> str:
    command = [str(Path(sys.executable).with_name("decnetctl"))]
    return await run(*command, "--fleet", str(FOLDER / "fleet.toml"), *words, code=code)


async def workers() -> dict[str, dict[str, Any]]:
    """All, by name; {} while nobody answers. Not by a command: each costs seconds here."""
    return await workers_at("/run/zygote/decnet/control.sock")


async def settled() -> dict[str, dict[str, Any]]:
    """All that should run is ready."""
    return await eventually(
        workers,
        lambda found: found and all(w["ready"] for w in found.values() if w["autostart"]),
        PATIENCE,
    )


async def back(name: str, before: int, end: str) -> dict[str, Any]:
    """A worker that ended in that way and is ready again."""
    found = await eventually(
        workers,
        lambda all_: name in all_ and all_[name]["ready"] and all_[name]["pid"] != before,
        PATIENCE,
    )
    assert found[name]["last_end"] == end, found[name]
    return found[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed() -> AsyncIterator[str]:
    """What `install` said; an operator's settings are there before."""
    make_folder(fleet_text())
    SETTINGS.parent.mkdir(exist_ok=True)
    SETTINGS.write_text(
        f'# ours\nDECNET_ADMIN_PASSWORD="{PASSWORD}"\nDECNET_JWT_SECRET={SIGNING}\n'
    )
    SETTINGS.chmod(0o600)
    drop_in(UNIT, "TimeoutStartSec=20min\nTimeoutStopSec=150\nWatchdogSec=240")
    said = await decnetctl("install", "--systemd", "--no-start")
    await run("systemctl", "start", UNIT, patience=PATIENCE)
    yield said
    await run("systemctl", "stop", UNIT, code=None)


async def test_decnet_all_workers_come_up_each_behind_its_walls(
    installed: str, record_property: Callable[[str, object], None]
) -> None:
    assert "systemd-analyze verify finds nothing" in installed
    assert str(SETTINGS) in installed
    found = await settled()
    assert len(found) == 18 + len(DECOYS)
    uid = pwd.getpwnam("decnet").pw_uid
    for name, worker in found.items():
        assert worker["gaps"] == [], name
        group = group_of(worker["pid"])
        assert group and group.path.name == f"worker.{name}" and worker["limits_enforced"]
        assert group.read("memory.max") == str(worker["memory_max"])
        status = Path(f"/proc/{worker['pid']}/status").read_text()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status, name
        kept = "0000000000000000"
        if name in ("sniffer", "probe"):
            kept = "0000000000002000"
        elif name.startswith("decoy@"):
            kept = "0000000000000400"
        assert f"CapEff:\t{kept}" in status, name
    private = await decnetctl("status", "--json")
    zygotes = {z["name"]: z for z in json.loads(private)["zygotes"]}
    assert set(zygotes) == {"floor", "decoy", "packet"}
    security = await run("systemd-analyze", "security", "--no-pager", UNIT)
    figure = re.search(r"Overall exposure level for decnet.service: ([0-9.]+)", security)
    assert figure
    record_property("`systemd-analyze security` of decnet's service", figure[1])


async def test_decnet_operator_s_secret_is_in_no_environment(installed: str) -> None:
    main = int(await show(UNIT, "MainPID"))
    found = await workers()
    zygotes = json.loads(await decnetctl("status", "--json"))["zygotes"]
    for pid in (main, *(w["pid"] for w in found.values()), *(z["pid"] for z in zygotes)):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert PASSWORD.encode() not in environ and SIGNING.encode() not in environ
    given = STATE / "given" / "admin-password"
    assert given.read_text() == PASSWORD and given.stat().st_mode & 0o777 == 0o600
    assert given.stat().st_uid == 0, "the workers' user may not read it"


async def test_decnet_visit_is_stored_profiled_and_shown(installed: str) -> None:
    visit = await ssh_visit("127.0.0.1", 2222, "root", "swordfish", "uname -a", timeout=240)
    assert "Linux" in visit.output

    async def shown() -> str:
        return await decnetctl("visits", "--json", "--service", "ssh", code=None)

    said = await eventually(shown, lambda text: "swordfish" in text and "uname -a" in text)
    assert all(json.loads(line)["service"] == "ssh" for line in said.splitlines())

    async def profile() -> list[Any]:
        text = await decnetctl("attackers", "--json", code=None)
        return json.loads(text)["data"] if text else []

    [attacker] = await eventually(profile, lambda rows: rows and rows[0]["credential_count"])
    assert attacker["ip"] == "127.0.0.1" and "ssh" in attacker["services"]
    sql = "SELECT count(*) FROM logs WHERE service = 'ssh'"
    assert query(STATE / "db" / "decnet.db", sql)[0][0] >= 2
    assert "uname -a" in await decnetctl("visits")


async def test_decnet_worker_that_is_killed_comes_back(installed: str) -> None:
    before = await workers()
    os.kill(before["profiler"]["pid"], signal.SIGKILL)
    await back("profiler", before["profiler"]["pid"], "signalled(SIGKILL)")
    collect = group_of(before["collect"]["pid"])
    assert collect
    collect.write("memory.max", "64K")
    again = await back("collect", before["collect"]["pid"], "oom_killed")
    group = group_of(again["pid"])
    assert group and group.read("memory.max") == str(again["memory_max"]), "its own limit again"
    after = await settled()
    changed = {name for name, each in after.items() if each["pid"] != before[name]["pid"]}
    assert changed == {"profiler", "collect"}, "nobody else noticed"
    told = await journal("-u", UNIT, "-t", "decnet")
    assert "worker=collect event=ended oom_killed (limit 64K, peak" in told


async def test_decnet_lines_and_status_are_found(installed: str) -> None:
    assert "worker=listener" in await decnetctl("logs", "listener")
    said = await decnetctl("status", "collect")
    assert "oom_killed" in said and "landlock" in said
    assert "worker=listener" in await journal("-t", "decnet/listener")
    tree = await run("systemctl", "status", "--no-pager", "-n", "0", UNIT)
    assert "decnet: profiler" in tree and "decnet: decoy@ssh" in tree


async def test_decnet_manager_is_replaced_in_place(installed: str) -> None:
    before, main = await workers(), await show(UNIT, "MainPID")
    said = await decnetctl("reexec", "--timeout", "200s")
    assert f"pid {main}" in said and "kept 20 workers, 3 zygotes" in said
    assert await show(UNIT, "MainPID") == main
    after = await workers()
    assert {n: w["pid"] for n, w in after.items()} == {n: w["pid"] for n, w in before.items()}
    assert "swordfish" in await decnetctl("visits", "--json")


async def test_decnet_down_and_uninstall_leave_the_data(installed: str) -> None:
    pids = [each["pid"] for each in (await workers()).values()]
    await decnetctl("down")
    await eventually(lambda: show(UNIT, "ActiveState"), lambda state: state == "inactive")
    assert await show(UNIT, "Result") == "success"
    await eventually(
        lambda: show("decnet.socket", "ActiveState"), lambda state: state == "inactive"
    )
    assert not [pid for pid in pids if alive(pid)]
    await decnetctl("ps", code=6)
    await decnetctl("uninstall", "--systemd")
    left = [path.name for path in Path("/etc/systemd/system").glob("**/decnet*")]
    assert left == [f"{UNIT}.d"], "what we did not write"
    assert not Group(Path("/sys/fs/cgroup/decnet.slice/decnet.service")).path.exists()
    assert (STATE / "db" / "decnet.db").exists() and SETTINGS.exists()
