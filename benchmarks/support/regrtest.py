"""Modules of CPython's own tests, in a cold process or in a worker of a zygote.

Both run `python -m test --junit-xml FILE MODULE…` with the same environment, in the same fresh
folder, in a session of their own, with /dev/null as stdin. What is compared is what the file says
of each test, and how the process ended.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from zygote.inspect.lone import LoneZygote

PATIENCE = 300.0
"""Seconds that one test may take, and twice that a process: then it is killed, and said so."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one process.

    Attributes:
        tests: name -> "passed", "failed", "error" or "skipped".
        end: how the process ended: "exited(0)", "signalled(SIGSEGV)", "timed out".
        output: the last lines that it wrote.
    """

    tests: dict[str, str] = field(default_factory=dict)
    end: str = ""
    seconds: float = 0.0
    output: str = ""

    def count(self, *kinds: str) -> int:
        """How many tests ended so."""
        return sum(kind in kinds for kind in self.tests.values())

    def words(self) -> str:
        """One cell of a table: "121 passed, 2 skipped"."""
        kinds = ("passed", "failed", "error", "skipped")
        parts = [f"{self.count(kind)} {kind}" for kind in kinds if self.count(kind)]
        return ", ".join(parts) or f"nothing ran: {self.end}"


def differences(cold: Outcome, baked: Outcome) -> dict[str, list[str]]:
    """Test -> [how it ended cold, how baked], of those that differ; "" is the process itself."""
    names = sorted({*cold.tests, *baked.tests})
    found = {name: [cold.tests.get(name, "-"), baked.tests.get(name, "-")] for name in names}
    if not found or cold.end.partition("(")[0] != baked.end.partition("(")[0]:
        found[""] = [cold.end, baked.end]
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


class Runner:
    """Runs modules in a folder of its own.

    Args:
        folder: an empty one; `work` in it is made anew for each module.
        zygote: baked; None for cold processes.
    """

    def __init__(self, folder: Path, env: dict[str, str], zygote: LoneZygote | None = None) -> None:
        self._folder, self._env, self._zygote = folder, env, zygote
        # A shell has its background jobs ignore SIGINT, and a cold child would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def run(self, *modules: str) -> Outcome:
        """Run modules, one after the other in one process, to their end."""
        work, report, log = (self._folder / name for name in ("work", "report.xml", "log"))
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        report.unlink(missing_ok=True)
        words = ["-q", "--timeout", str(int(PATIENCE)), "--junit-xml", str(report), *modules]
        began = time.monotonic()
        with log.open("wb") as output:
            pid = self._start(words, work, output.fileno())
            end = _end_of(pid)
        seconds = round(time.monotonic() - began, 2)
        text = log.read_text(errors="backslashreplace")
        return Outcome(_read(report), end, seconds, "\n".join(text.splitlines()[-40:]))

    def _start(self, words: list[str], cwd: Path, output: int) -> int:
        if self._zygote is None:
            process = subprocess.Popen(
                [sys.executable, "-m", "test", *words],
                cwd=cwd,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            process.returncode = 0  # reaped by us, not by its destructor
            return process.pid
        run = {"kind": "module", "target": "test"}
        more = {"run": run, "args": words, "cwd": str(cwd), "env": self._env, "title": ""}
        return self._zygote.spawn("", output=output, **more)[0]


def _end_of(pid: int) -> str:
    """Wait for a child, with what it left in its session."""
    pidfd = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([pidfd], [], [], 2 * PATIENCE)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(pidfd)
    if not ready:
        return "timed out"
    code = os.waitstatus_to_exitcode(status)
    return f"exited({code})" if code >= 0 else f"signalled({signal.Signals(-code).name})"


def _read(report: Path) -> dict[str, str]:
    """Test -> outcome; of tests with several reports (subtests) the worst one."""
    ranks = ("passed", "skipped", "failed", "error")
    found: dict[str, str] = {}
    if not report.exists():
        return found
    for case in ET.parse(report).getroot().iter("testcase"):
        tags = {child.tag for child in case}
        kind = "passed"
        for tag, name in (("skipped", "skipped"), ("failure", "failed"), ("error", "error")):
            kind = name if tag in tags else kind
        name = case.get("name") or ""
        found[name] = max(kind, found.get(name, kind), key=ranks.index)
    return found
