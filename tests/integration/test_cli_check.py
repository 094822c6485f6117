"""`check` tells before the start what this machine's limits and ports will say."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli, beside_memory

FLEET = """
[fleet]
name = "big"
[zygote.floor]
preload = ["json"]
"""
WORKER = """
[worker.w{}]
run = "json.tool"
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    (tmp_path / "fleet.toml").write_text(FLEET + WORKER.format(1))
    return Cli(tmp_path)


def test_a_small_fleet_has_room(cli: Cli) -> None:
    assert not beside_memory(cli("check").err)


def test_limits_that_are_too_low_are_told_with_the_remedy(cli: Cli) -> None:
    script = 'ulimit -n 256; exec "$@"'
    done = cli.run("sh", "-c", script, "sh", sys.executable, "-m", "zygote.cli", "check")
    assert "no room for 1 more workers: they need 601 descriptors" in done.err
    assert "LimitNOFILE=" in done.err
    assert done.code == 0, "a warning: another machine may have room"


def test_a_runtime_folder_whose_socket_no_kernel_takes(cli: Cli) -> None:
    done = cli("--runtime-dir", "/tmp/" + "long" * 30, "check")
    assert "warning:" in done.err and "107" in done.err


def test_decnet_tells_of_a_taken_port_and_who_would_listen(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1)
        number = str(sock.getsockname()[1])
        done = Cli(tmp_path).run(
            *(sys.executable, "-m", "decnet.cli.app", "check"),
            DECNET_DECOY_SSH_PORT=number,
            DECNET_STATE_DIR=str(tmp_path),
            ZYGOTE_RUNTIME_DIR=str(tmp_path / "run"),
        )
    assert f"'decoy@ssh': port {number} on 127.0.0.1 is taken" in done.err
    assert "DECNET_DECOY_SSH_PORT" in done.err
    assert done.code == 0
