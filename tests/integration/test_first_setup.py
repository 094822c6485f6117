"""Set-up and `make run` where something is wrong: each says what to do."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asyncssh
import pytest

from decnet.run.visit import ssh_visit
from tests.support import mounts
from tests.support.newcomer import needs_root

ROOT = Path(__file__).parents[2]


def checkout(where: Path) -> Path:
    """What set-up reads, in a folder of its own."""
    where.mkdir(parents=True, exist_ok=True)
    # Another test may be compiling what is in it.
    shutil.copytree(ROOT / ".ci", where / ".ci", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, where)
    return where


def setup(where: Path, **env: str) -> str:
    """Set-up must refuse; what it says."""
    done = subprocess.run(
        [where / ".ci" / "setup"], env={**os.environ, **env}, cwd=where, text=True,
        capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "hint: " in done.stderr, done
    return done.stderr


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_setup_wrong_python(tmp_path: Path) -> None:
    where = checkout(tmp_path / "x")
    old = script(tmp_path / "python2", "echo Python 2.7; exit 1")
    for python in ("/nonexistent", str(old)):
        said = setup(where, PYTHON=python)
        assert f"no working Python from 3.11 to 3.14 found (PYTHON={python})" in said
        assert "make PYTHON=/path/to/python" in said
    assert not (where / ".venv").exists()


def test_setup_python_of_another_build(tmp_path: Path) -> None:
    """One that starts, and is refused: it says why. `-I` and `-c` come first, then the program."""
    where = checkout(tmp_path / "x")
    lie = {
        "free-threaded": "import sysconfig; sysconfig.get_config_var = lambda name: 1",
        "it is Python 3.1": "import sys; sys.version_info = (3, 10, 0)",
    }
    for said, lied in lie.items():
        python = script(tmp_path / "python3", f'exec {sys.executable} -I -c "{lied}\n$3"')
        python.write_text(python.read_text().replace("\\n", "\n"))
        assert said in setup(where, PYTHON=str(python))


def test_setup_no_python_at_all(tmp_path: Path) -> None:
    where = checkout(tmp_path / "x")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "cksum", "dirname", "sed", "rm", "df"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    said = setup(where, PATH=str(tools), HOME="/nonexistent", PYTHON="")
    assert "no working Python" in said and "python3-venv" in said


def test_setup_python_without_venv(tmp_path: Path) -> None:
    """As Debian's, whose venv module is another package."""
    where = checkout(tmp_path / "x")
    bare = script(tmp_path / "python3", f'[ "$1" = -m ] && exit 1; exec {sys.executable} "$@"')
    said = setup(where, PYTHON=str(bare))
    assert "could not make .venv" in said and "python3-venv" in said


def test_setup_read_only_checkout_and_full_disk(tmp_path: Path) -> None:
    needs_root()
    with mounts.tmpfs(tmp_path / "small", "1m") as small:
        assert "MB are free" in setup(checkout(small), PYTHON=sys.executable)
        mounts.make_read_only(small)
        assert "cannot be written" in setup(small, PYTHON=sys.executable)


def test_second_run_says_who_runs(tmp_path: Path) -> None:
    """Another fleet has the folder."""
    run = tmp_path / "run"
    run.mkdir(mode=0o711)
    with open(run / "manager.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        done = subprocess.run(
            [sys.executable, "-m", "decnet.run", "--no-cold"], cwd=ROOT, text=True, timeout=180,
            capture_output=True, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "ZYGOTE_RUNTIME_DIR": str(run),
                 "DECNET_STATE_DIR": str(tmp_path / "state")},
        )  # fmt: skip
    assert done.returncode == 1, done
    assert "in use by another manager (pid 4711)" in done.stderr
    assert "hint:" in done.stderr and "Traceback" not in done.stderr


class _Door(asyncssh.SSHServer):
    """Lets anybody in with any password, as the decoy does."""

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return True


async def test_probe_without_an_ssh_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run PROBE=1` makes its visit by a library where the machine has no ssh."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def serve(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(f"ran {process.command}\n")
        process.exit(0)

    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=_Door, process_factory=serve,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
    )  # fmt: skip
    async with server:
        visit = await ssh_visit("127.0.0.1", server.get_port(), "root", "toor", "uname -a")
    assert (visit.client, visit.output.strip()) == ("asyncssh", "ran uname -a")
