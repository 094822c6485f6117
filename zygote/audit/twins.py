"""Rules `fork` and `twins`: fork twice, and see whether it works and whether the two are alike.

Fork hooks run here for the first time. One that logs, waits for a thread that the clone lacks, or
crashes is found before a worker meets it. Then each of the two takes the steps of a worker that
make randomness its own, and draws from every source that a program may draw from.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from zygote.audit.report import Finding

PATIENCE = 10.0
"""Seconds that a copy may take to come out of the fork hooks and draw; it takes milliseconds."""


class Copy(NamedTuple):
    """What became of one copy.

    Attributes:
        drawn: source -> what it drew, where it came so far.
        fault: why it did not, or "".
    """

    drawn: dict[str, str]
    fault: str


def look(*, patience: float = PATIENCE, stacks: bool = False) -> list[Finding]:
    """Fork two copies, one after the other.

    Args:
        patience: seconds after which a copy hangs.
        stacks: say where it hangs; needs a signal handler for the time of the test.
    """
    copies = []
    for _ in range(2):
        copy = _fork(patience, stacks)
        if copy.fault:
            return [Finding("fork", copy.fault)]
        copies.append(copy)
    one, other = copies
    same = [name for name, value in one.drawn.items() if other.drawn.get(name) == value]
    return [Finding("twins", f"two copies draw the same from {', '.join(same)}")] if same else []


def draw() -> dict[str, str]:
    """Something of each source that this process has loaded, as text."""
    drawn = {}
    for name, (module, take) in _SOURCES.items():
        loaded: Any = sys.modules.get(module)
        if loaded is not None:
            drawn[name] = str(take(loaded))
    return drawn


_SOURCES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "os.urandom": ("os", lambda os: os.urandom(16).hex()),
    "random": ("random", lambda random: random.getrandbits(128)),
    "secrets": ("secrets", lambda secrets: secrets.token_hex(16)),
    "uuid.uuid4": ("uuid", lambda uuid: uuid.uuid4()),
    "OpenSSL": ("ssl", lambda ssl: ssl.RAND_bytes(16).hex()),
    "tempfile": ("tempfile", lambda tempfile: next(tempfile._get_candidate_names())),
    "numpy.random": ("numpy.random", lambda random: random.bytes(16).hex()),
    "torch": ("torch", lambda torch: torch.rand(4).tolist()),
    "multiprocessing": (
        "multiprocessing.process",
        lambda process: bytes(process.current_process().authkey).hex(),
    ),
}


def _fork(patience: float, stacks: bool) -> Copy:
    notes = os.memfd_create("twin")
    traces = os.memfd_create("twin-stacks") if stacks else -1
    try:
        if stacks:
            faulthandler.register(signal.SIGUSR2, file=traces, all_threads=False)
        with warnings.catch_warnings():
            # Python warns of threads in a fork, which the rule `thread` tells already.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _perform(notes)
        return _outcome(pid, notes, traces, patience)
    finally:
        if stacks:
            faulthandler.unregister(signal.SIGUSR2)
            os.close(traces)
        os.close(notes)


def _perform(notes: int) -> None:
    """The copy: never returns."""
    try:
        inherited: Any = sys.modules.get("zygote.child.inherited")
        if inherited is not None:
            inherited.reseed()
        os.write(notes, json.dumps(draw()).encode())
    except BaseException as error:
        os.write(notes, b"!" + f"{type(error).__name__}: {error}".encode()[:200])
    finally:
        os._exit(0)


def _outcome(pid: int, notes: int, traces: int, patience: float) -> Copy:
    if not _ended(pid, patience):
        where = _hangs_at(pid, traces) if traces >= 0 else ""
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return Copy({}, f"a copy hangs after fork{where}")
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        return Copy({}, f"a copy died of {name} in its fork hooks")
    said = os.pread(notes, 1 << 20, 0).decode(errors="replace")
    if not said:
        return Copy({}, f"a copy ended with exit code {os.WEXITSTATUS(status)} in its fork hooks")
    if said.startswith("!"):
        return Copy({}, f"a copy cannot draw random numbers: {said[1:]}")
    return Copy(json.loads(said), "")


def _ended(pid: int, patience: float) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    finally:
        os.close(descriptor)


def _hangs_at(pid: int, traces: int) -> str:
    """Where a copy hangs, as the handler of faulthandler writes it: works in a lock, too."""
    os.kill(pid, signal.SIGUSR2)
    deadline, size = time.monotonic() + 10.0, 0
    while time.monotonic() < deadline:
        time.sleep(0.05)
        before, size = size, os.fstat(traces).st_size
        if size and size == before:  # it is written in pieces
            break
    lines = os.pread(traces, 1 << 16, 0).decode(errors="replace").splitlines()
    frames = [line.strip().removeprefix("File ") for line in lines if line.startswith("  File ")]
    shown = [frame for frame in frames if "/zygote/audit/" not in frame][:3]
    return f": {'; '.join(shown)}" if shown else ""
