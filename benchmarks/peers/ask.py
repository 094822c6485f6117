"""Asking all workers of a peer for one turn each, by the transport that is natural to it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers import venv

Answers = dict[int, str]
"""pid -> what it answered."""


class Unanswered(Exception):
    """Not every worker answered in time."""


def lines(folder: Path, pids: set[int], what: str, seconds: float) -> Answers:
    """Each worker has a socket of its own."""
    found: Answers = {}
    for pid in pids:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(seconds)
            link.connect(str(folder / f"{pid}.sock"))
            link.sendall(what.encode())
            answer = json.loads(link.makefile().read())
        found[answer["pid"]] = answer["answer"]
    return found


def requests(folder: Path, pids: set[int], what: str, seconds: float) -> Answers:
    """All workers share a listening socket: ask, many at once, until everybody has answered."""
    found: Answers = {}
    deadline = time.monotonic() + seconds

    def keep_asking() -> None:
        while not pids <= set(found) and time.monotonic() < deadline:
            try:
                answer = _get(folder / "http.sock", f"/turn/{what}", seconds)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.01)  # a worker that was killed had it
                continue
            found[answer["pid"]] = answer["answer"]

    _in_threads(keep_asking, min(64, 2 * len(pids)))
    return found


def tasks(folder: Path, pids: set[int], what: str, seconds: float, env: dict[str, str]) -> Answers:
    """Queue a task for everybody who is missing; answers come back as datagrams."""
    found: Answers = {}
    deadline = time.monotonic() + seconds
    path = folder / "answers"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(path))
        try:
            while (missing := pids - set(found)) and time.monotonic() < deadline:
                count = len(pids) if len(missing) == len(pids) else 2 * len(pids)
                command = [str(venv.PYTHON), "-m", "benchmarks.peers.tasks", what, str(count)]
                subprocess.run(command, env=env, check=True, timeout=60)
                inbox.settimeout(max(0.1, deadline - time.monotonic()))
                try:
                    for _ in range(count):
                        answer = json.loads(inbox.recv(4096))
                        found[answer["pid"]] = answer["answer"]
                except TimeoutError:
                    break
        finally:
            path.unlink()
    return found


def _in_threads(run: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _Connection(http.client.HTTPConnection):
    """HTTP over a UNIX socket: no port is taken, nothing listens on a network."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


def _get(path: Path, target: str, seconds: float) -> dict[str, Any]:
    connection = _Connection(path, seconds)
    try:
        connection.request("GET", target, headers={"Connection": "close"})
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        return answer
    finally:
        connection.close()
