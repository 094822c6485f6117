"""A manager in miniature: one real zygote process at the other end of a real socket pair."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from zygote.fleet.model import ZygoteSpec
from zygote.sys import fds as descriptors
from zygote.sys import prctl
from zygote.wire.link import Link
from zygote.wire.messages import Kind, Packet, encode

DEADLINE = 120.0
"""Seconds after which a wait is given up: generous, for slow machines."""


class BakeFailedError(Exception):
    """The zygote's BAKE_FAILED; `parts` is its body."""

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__(parts["message"])
        self.parts = parts


class SpawnFailedError(Exception):
    """The zygote's SPAWN_FAILED; `parts` is its body."""

    def __init__(self, parts: dict[str, Any]) -> None:
        super().__init__(str(parts))
        self.parts = parts


class Blank(NamedTuple):
    """A clone that waits for a Spawn."""

    pid: int
    sock: socket.socket


class Worker:
    """A worker, and what it writes."""

    def __init__(self, pid: int, pidfd: int, stdout: int, report: socket.socket) -> None:
        self.pid, self.pidfd, self._stdout, self._report = pid, pidfd, stdout, report
        self._status: int | None = None
        self._held = b""

    def up(self) -> dict[str, Any]:
        """Its report."""
        self._report.settimeout(DEADLINE)
        return json.loads(self._report.recv(65536))

    def line(self) -> str:
        """The next line of its stdout; "" at the end."""
        while b"\n" not in self._held:
            _readable(self._stdout)
            more = os.read(self._stdout, 65536)
            if not more:
                break
            self._held += more
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()

    def read(self) -> str:
        """All of its stdout, up to the end."""
        lines = []
        while line := self.line():
            lines.append(line)
        return "\n".join(lines)

    def json(self) -> Any:
        """The next line of its stdout, as JSON."""
        return json.loads(self.line())

    def wait(self) -> int:
        """Reap it: its exit code, or minus the signal. Only its parent can."""
        if self._status is None:
            deadline = time.monotonic() + DEADLINE
            while (reaped := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
                assert time.monotonic() < deadline, f"worker {self.pid} does not end"
                select.select([], [], [], 0.005)
            self._status = os.waitstatus_to_exitcode(reaped[1])
        return self._status

    def close(self) -> None:
        """End it if it runs, and close what is ours."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                self.wait()
        self._report.close()
        for descriptor in (self._stdout, self.pidfd):
            if descriptor >= 0:
                os.close(descriptor)


class MiniManager:
    """Starts one zygote, bakes it, asks it for workers.

    Args:
        log: file for the stderr of zygote and workers.
        spawn_path: as `--spawn-path`.
        prefix: a command in front of the zygote's (strace).
    """

    def __init__(
        self,
        log: Path,
        spawn_path: str = "auto",
        prefix: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log = log
        self.cwd = cwd or Path.cwd()
        self.workers: list[Worker] = []
        self.waiting: list[Blank] = []
        self.progress: list[tuple[str, str]] = []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(DEADLINE)
        self.sock = ours
        self.link = Link(ours)
        with theirs, log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    *("-m", "zygote.forkserver"),
                    *("--link", str(theirs.fileno()), "--name", "test"),
                    *("--generation", "1", "--spawn-path", spawn_path),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                process_group=0,
                cwd=self.cwd,
                env={**os.environ, **(env or {})},
            )

    def bake(self, **spec: Any) -> dict[str, Any]:
        """Bake; the BAKED report, or BakeFailedError."""
        whole = ZygoteSpec(name="test", cwd=str(self.cwd), place="fleet.toml:7", **spec)
        self.link.send(Packet(Kind.BAKE, body=json.dumps({"spec": asdict(whole)}).encode()))
        while (packet := self.receive()).kind is Kind.PROGRESS:
            parts = json.loads(packet.body)
            self.progress.append((parts["stage"], parts["detail"]))
        if packet.kind is Kind.BAKE_FAILED:
            raise BakeFailedError(json.loads(packet.body))
        assert packet.kind is Kind.BAKED
        return json.loads(packet.body)

    def blanks(self, count: int, title: str = "a blank") -> list[Blank]:
        """So many clones that wait for a Spawn, each on its socket."""
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(count)]
        fds = tuple(theirs.fileno() for _, theirs in pairs)
        self.link.send(Packet(Kind.BLANK, uuid.uuid4().bytes, body=title.encode(), fds=fds))
        answer = self.receive()
        for _, theirs in pairs:
            theirs.close()
        for descriptor in answer.fds:
            os.close(descriptor)
        assert answer.kind is Kind.PARKED
        pids = json.loads(answer.body)["pids"]
        made = [Blank(pid, ours) for pid, (ours, _) in zip(pids, pairs, strict=True)]
        self.waiting += made
        return made

    def spawn(
        self,
        code: str,
        *,
        cgroup: int = -1,
        cgroup_procs: int = -1,
        blank: Blank | None = None,
        **more: Any,
    ) -> Worker:
        """A worker that runs Python source, as `python -c` would; made of a blank, or cloned."""
        reader, writer = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        errors = os.open(self.log, os.O_WRONLY | os.O_APPEND)
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = {"stdin": null, "stdout": writer, "stderr": errors, "report": theirs.fileno()}
        if cgroup >= 0:
            fds = {"cgroup": cgroup, **fds}
        if cgroup_procs >= 0:
            fds["cgroup.procs"] = cgroup_procs
        packet = Packet(
            Kind.SPAWN,
            uuid.uuid4().bytes,
            flags=1 if cgroup >= 0 else 0,
            body=json.dumps(body(code, list(fds), self.cwd) | more).encode(),
            fds=tuple(fds.values()),
        )
        try:
            if blank:
                descriptors.send(blank.sock, encode(packet), packet.fds)
                answer = Packet(Kind.SPAWNED, packet.spawn_id, blank.pid)
            else:
                self.link.send(packet)
                answer = self.receive()
        except BaseException:
            os.close(reader)
            report.close()
            raise
        finally:
            theirs.close()
            for descriptor in (null, errors, writer):
                os.close(descriptor)
        assert answer.spawn_id == packet.spawn_id
        if answer.kind is Kind.SPAWN_FAILED:
            os.close(reader)
            report.close()
            raise SpawnFailedError(json.loads(answer.body))
        assert answer.kind is Kind.SPAWNED
        worker = Worker(answer.pid, (*answer.fds, -1)[0], reader, report)
        self.workers.append(worker)
        return worker

    def receive(self) -> Packet:
        """The next packet of the zygote."""
        request = self.link.wait()
        if request is None:
            with self.log.open("rb") as log:
                said = log.read(1 << 16).decode(errors="replace")
            raise EOFError(f"the zygote hung up; its log:\n{said}")
        data, fds = self.link.read_body(request)
        head = request.head
        return Packet(head.kind, head.spawn_id, head.pid, head.flags, data, fds)

    def hang_up(self) -> int:
        """Close the link; the zygote's exit code."""
        self.link.close()
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        """End the zygote and all workers."""
        for blank in self.waiting:
            blank.sock.close()
            if all(worker.pid != blank.pid for worker in self.workers):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(blank.pid, 0)
        for worker in self.workers:
            worker.close()
        self.link.close()
        self.process.kill()
        self.process.wait(DEADLINE)


def body(code: str, roles: list[str], cwd: Path) -> dict[str, Any]:
    """The body of a Spawn, all keys."""
    return {
        "worker": "probe",
        "run": {"kind": "command", "target": code},
        "args": [],
        "path0": None,
        "env": dict(os.environ),
        "cwd": str(cwd),
        "umask": 0o022,
        "session": "new",
        "fds": roles,
        "rlimits": {},
        "nice": None,
        "oom_score_adj": None,
        "affinity": None,
        "uid": None,
        "gid": None,
        "groups": None,
        "capabilities": None,
        "no_new_privs": False,
        "title": "",
        "spawn_id": uuid.uuid4().hex,
    }


@contextlib.contextmanager
def subreaper() -> Iterator[None]:
    """Be the heir of orphans, as the manager is."""
    was = prctl.is_child_subreaper()
    prctl.set_child_subreaper(True)
    try:
        yield
    finally:
        prctl.set_child_subreaper(was)
        _reap_strays()


def _reap_strays() -> None:
    """The probes of the fork path belonged to us for a moment."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _readable(descriptor: int) -> None:
    ready, _, _ = select.select([descriptor], [], [], DEADLINE)
    assert ready, "no answer within the deadline"


@contextlib.contextmanager
def baked(folder: Path) -> Iterator[MiniManager]:
    """One whose zygote is baked, with its log in this folder; closed at the end."""
    made = MiniManager(folder / "zygote.log")
    try:
        made.bake()
        yield made
    finally:
        made.close()
