"""A unit per worker: each is systemd's own, and takes over what systemd made for its unit."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.managers import alive
from tests.system.systemd import (
    eventually,
    journal,
    make_folder,
    run,
    show,
    zygotectl,
)
from zygote.sys.cgroupfs import group_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

HERE = Path(__file__).parent
UNITS = Path("/etc/systemd/system")
FLEET = f"""
[fleet]
name = "vm"
[zygote.floor]
preload = ["programs", "mirror"]
bake = ["freeze"]
path = ["{HERE}"]
[defaults]
zygote = "floor"
restart_delay = "100ms"
[worker.idle]
run = "programs:idle"
memory_max = "64M"
tasks_max = 20
user = "vm-idle"
nice = 5
rlimits = {{ nofile = 512 }}
cwd = "/srv/fleet"
[worker.talk]
run = "programs:talk"
type = "notify"
[worker.hog]
run = "programs:hog"
memory_max = "32M"
autostart = false
[worker.keeper]
run = "programs:keeper"
type = "notify"
autostart = false
[worker.mirror]
run = "mirror:main"
type = "notify"
restart = "no"
autostart = false
"""

BOUND = "\n".join(
    f"BindReadOnlyPaths={path}"
    for path in ("/usr", "/etc", "/srv/fleet", sys.base_prefix, HERE.parents[1])
)

SETTINGS = {
    "user, groups and mask": "User=daemon\nGroup=mail\nSupplementaryGroups=games\nUMask=0037",
    "capabilities": "CapabilityBoundingSet=CAP_NET_RAW CAP_CHOWN\nSecureBits=noroot",
    "ambient capabilities": "User=daemon\nAmbientCapabilities=CAP_NET_RAW",
    "no new privileges": "NoNewPrivileges=yes",
    "limits": "LimitNOFILE=333:444\nLimitCORE=0\nLimitNPROC=77\nLimitSTACK=4M",
    "nice": "Nice=7\nOOMScoreAdjust=123\nCPUAffinity=0\nTimerSlackNSec=77us",
    "batch": "CPUSchedulingPolicy=batch\nIOSchedulingClass=idle\nCoredumpFilter=0x13",
    "real time": "CPUSchedulingPolicy=rr\nCPUSchedulingPriority=7",
    "environment and folder": 'Environment="A=b c" TZ=UTC\nWorkingDirectory=/usr',
    "file system": "ProtectSystem=strict\nPrivateTmp=yes\nPrivateDevices=yes",
    "kernel": "ProtectKernelTunables=yes\nProtectControlGroups=yes\nProtectClock=yes",
    "paths": "InaccessiblePaths=/var/lib/dpkg\nBindReadOnlyPaths=/srv/source:/srv/bound",
    "network and host": "PrivateNetwork=yes\nProtectHostname=yes\nPrivateIPC=yes",
    "call filter": "SystemCallFilter=~@clock\nSystemCallErrorNumber=EPERM",
    "restrictions": "RestrictNamespaces=yes\nRestrictAddressFamilies=AF_UNIX\nLockPersonality=yes\n"
    "SystemCallArchitectures=native\nRestrictRealtime=yes\nRestrictSUIDSGID=yes",
    "a user's filter": "User=daemon\nSystemCallFilter=@system-service\nSystemCallErrorNumber=EPERM",
    "credentials": "SetCredential=secret:hush\nUser=daemon",
    "dynamic user": "DynamicUser=yes\nUser=vm-mirror\nRuntimeDirectory=mirror-%p",
    "personality": "Personality=x86",
    "root folder": f"RootDirectory=/srv/root\nMountAPIVFS=yes\nBindPaths=/run\n{BOUND}",
    "addresses": "IPAddressDeny=any",
    "devices": "DevicePolicy=closed\nDeviceAllow=/dev/random r",
    "AppArmor and SELinux where there is none": "AppArmorProfile=-vm-none\nSELinuxContext=-vm_none",
    # Last: the cold service has them from then on, whether it names them or not.
    "sockets": "Sockets=vm-cold.socket",
}
"""What `docs/systemd.md` says is honoured: each is tried here, against a cold process."""

REFUSED = {
    "user namespace": ("PrivateUsers=yes\nUser=daemon", "PrivateUsers="),
    "terminal": ("StandardInput=tty-force\nTTYPath=/dev/tty9", "a terminal"),
    "PAM": ("PAMName=vm\nUser=daemon", "PAMName="),
    "NUMA": ("NUMAPolicy=bind\nNUMAMask=0", "NUMAPolicy="),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def installed() -> AsyncIterator[str]:
    """What `install --units` said; all is taken away again at the end."""
    make_folder(FLEET).chmod(0o777)
    Path("/srv/source").mkdir(exist_ok=True)
    Path("/srv/source/here").write_text("bound")
    Path("/etc/pam.d/vm").write_text(
        "".join(f"{kind} required pam_permit.so\n" for kind in ("auth", "account", "session"))
    )
    Path("/srv/root/tmp").mkdir(parents=True, exist_ok=True)
    for link in ("bin", "lib", "lib64", "sbin"):
        if Path("/", link).is_symlink():
            Path("/srv/root", link).symlink_to(Path("/", link).readlink())
    (UNITS / "vm-cold.socket").write_text(
        "[Socket]\nListenStream=/run/vm-mirror.sock\nListenDatagram=/run/vm-mirror.gram\n"
        "FileDescriptorName=mirrored\n"
    )
    said = await zygotectl("install", "--systemd", "--units")
    await eventually(lambda: show(unit_of("idle"), "ActiveState"), lambda state: state == "active")
    yield said
    await run("systemctl", "stop", "vm.target", "vm-zygote@floor.service", code=None)
    await zygotectl("uninstall", "--systemd", code=None)


def unit_of(name: str) -> str:
    return f"vm-worker@{name}.service"


async def main_pid(name: str) -> int:
    return int(await show(unit_of(name), "MainPID"))


async def test_units_worker_is_systemd_s_own_child_in_its_own_unit(installed: str) -> None:
    assert "systemd-analyze verify finds nothing" in installed
    pid = await main_pid("idle")
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    assert status["PPid"] == "1"
    uid = (await run("id", "-u", "vm-idle")).strip()
    assert status["Uid"].split() == [uid] * 4
    group = group_of(pid)
    assert group and group.path.name == unit_of("idle")
    assert group.read("memory.max") == str(64 << 20) and group.read("pids.max") == "20"
    assert group.pids() == [pid], "`exec` has ended"
    floor = group_of(int(await show("vm-zygote@floor.service", "MainPID")))
    assert floor and int(floor.read("memory.current")) > 48 << 20
    assert int(group.read("memory.current")) < 8 << 20, "the floor is charged to its zygote"
    assert os.getpriority(os.PRIO_PROCESS, pid) == 5
    assert "vm: idle" in await run("systemctl", "status", "--no-pager", unit_of("idle"))


async def test_units_ready_status_and_journal_are_the_unit_s(installed: str) -> None:
    assert await show(unit_of("talk"), "ActiveState") == "active"
    pid = await main_pid("talk")
    entry = json.loads((await journal("-u", unit_of("talk"), "-t", "vm/talk", "-o", "json",
                                      "--grep", "one line")).splitlines()[-1])  # fmt: skip
    assert entry["_PID"] == str(pid)
    Path(await show(unit_of("talk"), "WorkingDirectory"), "talk.say").touch()
    await eventually(
        lambda: show(unit_of("talk"), "StatusText"), lambda text: text == "said meanwhile"
    )


async def test_units_crash_exit_and_oom_are_seen_and_restarted(installed: str) -> None:
    before = await main_pid("idle")
    os.kill(before, signal.SIGSEGV)
    await eventually(lambda: main_pid("idle"), lambda pid: pid not in (0, before))
    await eventually(lambda: show(unit_of("idle"), "SubState"), lambda state: state == "running")
    assert int(await show(unit_of("idle"), "NRestarts")) >= 1
    await run("systemctl", "start", unit_of("hog"), code=None)
    await eventually(
        lambda: journal("-u", unit_of("hog")), lambda text: "Failed with result 'oom-kill'" in text
    )
    await run("systemctl", "stop", unit_of("hog"), code=None)
    assert await show(unit_of("talk"), "NRestarts") == "0", "its siblings did not notice"


async def test_units_workers_outlive_the_zygote_and_new_ones_wait_for_it(installed: str) -> None:
    pid = await main_pid("talk")
    zygote = int(await show("vm-zygote@floor.service", "MainPID"))
    os.kill(zygote, signal.SIGKILL)
    await run("systemctl", "restart", unit_of("idle"))  # while the zygote bakes anew
    assert await show(unit_of("idle"), "ActiveState") == "active"
    assert int(await show("vm-zygote@floor.service", "MainPID")) not in (0, zygote)
    assert alive(pid) and await main_pid("talk") == pid
    assert await show(unit_of("talk"), "ActiveState") == "active"


async def test_units_descriptor_store_is_handed_to_the_next_clone(installed: str) -> None:
    unit = unit_of("keeper")
    folder = UNITS / f"{unit}.d"
    (folder / "90-tried.conf").write_text("[Service]\nFileDescriptorStoreMax=2\nRestart=always\n")
    await run("systemctl", "daemon-reload")
    await run("systemctl", "start", unit)
    assert await show(unit, "NFileDescriptorStore") == "1"
    os.kill(await main_pid("keeper"), signal.SIGKILL)
    said = await eventually(lambda: journal("-u", unit, "-o", "cat"), lambda text: "kept" in text)
    assert "kept word what was before" in said
    await run("systemctl", "stop", unit)


async def test_units_stranger_is_turned_away(installed: str) -> None:
    """Not in a worker's unit: no clone of the floor, whoever it is."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "zygote.service.exec", "idle", stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "ZYGOTE_DOOR": "/run/zygote/vm/floor.door"},
    )  # fmt: skip
    _, err = await process.communicate()
    assert process.returncode == 1 and b"no unit of a worker" in err


async def mirrored(unit: str) -> dict[str, Any]:
    """What the process in a unit found itself to be."""
    await run("systemctl", "restart", unit)
    invocation = await show(unit, "InvocationID")
    said = await eventually(
        lambda: journal(f"_SYSTEMD_INVOCATION_ID={invocation}", "-o", "cat", "--grep", "^mirror "),
        lambda text: text.startswith("mirror "),
    )
    await run("systemctl", "stop", unit)
    found: dict[str, Any] = json.loads(said.splitlines()[-1].removeprefix("mirror "))
    return found


@pytest.mark.parametrize("what", SETTINGS)
async def test_units_setting_is_honoured_as_for_a_cold_process(installed: str, what: str) -> None:
    same = (
        f"[Service]\nWorkingDirectory=/\nSyslogIdentifier=mirror\n{SETTINGS[what]}\n"
        "[Unit]\nStartLimitIntervalSec=0\n"
    )
    folder = UNITS / f"{unit_of('mirror')}.d"
    (folder / "90-tried.conf").write_text(same)
    (UNITS / "vm-cold.service").write_text(
        f"[Service]\nType=notify\nSlice=vm.slice\nUMask=0022\nKillSignal=SIGTERM\n"
        f"ExecStart={sys.executable} {HERE}/mirror.py\n"
    )
    cold = UNITS / "vm-cold.service.d"
    cold.mkdir(exist_ok=True)
    (cold / "90-tried.conf").write_text(same)
    await run("systemctl", "daemon-reload")
    expected = await mirrored("vm-cold.service")
    found = await mirrored(unit_of("mirror"))
    for key in ("status", "rlimits"):
        assert found[key] == expected[key], key
    assert found == expected


@pytest.mark.parametrize("what", REFUSED)
async def test_units_setting_that_would_be_lost_is_refused(installed: str, what: str) -> None:
    text, told = REFUSED[what]
    folder = UNITS / f"{unit_of('mirror')}.d"
    (folder / "90-tried.conf").write_text(f"[Service]\n{text}\n[Unit]\nStartLimitIntervalSec=0\n")
    await run("systemctl", "daemon-reload")
    await run("systemctl", "start", unit_of("mirror"), code=1)
    assert told in await show(unit_of("mirror"), "StatusText")


async def test_units_uninstall_takes_all_away(installed: str) -> None:
    pid = await main_pid("talk")
    await zygotectl("uninstall", "--systemd")
    assert not alive(pid)
    left = sorted(path.name for path in UNITS.glob("vm*") if "cold" not in path.name)
    assert all(name.endswith(".service.d") for name in left), left
    assert not Path("/run/zygote/vm/floor.door").exists()
