"""A PostgreSQL server of a test's own: Debian's, on a scratch folder and a loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bus import DEADLINE
from tests.support.ports import free_port


def binaries() -> Path:
    """Where the server's programs are.

    Raises:
        pytest.skip.Exception: they are not; names the package.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not here (Debian: postgresql)")
    return found[-1].parent


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A running server; gives the URL of an empty database.

    The server refuses to run as root: there it runs as the user `postgres`, or as `nobody`.
    """
    programs = binaries()
    folder = Path(tempfile.mkdtemp(prefix="decnet-pg-"))
    user = _other_user()
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        port = free_port()
        data = folder / "data"
        _run(user, folder, programs / "initdb", "-D", data, "-U", "decnet", "-A", "trust", "-N")
        command = [
            *(str(programs / "postgres"), "-D", str(data), "-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
            *("-c", "fsync=off", "-c", "shared_buffers=16MB"),
        ]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, **_as(user))
        try:
            deadline = time.monotonic() + DEADLINE
            ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            while subprocess.run(ready, check=False).returncode:
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            _run(
                user, folder, programs / "createdb", "-h", "127.0.0.1", "-p", str(port),
                "-U", "decnet", "decnet",
            )  # fmt: skip
            yield f"postgresql://decnet@127.0.0.1:{port}/decnet"
        finally:
            process.terminate()  # SIGTERM waits for clients; the tests' are gone by then
            try:
                process.wait(120)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _as(user: pwd.struct_passwd | None) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _run(user: pwd.struct_passwd | None, folder: Path, *command: object) -> None:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd=folder, **_as(user)
    )  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr
