"""One peer from its start to its end, with every figure on the way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers import ask, tree
from benchmarks.peers.kinds import Peer
from benchmarks.peers.table import crash_ms
from benchmarks.peers.venv import ROOT, environment

SETTLE_SECONDS = 2.0
START_SECONDS = 180.0
CRASH_SECONDS = 15.0
STOP_SECONDS = 60.0
TURN_SECONDS = 120.0
CRASHES = 3


class Run:
    """A peer that runs in a folder of its own. A context manager that leaves nothing behind."""

    def __init__(self, peer: Peer, n: int) -> None:
        self.peer, self.n = peer, n
        self.workers: set[int] = set()

    def __enter__(self) -> Run:
        self._temporary = tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "log"
        self.hello = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.hello.bind(str(self.folder / "hello"))
        self.env = environment() | {
            "PEERS_FOLDER": str(self.folder),
            "PEERS_HELLO": str(self.folder / "hello"),
            "PEERS_ANSWERS": str(self.folder / "answers"),
        }
        return self

    def __exit__(self, *_: object) -> None:
        tree.end_all()
        self.hello.close()
        self._temporary.cleanup()

    def start(self) -> float:
        """The seconds from the first command until all workers have said hello."""
        command = self.peer.command(self.folder, self.n)
        began = time.monotonic()
        with open(self.log, "wb") as log:
            # Its own group: Ctrl-C reaches the benchmark alone, which then ends all of them.
            self.master = subprocess.Popen(
                command,
                env=self.env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        while len(self.workers) < self.n:
            pid = self._hello(began + START_SECONDS)
            if pid is None:
                raise ask.Unanswered(f"{len(self.workers)} of {self.n} started: {self._tail()}")
            self.workers.add(pid)
        return time.monotonic() - began

    def turn(self, what: str, limit: float = TURN_SECONDS) -> set[str]:
        """Each worker does it once; the different answers there were."""
        if self.peer.transport == "line":
            found = ask.lines(self.folder, self.workers, what, limit)
        elif self.peer.transport == "http":
            found = ask.requests(self.folder, self.workers, what, limit)
        else:
            found = ask.tasks(self.folder, self.workers, what, limit, self.env)
        if not self.workers <= set(found):
            missing = len(self.workers - set(found))
            raise ask.Unanswered(f"{missing} workers did not answer {what}: {self._tail()}")
        return {found[pid] for pid in self.workers}

    def crash(self) -> float | None:
        """SIGKILL a worker; the seconds until another one says hello, None if none does."""
        victim = min(self.workers)
        self.workers.remove(victim)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        fresh = self._hello(began + (CRASH_SECONDS if self.peer.restarts else 2.0))
        if fresh is None:
            return None
        self.workers.add(fresh)
        return time.monotonic() - began

    def stop(self) -> float | None:
        """SIGTERM to the master; the seconds until no process is left, None if one stays."""
        began = time.monotonic()
        self.master.send_signal(signal.SIGTERM)
        return time.monotonic() - began if tree.wait_gone(STOP_SECONDS) else None

    def _hello(self, deadline: float) -> int | None:
        """The next worker that says hello; None when it is too late, or the master has ended."""
        while (left := deadline - time.monotonic()) > 0 and self.master.poll() is None:
            self.hello.settimeout(min(left, 0.5))
            try:
                return int(self.hello.recv(64))
            except TimeoutError:
                continue
        return None

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-6:])[-600:] or "it said nothing"


def measure(peer: Peer, n: int, rounds: int) -> dict[str, Any]:
    """All figures of one peer but its name and version.

    It is run twice, and crashes only the second time: some do not recover, and then have no stop.
    """
    note = peer.note
    with Run(peer, n) as run:
        starts = [run.start()]
        time.sleep(SETTLE_SECONDS)
        row: dict[str, Any] = tree.measure(run.workers).columns("idle")
        answers = run.turn(f"work:{rounds}")
        time.sleep(1)
        sizes = tree.measure(run.workers)
        row |= sizes.columns("worked") | {"processes": sizes.processes}
        run.turn("collect")
        time.sleep(1)
        row |= tree.measure(run.workers).columns("collected")
        stop = run.stop()
        if stop is None:
            note += "; SIGTERM did not stop it"
    with Run(peer, n) as run:
        starts.append(run.start())
        time.sleep(SETTLE_SECONDS)
        crashes = [run.crash() for _ in range(CRASHES if peer.restarts else 1)]
        try:
            run.turn("work:1", CRASH_SECONDS)  # those that were started again do answer
        except (ask.Unanswered, OSError):
            note += f"; new workers after {crash_ms(crashes)} ms, but then not all answer"
            crashes = []
    return row | {
        "start_s": round(min(starts), 3),
        "crash_ready_ms": crash_ms(crashes),
        "stop_s": None if stop is None else round(stop, 3),
        "answer": answers.pop() if len(answers) == 1 else "they differ",
        "note": note,
    }
