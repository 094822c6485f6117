"""Sockets that a socket unit makes, and that the descriptor store keeps; a stand-in for systemd."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.managers import HEAD, PATIENCE, worker
from tests.support.varlink_raw import NAME

LAUNCH = """
import json, os, sys
fds = json.loads(sys.argv[1])
for number, fd in enumerate(fds): os.dup2(fd, 60 + number)
for number, fd in enumerate(fds): os.dup2(60 + number, 3 + number)
os.closerange(3 + len(fds), 70)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Systemd:
    """Starts a manager as a unit does: with sockets, a notify socket, and a store for it."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir(mode=0o711)
        self.fleet = folder / "fleet.toml"
        self.fleet.write_text(HEAD + worker("web", "notifier", 'type = "notify"'))
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.bind(str(folder / "told"))
        self.told.settimeout(PATIENCE)
        self.control = socket.socket(socket.AF_UNIX)
        self.control.bind(str(self.run / "control.sock"))
        self.control.listen()
        self.stored: dict[str, int] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        fds = {"control": self.control.fileno(), **self.stored}
        env = {
            **os.environ, "NOTIFY_SOCKET": self.told.getsockname(),
            "LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(fds),
        }  # fmt: skip
        words = ["-m", "zygote.manager", "--fleet", str(self.fleet), "--runtime-dir", str(self.run)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(list(fds.values())), *words],
            env=env, pass_fds=list(fds.values()), cwd=self.fleet.parent,
        )  # fmt: skip

    def until(self, word: str) -> dict[str, str]:
        """Messages up to the one with that word; descriptors are stored as systemd does."""
        while True:
            data, ancillary, _, _ = self.told.recvmsg(4096, socket.CMSG_SPACE(16))
            said = dict(line.split("=", 1) for line in data.decode().splitlines())
            for _, _, payload in ancillary:
                fds = array.array("i", payload)
                self.stored[said["FDNAME"]] = fds[0]
            if "FDSTOREREMOVE" in said and said["FDNAME"] in self.stored:
                os.close(self.stored.pop(said["FDNAME"]))
            if word in said:
                return said

    def call(self, method: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            client.connect(str(self.run / "control.sock"))
            client.sendall(f'{{"method": "{NAME}.{method}", "parameters": {{}}}}\0'.encode())
            return client.recv(65536)

    def until_listed(self, text: bytes) -> bytes:
        """The list of workers, once it has this in it."""
        deadline = time.monotonic() + PATIENCE
        while text not in (answer := self.call("List")):
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)
        return answer


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path)
    yield made
    if made.process and made.process.poll() is None:
        made.process.terminate()
        made.process.wait(PATIENCE)
    for descriptor in made.stored.values():
        os.close(descriptor)
    made.told.close()
    made.control.close()


def test_handed_control_socket_is_served_and_left_alone(systemd: Systemd) -> None:
    systemd.start()
    systemd.until("READY")
    assert b'"web"' in systemd.call("List")
    assert systemd.process
    systemd.process.terminate()
    assert systemd.process.wait(PATIENCE) == 0
    systemd.until("FDSTOREREMOVE")
    assert (systemd.run / "control.sock").is_socket(), "it is the socket unit's"
    assert not (systemd.run / "notify.sock").exists() and not systemd.stored


def test_handed_sockets_bridge_a_crash_of_the_manager(systemd: Systemd) -> None:
    """A caller waits in place of being refused, and a worker's word is heard by the next one."""
    systemd.start()
    systemd.until("READY")
    assert "notify" in systemd.stored
    # Its first word is heard by this manager: what it says next is the first in the queue.
    assert b'"ready":true' not in systemd.until_listed(b"warming up")
    assert systemd.process
    systemd.process.kill()
    systemd.process.wait()
    (systemd.fleet.parent / "web.go").touch()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(systemd.run / "control.sock"))
        client.sendall(f'{{"method": "{NAME}.List", "parameters": {{}}}}\0'.encode())
        with socket.socket(fileno=os.dup(systemd.stored["notify"])) as queue:
            queue.settimeout(PATIENCE)
            assert b"READY=1" in queue.recv(4096, socket.MSG_PEEK), "it waits to be heard"
        systemd.start()
        systemd.until("READY")
        assert b'"workers"' in client.recv(65536)
    answer = systemd.until_listed(b'"ready":true')
    assert b'"adopted":true' in answer and b"at your service" in answer


def test_handed_control_socket_elsewhere_is_refused(systemd: Systemd, tmp_path: Path) -> None:
    systemd.control.close()
    systemd.control = socket.socket(socket.AF_UNIX)
    systemd.control.bind(str(tmp_path / "other.sock"))
    systemd.control.listen()
    systemd.start()
    assert systemd.process and systemd.process.wait(PATIENCE) == 1


def test_handed_descriptors_for_another_process_are_not_taken(systemd: Systemd) -> None:
    """LISTEN_PID of a parent, as in a shell that a socket unit started."""
    env = {**os.environ, "LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
    (systemd.run / "control.sock").unlink()
    systemd.process = subprocess.Popen(
        [sys.executable, "-m", "zygote.manager", "--fleet", str(systemd.fleet),
         "--runtime-dir", str(systemd.run)],
        env={**env, "NOTIFY_SOCKET": systemd.told.getsockname()}, cwd=systemd.fleet.parent,
    )  # fmt: skip
    systemd.until("READY")
    assert b'"web"' in systemd.call("List")
    systemd.process.send_signal(signal.SIGTERM)
    assert systemd.process.wait(PATIENCE) == 0
