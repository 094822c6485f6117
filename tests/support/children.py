"""One spawn of a real zygote with every part of the request and every descriptor at hand."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.forkserver import DEADLINE, MiniManager, body
from zygote.wire.messages import Kind, Packet


@dataclass
class Made:
    """A child: its report, and what it printed to stdout and stderr by its end.

    Attributes:
        report: None if it ended without one.
    """

    pid: int
    report: dict[str, Any] | None
    status: int = 0
    output: str = ""
    lines: list[str] = field(default_factory=list)

    def json(self) -> Any:
        """The one line that it printed, as JSON."""
        assert self.report and self.report["up"], self.report
        return json.loads(self.output)


def spawn(
    manager: MiniManager,
    folder: Path,
    code: str = "",
    *,
    fds: dict[str, int] | None = None,
    roles: list[str] | None = None,
    hears: bool = True,
    **request: Any,
) -> Made:
    """Spawn, wait for the end.

    Args:
        folder: for stdout and stderr, and as cwd.
        code: for `python -c`; or say `run` in the request.
        fds: more descriptors by role, which stay ours.
        roles: what the body says of the descriptors, if not the truth.
        hears: take the report; else its other end is closed from the start.
        request: keys of the body other than the usual.
    """
    with started(manager, folder, code, fds=fds, roles=roles, hears=hears, **request) as made:
        made.status = wait(made.pid)
    made.output = (folder / "output").read_text()
    made.lines = made.output.splitlines()
    return made


@contextlib.contextmanager
def started(
    manager: MiniManager,
    folder: Path,
    code: str = "",
    *,
    fds: dict[str, int] | None = None,
    roles: list[str] | None = None,
    hears: bool = True,
    **request: Any,
) -> Iterator[Made]:
    """As `spawn`, while it runs. It is killed at the end if it has not been waited for."""
    report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with report, theirs, (folder / "output").open("wb") as output, open(os.devnull) as null:
        given = {
            "stdin": null.fileno(),
            "stdout": output.fileno(),
            "stderr": output.fileno(),
            "report": theirs.fileno(),
            **(fds or {}),
        }
        whole = body(code, list(given), folder) | request
        whole["fds"] = roles or whole["fds"]
        data = json.dumps(whole).encode()
        packet = Packet(Kind.SPAWN, uuid.uuid4().bytes, body=data, fds=tuple(given.values()))
        if not hears:
            report.close()
        manager.link.send(packet)
        answer = manager.receive()
        assert answer.kind is Kind.SPAWNED, answer
        for descriptor in answer.fds:
            os.close(descriptor)
        theirs.close()
        made = Made(answer.pid, None)
        if hears:
            report.settimeout(DEADLINE)
            made.report = json.loads(report.recv(65536) or b"null")
        try:
            yield made
        finally:
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                os.kill(made.pid, signal.SIGKILL)
                os.waitpid(made.pid, 0)


def wait(pid: int) -> int:
    """Reap a child of ours: exit code, or minus the signal."""
    deadline = time.monotonic() + DEADLINE
    while (reaped := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"process {pid} does not end")
        select.select([], [], [], 0.002)
    return os.waitstatus_to_exitcode(reaped[1])


def wait_for(output: Path, text: str) -> None:
    """Wait until a file holds a text."""
    deadline = time.monotonic() + DEADLINE
    while text not in output.read_text():
        assert time.monotonic() < deadline, f"no {text!r} in {output.read_text()!r}"
        select.select([], [], [], 0.005)


def private_bytes(pid: int) -> int:
    """Memory of a process that it shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def memory(pid: int) -> bytes:
    """All that a process has in memory and can write to."""
    parts = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as source:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            first, last = (int(part, 16) for part in span.split("-"))
            with contextlib.suppress(OSError):  # it was given back since the look at the maps
                parts.append(os.pread(source.fileno(), last - first, first))
    assert any(parts), f"process {pid} has no memory"
    return b"".join(parts)
