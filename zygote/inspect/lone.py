"""One zygote without a manager: baked, asked for workers, ended. For bakes that are only looked at.

What the manager does on its end of the link, reduced to that (`zygote.wire.messages`). Workers are
our own children, as they are the manager's: whoever makes one ends it.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.sys import linker, procfs
from zygote.wire import messages
from zygote.wire.messages import Kind, Packet

IDLE = "import time; time.sleep(3600)"
_MANAGERS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "PYTHONDONTWRITEBYTECODE")


def environment(spec: ZygoteSpec, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What its zygote would have of the manager's, less what is the manager's alone.

    Bytecode is always written: uncompiled imports would falsify memory and time.
    """
    kept = {k: v for k, v in environ.items() if k not in _MANAGERS}
    return {**kept, **linker.AT_ONCE, **spec.env}


class LoneZygote:
    """A real zygote process; a context manager that bakes, and leaves no zygote behind.

    Args:
        env: of the zygote and its workers.
        spawn_path: as the zygote's own option; of a branch, its parent's.
        output: descriptor for what zygote and workers print; stays the caller's.
        tell: called with each stage of the bake and its detail.
        parent: of a branch: the zygote, baked, to fork it from.
    Attributes:
        baked: the report of the bake.
        pid: of the zygote.
    Raises:
        ZygoteError: on entering: it cannot be started, or baked within `spec.bake_timeout`; the
            traceback of the fleet's code is a note of it.
    """

    def __init__(
        self,
        spec: ZygoteSpec,
        env: Mapping[str, str],
        *,
        spawn_path: str = "auto",
        output: int = 2,
        tell: Callable[[str, str], None] = lambda _stage, _detail: None,
        parent: LoneZygote | None = None,
    ) -> None:
        self.spec, self.env, self.spawn_path = spec, dict(env), spawn_path
        self.baked: dict[str, Any] = {}
        self.pid = 0
        self._output, self._tell, self._parent = output, tell, parent

    def __enter__(self) -> Self:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                if self._parent:
                    self.pid = self._parent.branch(theirs.fileno(), self._output)
                else:
                    self._start(theirs.fileno())
            except BaseException:
                self._link.close()
                raise
        try:
            self._bake()
        except BaseException:
            os.kill(self.pid, signal.SIGKILL)
            self.__exit__()
            raise
        self._link.settimeout(None)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()
        os.waitpid(self.pid, 0)

    def spawn(self, code: str = IDLE, *, output: int = -1, **more: Any) -> tuple[int, float]:
        """Start one worker; its pid, and the seconds from the request to its code's first line.

        Args:
            output: its stdout and stderr; -1: what the zygote prints to, and no stdout.
            more: keys of the request in place of those of a worker that runs `code`.
        Raises:
            ZygoteError: a step of its set-up failed.
        """
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        null = os.open(os.devnull, os.O_RDWR)
        record = os.memfd_create("record")
        spawn_id = uuid.uuid4()
        written = (null, self._output) if output < 0 else (output, output)
        fds = (null, *written, theirs.fileno(), record)
        body = json.dumps(self._body(code, spawn_id) | more).encode()
        before = time.monotonic()
        packet = Packet(Kind.SPAWN, spawn_id.bytes, body=body, fds=fds)
        try:
            socket.send_fds(self._link, [messages.encode(packet)], list(fds))
            theirs.close()
            answer = self._receive()
            raw = report.recv(65536)
        finally:
            theirs.close()
            report.close()
            os.close(null)
            os.close(record)
        for fd in answer.fds:
            os.close(fd)
        said = json.loads(raw or b"{}")
        if not said.get("up"):
            raise ZygoteError(f"a worker's set-up failed: {said or answer.body.decode()}")
        return answer.pid, said["monotonic"] - before

    def branch(self, link: int, output: int) -> int:
        """Fork a zygote from this one; its pid. The descriptors stay the caller's.

        Raises:
            ZygoteError: it could not be forked.
        """
        fds = (link, output)
        packet = Packet(Kind.BRANCH, uuid.uuid4().bytes, fds=fds)
        socket.send_fds(self._link, [messages.encode(packet)], list(fds))
        answer = self._receive()
        for fd in answer.fds:
            os.close(fd)
        if answer.kind is not Kind.SPAWNED:
            raise ZygoteError(
                f"cannot fork a zygote from '{self.spec.name}': {answer.body.decode()}"
            )
        return answer.pid

    def spawn_and_wait(self) -> float:
        """Start one worker, kill it, reap it; the seconds until its code ran."""
        pid, seconds = self.spawn()
        pidfd = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        select.select([pidfd], [], [])
        os.waitid(os.P_PID, pid, os.WEXITED)
        os.close(pidfd)
        return seconds

    def end(self, pid: int) -> None:
        """Kill a worker and wait for its end."""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def measure(self, code: str, mark: Path, timeout: float) -> procfs.Memory:
        """The memory of a worker, taken once its code has made the file `mark`; it is then ended.

        Raises:
            ZygoteError: it ended before that, or took longer than `timeout` seconds.
        """
        pid, _ = self.spawn(code)
        deadline = time.monotonic() + timeout
        try:
            while not mark.exists():
                stat = procfs.read_stat(pid)
                if stat is None or stat.is_zombie:
                    raise ZygoteError(
                        "a measured worker ended before its work was done",
                        code="worker-ended", hint="its traceback is above",
                    )  # fmt: skip
                if time.monotonic() > deadline:
                    raise ZygoteError(
                        f"a measured worker was not done within {timeout:g} s",
                        code="worker-hangs", hint="give it less work: --rounds 1",
                    )  # fmt: skip
                time.sleep(0.01)
            mark.unlink()
            figures = procfs.read_memory(pid)
            assert figures is not None
            return figures
        finally:
            self.end(pid)

    def _start(self, link: int) -> None:
        python = self.spec.python or sys.executable
        words = (
            python, "-m", "zygote.forkserver", "--link", str(link), "--name", self.spec.name,
            "--generation", "1", "--spawn-path", self.spawn_path,
        )  # fmt: skip
        try:
            process = subprocess.Popen(
                words, env={**linker.AT_ONCE, **self.env}, cwd=self.spec.cwd or None,
                pass_fds=[link], process_group=0,
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
            )  # fmt: skip
        except OSError as error:
            raise ZygoteError(
                f"cannot start zygote '{self.spec.name}' with {python} in {self.spec.cwd}: "
                f"{error.strerror}",
                code="no-interpreter", errno=error.errno or 0, place=self.spec.place,
                hint="`python` and `cwd` of the zygote name what there is",
            ) from None  # fmt: skip
        self.pid = process.pid
        process.returncode = 0  # it is reaped by pid, as branches are

    def _bake(self) -> None:
        body = json.dumps({"spec": asdict(self.spec)}).encode()
        self._link.send(messages.encode(Packet(Kind.BAKE, body=body)))
        stage = detail = ""
        deadline = time.monotonic() + self.spec.bake_timeout
        while True:
            self._link.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                packet = self._receive()
            except TimeoutError:
                raise ZygoteError(
                    f"cannot bake zygote '{self.spec.name}': {stage} {detail}".rstrip()
                    + f" was not done within {self.spec.bake_timeout:g} s",
                    code="bake-timeout", step=stage, place=self.spec.place,
                    hint="give it more time with bake_timeout",
                ) from None  # fmt: skip
            parts = json.loads(packet.body)
            if packet.kind is Kind.PROGRESS:
                stage, detail = parts["stage"], parts["detail"]
                self._tell(stage, detail)
            elif packet.kind is Kind.BAKED:
                self.baked = parts
                return
            elif packet.kind is Kind.BAKE_FAILED:
                error = ZygoteError.from_dict(parts)
                error.place = error.place or self.spec.place
                error.add_note(str(parts.get("traceback", "")))
                self._await_end()  # it prints the same
                raise error

    def _await_end(self) -> None:
        """Give it a moment to end by itself, without reaping it."""
        pidfd = os.pidfd_open(self.pid)
        select.select([pidfd], [], [], 2.0)
        os.close(pidfd)

    def _receive(self) -> Packet:
        """The next packet; descriptors that came with it are in it."""
        data, ancillary, _, _ = self._link.recvmsg(messages.MAX_PACKET, socket.CMSG_SPACE(64 * 4))
        fds = array.array("i")
        for _, _, raw in ancillary:
            fds.frombytes(raw)
        if not data:
            raise ZygoteError(f"zygote '{self.spec.name}' ended", code="zygote-died")
        return messages.decode(data, tuple(fds))

    def _body(self, code: str, spawn_id: uuid.UUID) -> dict[str, Any]:
        return {
            "worker": "lone",
            "run": {"kind": "command", "target": code},
            "env": self.env,
            "cwd": self.spec.cwd or "/",
            "title": "lone",
            "spawn_id": spawn_id.hex,
            "fds": ["stdin", "stdout", "stderr", "report", "record"],
        }
