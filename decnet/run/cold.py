"""What the same workers cost as cold processes: each `python -m …`, all alive at once, measured.

    python -m decnet.run.cold --out FILE [NAME=MODULE ARGS… ...]

Run once in the background by `make run`; the result is kept with its date. All processes live at
the same time on a scratch state folder and free ports, so that what cold processes do share (the
interpreter's and the libraries' file pages) is counted as shared: PSS, not a sum of RSS.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from decnet.run.ports import free_ports
from zygote.sys import procfs

READY_TIMEOUT_SECONDS = 180.0


def measure(workers: dict[str, list[str]]) -> dict[str, Any]:
    """Start every worker cold, wait until each says READY=1, sum their memory, stop them.

    Args:
        workers: name -> arguments after the interpreter (["-m", "decnet.workers.bus"]).

    Returns:
        {"workers": n, "pss_kib", "uss_kib", "rss_kib", "pagetables_kib", "start_s": {name: s},
        "python", "date"}; a worker that did not become ready is named under "failed".
    """
    with (
        tempfile.TemporaryDirectory(prefix="decnet-cold-") as folder,
        contextlib.ExitStack() as stack,
    ):
        notify = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        path = str(Path(folder) / "notify")
        notify.bind(path)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        env = _scratch_environment(folder) | {"NOTIFY_SOCKET": path}
        subprocess.run(
            [sys.executable, "-m", "decnet.db.migrate"],
            env=env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        started: dict[str, float] = {}
        names: dict[int, str] = {}
        processes: list[subprocess.Popen[bytes]] = []
        log = stack.enter_context(open(Path(folder) / "log", "wb"))
        try:
            for name, arguments in workers.items():
                process = subprocess.Popen(
                    [sys.executable, *arguments],
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                started[name] = time.monotonic()
                processes.append(process)
                names[process.pid] = name
            ready = _wait_ready(notify, names, started)
            rows = [procfs.read_memory(process.pid) for process in processes]
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        live = [row for row in rows if row is not None]
        return {
            "workers": len(live),
            "pss_kib": sum(row.pss_kib for row in live),
            "uss_kib": sum(row.uss_kib for row in live),
            "rss_kib": sum(row.rss_kib for row in live),
            "pagetables_kib": sum(row.pagetables_kib for row in live),
            "start_s": ready,
            "failed": sorted(set(workers) - set(ready)),
            "python": platform.python_version(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def _scratch_environment(folder: str) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DECNET_", "ZYGOTE_"))}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["DECNET_STATE_DIR"] = folder
    return env | free_ports()


def _wait_ready(
    notify: socket.socket, names: dict[int, str], started: dict[str, float]
) -> dict[str, float]:
    """name -> seconds from its start to READY=1, for those that said it in time."""
    ready: dict[str, float] = {}
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    while len(ready) < len(names) and (left := deadline - time.monotonic()) > 0:
        notify.settimeout(left)
        try:
            text, ancillary, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            break
        pid = next((int.from_bytes(data[:4], sys.byteorder) for _, _, data in ancillary), 0)
        if pid in names and b"READY=1" in text.split(b"\n"):
            name = names[pid]
            ready.setdefault(name, round(time.monotonic() - started[name], 3))
    return ready


def main() -> int:
    """Measure and write the result where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the JSON here (atomically) too")
    parser.add_argument("workers", nargs="+", metavar="NAME=ARGUMENTS")
    given = parser.parse_args()
    # Asked to stop in the middle, it stops what it started: SystemExit runs the `finally`.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.nice(10)
    workers = {}
    for text in given.workers:
        name, _, arguments = text.partition("=")
        workers[name] = shlex.split(arguments)
    result = json.dumps(measure(workers))
    print(result)
    if given.out:
        fresh = given.out.with_suffix(f".{os.getpid()}")
        fresh.write_text(result)
        fresh.replace(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
