"""A running dashboard in front of a running REST interface, for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.support.ports import free_port

STARTED = 180


@dataclass
class Web:
    """A running web worker; `client` has no token."""

    process: subprocess.Popen[bytes]
    port: int
    client: httpx2.Client
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open_files(self) -> int:
        """How many descriptors the worker has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@contextmanager
def running_web(folder: Path, api_port: int, *, said: str = "", **env: str) -> Iterator[Web]:
    """Start one on a state folder; on leaving, it must stop cleanly and have said nothing bad.

    Args:
        said: an error that it is expected to log.
    """
    port, log = free_port(), folder / "web.err"
    settings = {
        "DECNET_STATE_DIR": str(folder),
        "DECNET_API_PORT": str(api_port),
        "DECNET_WEB_PORT": str(port),
        **env,
    }
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "decnet.workers.web"], env=os.environ | settings, stderr=errors
        )
    limits = httpx2.Limits(keepalive_expiry=1)  # long before the other side lets go of one
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as client:
        deadline = time.monotonic() + STARTED
        while True:
            try:
                client.get("/favicon.svg")
                break
            except httpx2.TransportError:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        try:
            yield Web(process, port, client, log)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = process.wait(120)
    text = log.read_text()
    assert code == 0, text
    bad = [line for line in text.splitlines() if "ERROR" in line or "Traceback" in line]
    assert all(said and said in line for line in bad), text
