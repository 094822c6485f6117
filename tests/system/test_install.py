"""`install --systemd` under a real systemd: the fleet as one service, from its start to its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.managers import alive
from tests.system.systemd import (
    FOLDER,
    drop_in,
    eventually,
    journal,
    make_folder,
    run,
    show,
    workers_at,
    zygotectl,
)  # fmt: skip
from zygote.sys.cgroupfs import Group, group_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

UNIT = "vm.service"
SOCKET = "/run/zygote/vm/control.sock"
BEAT = "WatchdogTimestampMonotonic"
FLEET = f"""
[fleet]
name = "vm"
operators = "vm"
[zygote.floor]
preload = ["programs"]
bake = ["freeze"]
path = ["{Path(__file__).parent}"]
[defaults]
zygote = "floor"
[worker.idle]
run = "programs:idle"
memory_max = "64M"
user = "vm-idle"
landlock.write = ["{FOLDER}"]
[worker.talk]
run = "programs:talk"
type = "notify"
[worker.hog]
run = "programs:hog"
memory_max = "32M"
restart = "no"
autostart = false
"""


async def ps() -> dict[str, Any]:
    """The workers; {} while nobody answers."""
    return await workers_at(SOCKET)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed() -> AsyncIterator[str]:
    """What `install` said; the units are taken away again at the end."""
    make_folder(FLEET).chmod(0o777)  # programs write there, each as its user
    drop_in(UNIT, "TimeoutStopSec=20\nWatchdogSec=240")
    said = await zygotectl("install", "--systemd", "--writable", str(FOLDER))
    yield said
    await run("systemctl", "stop", UNIT, code=None)
    for path in Path("/etc/systemd/system").glob("vm.*"):  # ours: the next file starts from none
        shutil.rmtree(path) if path.is_dir() else path.unlink()


async def test_install_starts_a_checked_and_hardened_service(
    installed: str, record_property: Callable[[str, object], None]
) -> None:
    assert "systemd-analyze verify finds nothing" in installed
    assert await show(UNIT, "ActiveState") == "active"
    assert "3 workers" in await show(UNIT, "StatusText")
    [floor] = json.loads(await zygotectl("status", "--json"))["zygotes"]
    assert floor["spawn_path"] == "clone3", "no filter of the unit takes that away"
    for unit in (UNIT, "vm.socket"):
        assert await run("systemctl", "is-enabled", unit) == "enabled"
    said = await run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/{UNIT}")
    assert "vm." not in said
    security = await run("systemd-analyze", "security", "--no-pager", UNIT)
    figure = re.search(r"Overall exposure level for vm.service: ([0-9.]+)", security)
    assert figure and float(figure[1]) < 4.5, security
    record_property("`systemd-analyze security` of the service", figure[1])


async def test_install_makes_users_and_leaves_with_names_that_systemd_shows(
    installed: str,
) -> None:
    workers = await ps()
    idle = workers["idle"]
    group = group_of(idle["pid"])
    assert group and group.path.name == "worker.idle" and group.path.parent.name == UNIT
    assert group.path.parent.parent.name == "vm.slice"
    assert group.read("memory.max") == str(64 << 20) and idle["limits_enforced"]
    assert idle["gaps"] == [], "the unit's own walls leave room for the worker's"
    assert any(wall.startswith("landlock") for wall in idle["walls"])
    manager = group_of(int(await show(UNIT, "MainPID")))
    assert manager and manager.path == group.path.parent / "manager"
    status = Path(f"/proc/{idle['pid']}/status").read_text()
    uid = int(await run("id", "-u", "vm-idle"))
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
    tree = await run("systemd-cgls", "--no-pager", "-u", UNIT)
    assert "worker.idle" in tree and "zygote.floor" in tree and "vm: idle" in tree
    assert "vm: talk" in await run("systemctl", "status", "--no-pager", UNIT)


async def test_install_protects_the_zygote_s_memory_all_the_way_up(installed: str) -> None:
    idle = group_of((await ps())["idle"]["pid"])
    assert idle
    unit = Group(idle.path.parent)
    [floor] = [group for group in unit.children() if group.path.name.startswith("zygote.floor")]
    low = int(floor.read("memory.low"))
    assert low > 48 << 20
    for group in (unit, Group(unit.path.parent)):
        assert int(group.read("memory.low")) >= low, group.path


async def test_install_journal_has_each_worker_under_its_own_name(installed: str) -> None:
    talk = (await ps())["talk"]
    assert talk["log"] == "journal:vm/talk"
    lines = await journal("-t", "vm/talk", "-o", "json")
    entry = json.loads(lines.splitlines()[0])
    assert entry["MESSAGE"] == "one line for the journal"
    assert entry["_PID"] == str(talk["pid"]) and entry["_SYSTEMD_UNIT"] == UNIT
    assert "one line for the journal" in await zygotectl("logs", "talk")
    assert "one line for the journal" in await zygotectl("status", "talk"), "its last words"
    assert "event=serving" in await journal("-u", UNIT, "-t", "vm")


async def test_install_oom_is_told_everywhere(installed: str) -> None:
    await zygotectl("spawn", "hog", "--wait", "up")
    hog = (await eventually(ps, lambda workers: workers["hog"]["state"] == "failed"))["hog"]
    assert hog["last_end"] == "oom_killed"
    assert hog["last_end_detail"].startswith("limit 32M, peak 3")
    assert f"oom_killed ({hog['last_end_detail']})" in await zygotectl(
        "ps", "hog", "--wide", code=None
    ) + await zygotectl("status", "hog", code=3)
    told = await journal("-u", UNIT, "-t", "vm")
    assert f"worker=hog event=ended oom_killed ({hog['last_end_detail']})" in told
    assert await show(UNIT, "ActiveState") == "active"


async def test_install_reexec_keeps_the_pid_and_what_systemd_holds(installed: str) -> None:
    before, main = await ps(), await show(UNIT, "MainPID")
    assert await show(UNIT, "NFileDescriptorStore") == "1"
    beat, restarts = await show(UNIT, BEAT), await show(UNIT, "NRestarts")
    [floor] = json.loads(await zygotectl("status", "--json"))["zygotes"]
    said = await zygotectl("reexec", "--timeout", "120s")
    assert f"(pid {main})" in said and "kept 2 workers, 1 zygotes" in said
    await eventually(lambda: show(UNIT, "ActiveState"), lambda state: state == "active")
    assert (await show(UNIT, "MainPID"), await show(UNIT, "NRestarts")) == (main, restarts)
    after = await ps()
    assert {name: each["pid"] for name, each in after.items()} == {
        name: each["pid"] for name, each in before.items()
    }
    assert not after["idle"]["adopted"], "still its own children"
    [again] = json.loads(await zygotectl("status", "--json"))["zygotes"]
    assert (again["pid"], again["generation"]) == (floor["pid"], floor["generation"])
    assert await show(UNIT, "NFileDescriptorStore") == "1"
    await eventually(lambda: show(UNIT, BEAT), lambda now: int(now) > int(beat))


async def test_install_reload_takes_a_changed_file_and_refuses_a_wrong_one(installed: str) -> None:
    before = await ps()
    file = FOLDER / "fleet.toml"
    file.write_text(FLEET.replace('"64M"', '"65M"'))
    await run("systemctl", "reload", UNIT)
    after = await ps()
    assert after["talk"]["pid"] == before["talk"]["pid"]
    assert after["idle"]["pid"] != before["idle"]["pid"] and after["idle"]["ready"]
    group = group_of(after["idle"]["pid"])
    assert group and group.read("memory.max") == str(65 << 20)
    file.write_text(FLEET + "[worker.wrong]\n")
    await run("systemctl", "reload", UNIT, code=1)
    assert "fleet.toml:" in await journal("-u", UNIT, "-n", "30")
    assert await show(UNIT, "ActiveState") == "active"
    assert (await ps())["idle"]["pid"] == after["idle"]["pid"]
    file.write_text(FLEET)
    await run("systemctl", "reload", UNIT)


async def test_install_a_crash_of_the_manager_stops_nobody(installed: str) -> None:
    before = await ps()
    manager = int(await show(UNIT, "MainPID"))
    os.kill(manager, signal.SIGKILL)
    Path(f"{FOLDER}/talk.say").touch()  # it says STATUS= at once: with no manager there
    workers = await eventually(ps, lambda found: found and found["idle"]["adopted"])
    assert {name: each["pid"] for name, each in workers.items()} == {
        name: each["pid"] for name, each in before.items()
    }
    assert int(await show(UNIT, "MainPID")) != manager
    group = group_of(workers["idle"]["pid"])
    assert group and group.read("memory.max") == str(64 << 20)
    await eventually(ps, lambda found: found and found["talk"]["status"] == "said meanwhile")
    await eventually(lambda: show(UNIT, "ActiveState"), lambda state: state == "active")


async def test_install_stop_stops_all_even_if_the_manager_cannot(installed: str) -> None:
    pids = [each["pid"] for each in (await ps()).values() if each["pid"]]
    manager = group_of(int(await show(UNIT, "MainPID")))
    assert manager
    manager.write("cgroup.freeze", "1")  # SIGSTOP would not do: systemd sends SIGCONT, too
    await run("systemctl", "stop", UNIT)
    assert not [pid for pid in pids if alive(pid)]
    assert "processes are left, killed" in await journal("-u", UNIT)
    assert await show("vm.socket", "ActiveState") == "inactive", "no call starts it again"
    assert not Path("/run/zygote/vm/control.sock").exists()


async def test_install_down_means_it_and_start_begins_anew(installed: str) -> None:
    await run("systemctl", "reset-failed", UNIT)
    await run("systemctl", "start", UNIT)
    workers = await ps()
    assert workers["idle"]["state"] == "ready" and not workers["idle"]["adopted"]
    await zygotectl("down")
    await eventually(lambda: show(UNIT, "ActiveState"), lambda state: state == "inactive")
    assert await show(UNIT, "Result") == "success"
    await eventually(lambda: show("vm.socket", "ActiveState"), lambda state: state == "inactive")
    await zygotectl("ps", code=6)
    await asyncio.sleep(1)
    assert await show(UNIT, "ActiveState") == "inactive", "asking has not started it again"


async def test_uninstall_leaves_nothing_but_data(installed: str) -> None:
    Path("/etc/systemd/system/vm.slice").write_text("[Slice]\n# an operator's own\n")
    said = await zygotectl("uninstall", "--systemd")
    assert "left /etc/systemd/system/vm.slice" in said
    left = [path.name for path in Path("/etc/systemd/system").glob("**/vm.*")]
    assert sorted(left) == ["vm.service.d", "vm.slice"], "what we did not write"
    assert not list(Path("/etc/sysusers.d").glob("vm*")) + list(Path("/etc/tmpfiles.d").glob("vm*"))
    assert Path("/var/lib/vm").is_dir()
    assert await run("systemctl", "is-enabled", UNIT, code=None) in ("", "not-found")
    await zygotectl("uninstall", "--systemd", code=3)
