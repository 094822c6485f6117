"""Workers as they ship: forked from a zygote that has imported what they need, within milliseconds.

An import of the tables takes a second of CPU, and the tests start hundreds of workers. So each
process of tests keeps a zygote for them; its clones are that process's own children.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import os
import shutil
import signal
import socket
import tempfile
import uuid
from pathlib import Path
from typing import BinaryIO

from decnet.workers import WORKERS
from tests.support.forkserver import DEADLINE, MiniManager, body
from zygote.wire.messages import Kind, Packet

ROOT = Path(__file__).resolve().parents[2]
QUICK = frozenset(("bus", "listener", "forwarder", "web", "sniffer", "probe", "api"))
"""Workers that import no tables, that others start in another way, or with more than tables."""
PACKETS = ("decnet.workers.sniffer", "decnet.workers.probe")
TABLES = (
    *(module for name, module in WORKERS.items() if name not in QUICK),
    "decnet.cli.app",
)
FLOORS = {
    **dict.fromkeys(PACKETS, PACKETS),
    **dict.fromkeys((*TABLES, "tests.support.writer"), TABLES),
}
"""Module -> what the zygote has imported that it is forked from; no other is."""
_zygotes: list[MiniManager] = []


def pids() -> set[int]:
    """The zygotes that this process of tests keeps until its end."""
    return {zygote.process.pid for zygote in _zygotes}


@functools.cache
def _zygote(floor: tuple[str, ...]) -> MiniManager:
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = MiniManager(folder / "zygote.log", cwd=ROOT)
    atexit.register(made.close)
    _zygotes.append(made)
    made.bake(preload=floor, bake=("freeze",))
    return made


class Nursling:
    """A clone that runs a module, with what is used here of `asyncio.subprocess.Process`.

    Attributes:
        returncode: None while it runs; then its exit code, or minus the signal.
    """

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = asyncio.StreamReader()
        self._pidfd = pidfd
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._reap)

    def _reap(self) -> None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self.returncode = os.waitstatus_to_exitcode(status)
            self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


async def start(
    module: str, arguments: tuple[str, ...], env: dict[str, str], stderr: BinaryIO
) -> Nursling:
    """As `python -m MODULE ARGUMENTS`, in a clone of the zygote that has imported it."""
    zygote = _zygote(FLOORS[module])
    reader, writer = os.pipe()
    report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with report, theirs, open(os.devnull) as null, open(writer, "wb") as stdout:
        fds = {"stdin": null, "stdout": stdout, "stderr": stderr, "report": theirs}
        request = body("", list(fds), ROOT) | {
            "run": {"kind": "module", "target": module},
            "args": list(arguments),
            "env": env,
            "title": f"test: {module}",
        }
        given = tuple(each.fileno() for each in fds.values())
        data = json.dumps(request).encode()
        zygote.link.send(Packet(Kind.SPAWN, uuid.uuid4().bytes, body=data, fds=given))
        answer = zygote.receive()
        assert answer.kind is Kind.SPAWNED, answer
        theirs.close()
        report.settimeout(DEADLINE)
        said = json.loads(report.recv(65536) or b"null")
        assert said and said["up"], said
    made = Nursling(answer.pid, (*answer.fds, -1)[0])
    try:
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(made.stdout), os.fdopen(reader, "rb")
        )
    except BaseException:  # who asked for it is cancelled
        made.send_signal(signal.SIGKILL)
        raise
    return made
