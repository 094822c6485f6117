"""systemd/zygote@.service, under a real systemd: ready, reloaded, crashed, restarted, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asyncvarlink import VarlinkClientProtocol, connect_unix_varlink

from tests.support import managers
from tests.support.managers import alive
from zygote.control.interface import ManagerInterface, WorkerState
from zygote.sys.cgroupfs import group_of

ROOT = Path(__file__).resolve().parents[2]
UNITS = Path("/run/systemd/system")
NAME = "zygote@vm.service"

FLEET = f"""
[fleet]
name = "vm"
[zygote.floor]
preload = ["programs"]
path = ["{Path(__file__).parent}"]
[defaults]
zygote = "floor"
[worker.idle]
run = "programs:idle"
memory_max = "64M"
[worker.hog]
run = "programs:hog"
memory_max = "32M"
restart = "no"
autostart = false
"""


async def systemctl(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "systemctl", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode() + await journal()
    return out.decode().strip()


async def journal() -> str:
    process = await asyncio.create_subprocess_exec(
        "journalctl", "-u", NAME, "--no-pager", "-n", "60", stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode()


async def show(key: str) -> str:
    return await systemctl("show", "-P", key, NAME)


async def workers() -> dict[str, WorkerState]:
    path = "/run/zygote/vm/control.sock"
    transport, protocol = await connect_unix_varlink(VarlinkClientProtocol, path)
    try:
        reply = await protocol.make_proxy(ManagerInterface).List()
        return {worker.name: worker for worker in reply["workers"]}
    finally:
        transport.close()
        await transport.closed_future


@pytest.fixture
async def unit(tmp_path: Path) -> AsyncIterator[Path]:
    """The unit as shipped, with a drop-in for this interpreter and this fleet file."""
    file = tmp_path / "fleet.toml"
    file.write_text(FLEET)
    drop_in = UNITS / f"{NAME}.d"
    drop_in.mkdir(parents=True)
    (UNITS / "zygote@.service").write_text((ROOT / "systemd/zygote@.service").read_text())
    (drop_in / "here.conf").write_text(
        "[Service]\nExecStart=\n"
        f"ExecStart={sys.executable} -m zygote.manager --fleet {file} "
        "--runtime-dir /run/zygote/vm\n"
        f"WorkingDirectory={ROOT}\n"
        f"Environment=ZYGOTE_TEST_SESSION={os.environ['ZYGOTE_TEST_SESSION']}\n"
        "TimeoutStartSec=300\nWatchdogSec=120\n"
    )
    await systemctl("daemon-reload")
    yield file
    await systemctl("stop", NAME)
    (UNITS / "zygote@.service").unlink()
    (drop_in / "here.conf").unlink()
    drop_in.rmdir()
    await systemctl("daemon-reload")


async def test_unit_starts_reloads_survives_a_crash_and_stops(unit: Path) -> None:
    await systemctl("start", NAME)  # returns at READY=1
    assert await show("ActiveState") == "active"
    assert await show("StatusText"), "it says how it is"
    before = (await workers())["idle"]
    assert before.state == "ready" and before.limits_enforced
    group = group_of(before.pid or 0)
    assert group and group.path.parent.name == NAME and group.read("memory.max") == str(64 << 20)

    unit.write_text(FLEET + '[worker.more]\nrun = "programs:idle"\n')
    await systemctl("reload", NAME)
    await until(lambda names: "more" in names and names["more"].state == "ready")

    manager = int(await show("MainPID"))
    os.kill(manager, signal.SIGKILL)
    after = await until(lambda names: names["idle"].adopted and "more" in names)
    assert after["idle"].pid == before.pid and alive(before.pid or 0)
    assert int(await show("MainPID")) != manager
    while await show("ActiveState") == "activating":
        await asyncio.sleep(0.2)
    assert await show("ActiveState") == "active"
    assert group.read("memory.max") == str(64 << 20), "the adopted worker has its limit again"

    await systemctl("stop", NAME)
    assert not alive(before.pid or 0)
    assert await show("Result") == "success"


async def until(condition) -> dict[str, WorkerState]:  # type: ignore[no-untyped-def]
    """The workers, as soon as they are as they should be; a manager may be away for a while."""
    last: object = None
    try:
        async with asyncio.timeout(managers.PATIENCE):
            while True:
                try:
                    found = await workers()
                    last = found
                    if condition(found):
                        return found
                except (OSError, KeyError) as error:
                    last = error
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"last seen: {last}\n{await journal()}") from None
