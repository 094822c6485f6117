"""The manager's end of one zygote, reduced to what a benchmark needs: bake, spawn, report."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zygote.fleet.model import ZygoteSpec
from zygote.wire import messages
from zygote.wire.messages import Kind, Packet

IDLE = "import time; time.sleep(3600)"


class Zygote:
    """A real zygote process, driven over its link; a context manager that leaves nothing behind."""

    def __init__(
        self, preload: tuple[str, ...], env: dict[str, str], spawn_path: str = "auto", **spec: Any
    ) -> None:
        self.preload, self.env, self.spawn_path, self.spec = preload, env, spawn_path, spec
        self.baked: dict[str, Any] = {}
        self.pid = 0

    def __enter__(self) -> Zygote:
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        arguments = ["--link", str(theirs.fileno()), "--name", "bench", "--generation", "1"]
        self.pid = os.posix_spawn(
            sys.executable,
            [
                sys.executable,
                "-m",
                "zygote.forkserver",
                *arguments,
                "--spawn-path",
                self.spawn_path,
            ],
            self.env,
            setpgroup=0,
        )
        theirs.close()
        spec = asdict(ZygoteSpec("bench", self.preload, cwd=str(Path.cwd()))) | self.spec
        self.link.send(messages.encode(Packet(Kind.BAKE, body=json.dumps({"spec": spec}).encode())))
        while True:
            packet = self.receive()
            if packet.kind is Kind.BAKED:
                self.baked = json.loads(packet.body)
                return self
            if packet.kind is Kind.BAKE_FAILED:
                raise SystemExit(json.loads(packet.body)["message"])

    def __exit__(self, *_: object) -> None:
        self.link.close()
        os.waitpid(self.pid, 0)

    def end(self, pid: int) -> None:
        """Kill a worker and wait for its end."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def receive(self) -> Packet:
        """The next packet; descriptors that came with it are in it."""
        data, ancillary, _, _ = self.link.recvmsg(messages.MAX_PACKET, socket.CMSG_SPACE(64 * 4))
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw)
        if not data:
            raise SystemExit("the zygote ended")
        return messages.decode(data, tuple(fds))

    def spawn(self, code: str = IDLE) -> tuple[int, float]:
        """Start one worker; its pid, and the seconds from the request to its code's first line."""
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR)
        record = os.memfd_create("record")
        spawn_id = uuid.uuid4()
        body = {
            "worker": "bench",
            "run": {"kind": "command", "target": code},
            "args": [],
            "path0": None,
            "env": self.env,
            "cwd": "/",
            "umask": 0o022,
            "session": "new",
            "rlimits": {},
            "nice": None,
            "oom_score_adj": None,
            "affinity": None,
            "uid": None,
            "gid": None,
            "groups": None,
            "capabilities": None,
            "no_new_privs": False,
            "title": "bench",
            "spawn_id": spawn_id.hex,
            "fds": ["stdin", "stdout", "stderr", "report", "record"],
        }
        fds = (null, null, 2, theirs.fileno(), record)
        before = time.monotonic()
        packet = Packet(Kind.SPAWN, spawn_id.bytes, body=json.dumps(body).encode(), fds=fds)
        socket.send_fds(self.link, [messages.encode(packet)], list(fds))
        theirs.close()
        answer = self.receive()
        said = json.loads(report.recv(65536))
        report.close()
        os.close(null)
        os.close(record)
        for fd in answer.fds:
            os.close(fd)
        if not said.get("up"):
            raise SystemExit(f"the worker failed: {said}")
        return answer.pid, said["monotonic"] - before

    def spawn_and_wait(self) -> float:
        """Start one worker, kill it, reap it; the seconds until its code ran."""
        pid, seconds = self.spawn()
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [])
        os.waitid(os.P_PID, pid, os.WEXITED)
        os.close(pidfd)
        return seconds
