"""A clone takes the place of a waiting process: compared with a cold one; without systemd.

The test makes what systemd would: two groups beside each other, a notify socket, and a process with
limits and rights of its own that calls `exec`. In the VM the same is tried with units.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import eventually
from tests.support.managers import PATIENCE
from zygote.sys.cgroupfs import Group, parse_mountinfo

MIRROR = Path(__file__).parents[1] / "system" / "mirror.py"
FILTER = """
import ctypes, os, struct, sys
# clock_settime is refused with EPERM, on x86-64.
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 227), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
libc = ctypes.CDLL(None)
class Program(ctypes.Structure): _fields_ = [("len", ctypes.c_ushort), ("code", ctypes.c_void_p)]
if sys.argv[1] == "nnp": libc.prctl(38, 1, 0, 0, 0)
for _ in range(2):
    assert libc.prctl(22, 2, ctypes.byref(Program(len(code), ctypes.addressof(program))), 0, 0) == 0
os.execvp(sys.argv[2], sys.argv[2:])
"""
WAYS = {
    "plain": [],
    "limits": ["prlimit", "--nofile=333:444", "--core=0", "--nproc=777"],
    "niceness": ["nice", "-n", "7", "ionice", "-c", "3", "chrt", "-b", "0"],
    "real time": ["chrt", "-r", "7"],
    "bounding set": ["setpriv", "--bounding-set=-all,+net_raw,+chown", "--"],
    "securebits": ["setpriv", "--securebits=+noroot", "--"],
    "filters": [sys.executable, "-c", FILTER, "privileged"],
    "filters and no new privileges": [sys.executable, "-c", FILTER, "nnp"],
    "namespaces": ["unshare", "-m", "-n", "-u", "-i", "--"],
}


def base() -> Path | None:
    mount = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    return mount.path if mount and os.access(mount.path, os.W_OK) else None


pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or base() is None,
    reason="root and a cgroup v2 that can be written are needed",
)


FLEET = f"""
[fleet]
name = "t"
[zygote.floor]
preload = ["mirror"]
bake = ["freeze"]
path = ["{MIRROR.parent}"]
[worker.mirror]
run = "mirror:main"
type = "notify"
"""


class Bed:
    """A zygote that serves as a unit's, and a group for a worker beside it.

    Args:
        env: for zygote and workers, as an EnvironmentFile= has it.
        starter: what comes before the module that is started.
    """

    def __init__(
        self, folder: Path, fleet: str = FLEET, env: dict[str, str] | None = None,
        starter: tuple[str, ...] = ("-m",),
    ) -> None:  # fmt: skip
        top = base()
        assert top
        self.home = Group(top / f"service-{uuid.uuid4().hex[:12]}")
        self.zygote = Group(self.home.path / "t-zygote@floor.service")
        self.worker = Group(self.home.path / "t-worker@mirror.service")
        for group in (self.home, self.zygote, self.worker):
            group.path.mkdir()
        self.folder, self.door = folder, folder / "floor.door"
        (folder / "fleet.toml").write_text(fleet)
        self.starter = [sys.executable, "-P", *starter]
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(str(folder / "told"))
        self.told.settimeout(PATIENCE)
        self.env = {
            **os.environ, "NOTIFY_SOCKET": str(folder / "told"), "MIRROR_HARMLESS": "1",
            "ZYGOTE_DOOR": str(self.door), **(env or {}),
        }  # fmt: skip
        words = ["zygote.service.serve", "--fleet", str(folder / "fleet.toml"),
                 "--zygote", "floor", "--socket", str(self.door)]  # fmt: skip
        self.process = self.start(self.zygote, [*self.starter, *words])
        self.until("READY=1")

    def start(self, group: Group, words: list[str]) -> subprocess.Popen[bytes]:
        script = f'echo 0 >"{group.path}/cgroup.procs" && exec "$@"'
        return subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", *words],
            cwd="/", env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip

    def until(self, word: str) -> str:
        """The message with that word; whoever waits at a barrier goes on."""
        while True:
            data, ancillary, _, _ = self.told.recvmsg(4096, socket.CMSG_SPACE(4))
            for _, _, payload in ancillary:
                os.close(int.from_bytes(payload[:4], sys.byteorder))
            if word in (text := data.decode()):
                return text

    def close(self) -> None:
        for group in (self.worker, self.zygote):
            group.kill()
        with self.process:
            self.process.wait(PATIENCE)
        self.told.close()
        # Who was killed there keeps it busy for a moment.
        eventually(self._remove, f"{self.home.path} stays busy")

    def _remove(self) -> bool:
        try:
            self.home.remove()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    made = Bed(tmp_path_factory.mktemp("service"))
    yield made
    made.close()


def said(process: subprocess.Popen[bytes], pid: int) -> dict[str, Any]:
    """What the mirror `pid` said of itself, but for what other tests may change meanwhile."""
    assert process.stdout
    line = process.stdout.readline().decode()
    assert line.startswith("mirror "), line
    found: dict[str, Any] = json.loads(line.removeprefix("mirror "))
    del found["tmp"]
    if Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino:
        found["interfaces"] = "ours"
    return found


@pytest.mark.parametrize("way", WAYS)
def test_exec_clone_is_what_a_cold_process_is(bed: Bed, way: str) -> None:
    before = WAYS[way]
    if before and not shutil.which(before[0]):
        pytest.skip(f"no {before[0]} here")
    with bed.start(bed.worker, [*before, sys.executable, str(MIRROR)]) as cold:
        expected = said(cold, cold.pid)
        cold.kill()
    asker = bed.start(bed.worker, [*before, sys.executable, "-m", "zygote.service.exec", "mirror"])
    pid = int(bed.until("MAINPID=").split("=")[1].split()[0])
    bed.until("BARRIER=1")
    assert asker.wait(PATIENCE) == 0
    try:
        found = said(asker, pid)
        assert bed.worker.pids() == [pid], "it was born in the asker's group"
        assert int(Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[1]) == os.getpid()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # ours, as a unit's would be PID 1's
        asker.communicate()
    for key in expected:
        assert found[key] == expected[key], key


def test_exec_stranger_is_turned_away(bed: Bed) -> None:
    env = {key: value for key, value in bed.env.items() if key != "NOTIFY_SOCKET"}
    done = subprocess.run(
        [sys.executable, "-m", "zygote.service.exec", "mirror"], env=env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "no unit of a worker" in done.stderr


@pytest.mark.parametrize(
    ("before", "name", "told"),
    [
        ([], "nobody", "the fleet has no worker 'nobody'"),
        (["unshare", "--user", "--map-root-user", "--"], "mirror", "PrivateUsers="),
        (["unshare", "--pid", "--fork", "--"], "mirror", "PrivatePIDs="),
        (["unshare", "--time", "--fork", "--"], "mirror", "a time namespace"),
    ],
)
def test_exec_refusal_is_told_as_the_unit_s_status(
    bed: Bed, before: list[str], name: str, told: str
) -> None:
    words = [*before, sys.executable, "-m", "zygote.service.exec", name]
    with bed.start(bed.worker, words) as asker:
        assert told in bed.until("STATUS=")
        bed.until("BARRIER=1")
        assert asker.wait(PATIENCE) == 1
