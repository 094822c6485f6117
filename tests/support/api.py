"""A running REST interface on a scratch database, for tests."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from sqlmodel import Session, create_engine

from decnet.db.migrate import migrate
from decnet.db.tables import Log
from decnet.settings import Settings
from decnet.web.api import auth
from tests.support.decnet_env import migrated
from tests.support.ports import free_port

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)


@dataclass
class Api:
    """A running interface."""

    process: subprocess.Popen[bytes]
    settings: Settings
    client: httpx2.Client

    def restart(self) -> None:
        """Kill it at once (-9) and start another on the same port."""
        self.process.kill()
        self.process.communicate(timeout=120)
        port = self.client.base_url.port
        assert port is not None
        self.process = start(self.settings.state_dir, port)
        wait_for(self.process, self.client)

    def add_logs(self, count: int, decky: str = "decky-01") -> None:
        """Store events behind its back, as `collect` does."""
        engine = create_engine(f"sqlite:///{self.settings.db_file}")
        with Session(engine) as session:
            for number in range(count):
                session.add(
                    Log(
                        timestamp=NOW + dt.timedelta(seconds=number),
                        decky=decky,
                        service="ssh" if number % 2 else "http",
                        event_type="login_attempt",
                        attacker_ip=f"192.0.2.{number % 3}",
                        raw_line=f"line {number}",
                        fields={"n": number, "user": "<b>root</b>"},
                    )
                )
            session.commit()
        engine.dispose()


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    env = os.environ | {"DECNET_STATE_DIR": str(folder), "DECNET_API_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-m", "decnet.workers.api"], env=env, stderr=subprocess.PIPE
    )


def wait_for(process: subprocess.Popen[bytes], client: httpx2.Client) -> None:
    """Until it answers."""
    deadline = time.monotonic() + 180
    while True:
        try:
            client.get("/health")
            return
        except httpx2.TransportError:
            assert process.poll() is None and time.monotonic() < deadline, "did not start"
            time.sleep(0.05)


def blocks(answer: httpx2.Response) -> Iterator[dict[str, str]]:
    """The events of a stream as a browser dispatches them: whole ones only."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if not line:
            if fields:
                yield fields
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")


@contextmanager
def running_api(folder: Path) -> Iterator[Api]:
    """Start one; on leaving, it must stop cleanly and have printed no traceback."""
    port = free_port()
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_API_PORT": str(port)})
    if settings.db_file and settings.db_file.exists():
        migrate(settings.db_url)
    else:
        migrated(folder)
    process = start(folder, port)
    limits = httpx2.Limits(keepalive_expiry=1)  # long before the other side lets go of one
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as client:
        wait_for(process, client)
        token = auth.mint(settings.jwt_secret, "admin", "admin")
        client.headers["Authorization"] = f"Bearer {token}"
        api = Api(process, settings, client)
        try:
            yield api
        finally:
            # Not `process`: a test may have put another in its place.
            api.process.terminate()
            _, errors = api.process.communicate(timeout=120)
    assert api.process.returncode == 0, errors.decode()
    assert b"Traceback" not in errors, errors.decode()
