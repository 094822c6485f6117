"""The link of a real zygote: whatever comes, it answers or tells, and goes on serving."""

from __future__ import annotations

import array
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import DEADLINE, BakeFailedError, MiniManager
from zygote.wire.messages import HEADER, Kind, Packet, encode

ID = b"sixteen bytes id"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[MiniManager]:
    made = MiniManager(tmp_path / "zygote.log")
    made.bake()
    yield made
    made.close()


def send(manager: MiniManager, data: bytes, fds: tuple[int, ...] = ()) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
    manager.sock.sendmsg([data], rights if fds else [])


def serves(manager: MiniManager) -> None:
    assert manager.spawn("print('served')").line() == "served"


def refused(manager: MiniManager) -> dict[str, object]:
    packet = manager.receive()
    assert (packet.kind, packet.spawn_id) == (Kind.SPAWN_FAILED, ID)
    return json.loads(packet.body)  # type: ignore[no-any-return]


WHOLE = encode(Packet(Kind.SPAWN, ID, body=b"{}"))


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"ZYG",
        WHOLE[: HEADER.size - 1],
        b"GYZ" + WHOLE[3:],
        WHOLE[:3] + b"\x09" + WHOLE[4:],
        WHOLE[:4] + b"\x63" + WHOLE[5:],
        bytes(500),
    ],
    ids=["letter", "magic", "cut", "other", "version", "kind", "zeros"],
)
def test_link_ignores_what_is_no_packet_and_says_so(manager: MiniManager, data: bytes) -> None:
    send(manager, data)
    serves(manager)
    assert "zygote: bad request: " in manager.log.read_text()


@pytest.mark.parametrize(
    ("data", "fds"),
    [
        (WHOLE[:-1], 0),
        (WHOLE + b"more", 0),
        (WHOLE, 1),
        (encode(Packet(Kind.SPAWN, ID, flags=2)), 0),
    ],
    ids=["short body", "long body", "unexpected fd", "no memfd"],
)
def test_link_answers_a_spawn_that_is_not_whole(
    manager: MiniManager, data: bytes, fds: int
) -> None:
    descriptors = tuple(os.open(os.devnull, os.O_RDONLY) for _ in range(fds))
    try:
        send(manager, data, descriptors)
        assert refused(manager)["step"] == "request"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    serves(manager)
    keeps_nothing_open(manager)


def test_link_answers_a_spawn_that_is_too_large(manager: MiniManager) -> None:
    send(manager, encode(Packet(Kind.SPAWN, ID, body=b"x" * 100_000)))
    assert "too large" in str(refused(manager)["hint"])
    serves(manager)


def test_link_ignores_what_a_zygote_does_not_do(manager: MiniManager) -> None:
    send(manager, encode(Packet(Kind.BAKED, ID)))
    serves(manager)
    assert "no request: BAKED" in manager.log.read_text()


def test_link_survives_a_peer_that_does_not_read(manager: MiniManager) -> None:
    """More answers than the socket holds: the zygote waits, and loses none."""
    manager.sock.settimeout(0)
    sent = 0
    try:
        while sent < 2000:
            send(manager, WHOLE[:-1])
            sent += 1
    except BlockingIOError:
        pass
    manager.sock.settimeout(60)
    for _ in range(sent):
        assert refused(manager)["step"] == "request"
    serves(manager)


FULL = Path("/dev/full")
"""A log on a full disk."""


def test_link_goes_on_where_what_it_has_to_tell_finds_no_room() -> None:
    """Of the zygote itself, and of a blank."""
    manager = MiniManager(FULL)
    try:
        manager.bake()
        send(manager, b"x")
        send(manager, encode(Packet(Kind.BAKED, ID)))
        send(manager, WHOLE[:-1])
        assert refused(manager)["step"] == "request"
        serves(manager)
        (blank,) = manager.blanks(1)
        blank.sock.send(encode(Packet(Kind.BAKED, ID)))
        assert os.waitstatus_to_exitcode(os.waitpid(blank.pid, 0)[1]) == 70
        manager.waiting.clear()
        blank.sock.close()
        serves(manager)
        assert manager.hang_up() == 0
    finally:
        manager.close()


def test_link_bake_that_is_refused_ends_where_its_reason_finds_no_room(tmp_path: Path) -> None:
    """By no way that would wait for the threads that it is refused for."""
    text = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    (tmp_path / "threads.py").write_text(text)
    manager = MiniManager(FULL, cwd=tmp_path)
    try:
        with pytest.raises(BakeFailedError, match="thread"):
            manager.bake(preload=("threads",))
        assert manager.process.wait(DEADLINE) == 1
    finally:
        manager.close()


def keeps_nothing_open(manager: MiniManager) -> None:
    """But stdio and its link, once it has closed what went with its last answer."""
    deadline = time.monotonic() + DEADLINE
    while open_fds(manager) > 4:
        assert time.monotonic() < deadline, f"{open_fds(manager)} descriptors stay open"
        time.sleep(0.005)


def open_fds(manager: MiniManager) -> int:
    """How many; libffi's own is kept from 200 on, where it has one."""
    folder = Path(f"/proc/{manager.process.pid}/fd")
    return sum(int(each.name) < 200 for each in folder.iterdir())
