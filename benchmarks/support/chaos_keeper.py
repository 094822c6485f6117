"""A manager that is started again whenever it ends, as systemd would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from zygote.errors import ZygoteError


@dataclass
class Keeper:
    """Starts the manager, and starts it again whenever it ends, as systemd would.

    Args:
        argv, env: of the manager.
        log: its output goes there.
        ground: a delegated cgroup that gives its controllers; each manager starts in a fresh group
            below it, as a unit's does. None: in ours.
    """

    argv: list[str]
    env: dict[str, str]
    log: Path
    ground: Path | None = None
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    exits: list[int] = field(default_factory=list)
    _stopping: bool = False

    def start(self) -> None:
        """A manager, now."""
        ready, theirs = os.pipe()
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [*self._prefix(), *self.argv, "--ready-fd", str(theirs)],
                env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(theirs,), process_group=0,
            )  # fmt: skip
        os.close(theirs)
        self.starts += 1
        self._ready = ready
        os.set_blocking(ready, False)
        loop = asyncio.get_running_loop()
        pidfd = os.pidfd_open(self.process.pid)

        def ended() -> None:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            os.close(ready)
            assert self.process
            self.exits.append(self.process.wait())
            if not self._stopping:
                self.start()

        loop.add_reader(pidfd, ended)

    def _prefix(self) -> list[str]:
        if self.ground is None:
            return []
        group = self.ground / f"chaos-{self.starts + 1}"
        group.mkdir()
        return ["/bin/sh", "-c", f'echo 0 >{group}/cgroup.procs && exec "$@"', "sh"]

    def recycled(self) -> set[int]:
        """Pids of workers that managers replaced because of their private memory."""
        found = re.findall(r"\bpid=(\d+) event=recycling\b", self.log.read_text(errors="replace"))
        return {int(pid) for pid in found}

    @property
    def pid(self) -> int:
        """Of the manager that is, or that is about to be reaped."""
        assert self.process
        return self.process.pid

    async def stop(self, seconds: float = 60.0) -> bool:
        """SIGTERM; whether it ended by itself in time."""
        assert self.process
        self._stopping = True
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while self.process.returncode is None and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self.process.returncode is not None:
            return True
        self.process.kill()
        return False

    async def answer(self) -> dict[str, object]:
        """What the first manager wrote to its --ready-fd.

        Raises:
            ZygoteError: it refused to start.
        """
        said = b""
        while not said.endswith(b"\n"):
            with contextlib.suppress(BlockingIOError):
                said += os.read(self._ready, 65536)
            if self.exits:
                raise ZygoteError("the manager did not start", hint=f"see {self.log}")
            await asyncio.sleep(0.05)
        found: dict[str, object] = json.loads(said)
        if not found.get("ok"):
            self._stopping = True
            raise ZygoteError("the manager did not start", hint=f"see {self.log}")
        return found


def python() -> list[str]:
    """The interpreter, as managers are started."""
    return [sys.executable, "-P", "-m", "zygote.manager"]
