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

from tests.support.forkserver import DEADLINE, MiniManager
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


def keeps_nothing_open(manager: MiniManager) -> None:
    """But stdio and its link, once it has closed what went with its last answer."""
    deadline = time.monotonic() + DEADLINE
    while open_fds(manager) > 4:
        assert time.monotonic() < deadline, f"{open_fds(manager)} descriptors stay open"
        time.sleep(0.005)


def open_fds(manager: MiniManager) -> int:
    return len(list(Path(f"/proc/{manager.process.pid}/fd").iterdir()))
