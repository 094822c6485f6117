"""Ask a witness: a program of ours in a copy of a zygote, on descriptors of our own."""

from __future__ import annotations

import json
import os
import select
import time
from pathlib import Path
from typing import Any

from zygote.client.wire import Wire
from zygote.errors import ZygoteError

_PATIENCE = 60.0
_SAID = 2000


def ask(control: Path, zygote: str, module: str, question: Any) -> Any:
    """Run a module in a copy of a zygote; it reads JSON on stdin and answers so on stdout.

    Args:
        control: the manager's control socket.
    Raises:
        ZygoteError: it could not be started; or code witness: it failed, or took too long.
    """
    files = [os.memfd_create(name) for name in ("question", "answer", "errors")]
    try:
        os.pwrite(files[0], json.dumps(question).encode(), 0)
        wire = Wire(control)
        wire.send(
            "Run",
            {
                "zygote": zygote, "kind": "module", "target": module, "args": [],
                "env": {"PATH": os.environ.get("PATH", os.defpath)}, "cwd": "/", "umask": 0o077,
                "stdin": 0, "stdout": 1, "stderr": 2,
            },
            files,
        )  # fmt: skip
        end = _wait(wire)
        answer = os.pread(files[1], os.fstat(files[1]).st_size, 0)
        if end.get("code") == 0 and answer:
            return json.loads(answer)
        said = os.pread(files[2], _SAID, 0).decode(errors="replace").strip()
        raise ZygoteError(
            f"a witness of zygote '{zygote}' failed: {said or end}",
            code="witness",
            hint="with --no-witness its names are done without",
        )
    finally:
        for descriptor in files:
            os.close(descriptor)


def _wait(wire: Wire) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    poll = select.poll()
    poll.register(wire.fileno(), select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            for report in wire.receive():
                if report.get("code") is not None or report.get("signal"):
                    return report
    raise ZygoteError(
        f"a witness did not answer within {_PATIENCE:.0f} s",
        code="witness",
        hint="the machine is very busy; with --no-witness its names are done without",
    )
