"""The manager's end of a zygote's link, over a real socket pair."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import time
from collections.abc import AsyncIterator

import pytest

from zygote.manager.link import Link, _receive, send_packet
from zygote.wire.messages import FLAG_MEMFD, HEADER, MAX_INLINE, Kind, Packet, encode

PATIENCE = 60.0
"""Seconds that a packet may take on a slow, crowded machine before the test fails."""


class Ends:
    """Our link, and the plain socket at the other end of it."""

    def __init__(self) -> None:
        ours, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.packets: asyncio.Queue[Packet] = asyncio.Queue()
        self.lost: asyncio.Queue[str] = asyncio.Queue()
        self.link = Link(
            asyncio.get_running_loop(), ours, self.packets.put_nowait, self.lost.put_nowait
        )


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ends = Ends()
    yield ends
    ends.link.close()
    ends.other.close()


async def test_link_passes_packets_and_descriptors_both_ways(ends: Ends) -> None:
    read, write = os.pipe()
    ends.link.send(Packet(Kind.SPAWN, b"i" * 16, body=b"{}", fds=(write,)))
    os.close(write)
    got = _receive(ends.other)
    assert got is not None
    assert (got.kind, got.spawn_id, got.body) == (Kind.SPAWN, b"i" * 16, b"{}")
    os.write(got.fds[0], b"x")
    assert os.read(read, 1) == b"x"
    os.close(read)
    ends.other.sendmsg(
        [encode(Packet(Kind.SPAWNED, b"i" * 16, pid=7, fds=got.fds))],
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, got.fds[0].to_bytes(4, "little"))],
    )
    os.close(got.fds[0])
    answer = await asyncio.wait_for(ends.packets.get(), PATIENCE)
    assert (answer.kind, answer.pid, len(answer.fds)) == (Kind.SPAWNED, 7, 1)
    os.close(answer.fds[0])


async def test_link_a_large_body_travels_in_a_memfd(ends: Ends) -> None:
    body = os.urandom(MAX_INLINE * 3)
    ends.link.send(Packet(Kind.SPAWN, body=body))
    got = _receive(ends.other)
    assert got is not None
    assert got.body == body
    assert got.fds == ()


async def test_link_what_does_not_fit_waits_in_order(ends: Ends) -> None:
    sent = []
    for number in range(300):
        packet = Packet(Kind.SPAWN, pid=number, body=b"x" * 8000)
        ends.link.send(packet, lambda _at, number=number: sent.append(number))
    assert 0 < len(sent) < 300, "the socket's buffer is smaller than the burst"
    ends.other.setblocking(False)
    for number in range(300):
        while True:
            try:
                got = _receive(ends.other)
                break
            except BlockingIOError:
                await asyncio.sleep(0)
        assert got is not None
        assert got.pid == number
    assert sent == list(range(300))


async def test_link_a_waiting_packet_can_be_withdrawn(ends: Ends) -> None:
    packets = [Packet(Kind.SPAWN, pid=number, body=b"x" * 8000) for number in range(300)]
    for packet in packets:
        ends.link.send(packet)
    assert ends.link.withdraw(packets[-1])
    assert not ends.link.withdraw(packets[-1])
    assert not ends.link.withdraw(packets[0]), "it is on its way"


async def test_link_tells_the_moment_before_the_other_end_could_act(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under load the answer may be there before we come to look at the clock again."""
    received: list[float] = []

    def send(sock: socket.socket, packet: Packet) -> None:
        send_packet(sock, packet)
        received.append(time.monotonic())
        while time.monotonic() <= received[-1]:
            pass

    monkeypatch.setattr("zygote.manager.link.send_packet", send)
    told: list[float] = []
    ends.link.send(Packet(Kind.SPAWN), told.append)
    assert told[0] <= received[0]


async def test_link_tells_that_the_other_end_is_gone(ends: Ends) -> None:
    ends.other.close()
    assert await asyncio.wait_for(ends.lost.get(), PATIENCE)
    with pytest.raises(BrokenPipeError):
        ends.link.send(Packet(Kind.SPAWN))


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"x" * HEADER.size,
        encode(Packet(Kind.BAKED, body=b"{}"))[:-1],
        b"y" * (MAX_INLINE * 2),
    ],
    ids=["short", "foreign", "cut", "too-large"],
)
async def test_link_nonsense_closes_it(ends: Ends, data: bytes) -> None:
    ends.other.send(data)
    assert await asyncio.wait_for(ends.lost.get(), PATIENCE)
    assert ends.packets.empty()


async def test_link_flood_leaves_time_for_others(ends: Ends) -> None:
    ends.other.setblocking(False)
    count = 0
    with pytest.raises(BlockingIOError):
        while True:
            ends.other.send(encode(Packet(Kind.PROGRESS, body=b"{}")))
            count += 1
    turns = 0
    while ends.packets.qsize() < count:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= count // 64


async def test_link_packet_whose_descriptors_were_cut_off_still_counts(ends: Ends) -> None:
    read, write = os.pipe()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        ends.other.sendmsg(
            [encode(Packet(Kind.SPAWNED, b"i" * 16, pid=7, fds=(read,)))],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, read.to_bytes(4, "little"))],
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        answer = await asyncio.wait_for(ends.packets.get(), PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(read)
        os.close(write)
    assert (answer.kind, answer.pid, answer.fds) == (Kind.SPAWNED, 7, ())


async def test_link_packet_whose_body_was_cut_off_ends_it(ends: Ends) -> None:
    """Nobody would learn that an answer is lost: better to ask another zygote."""
    body = os.memfd_create("body")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    head = Packet(Kind.BAKED, b"i" * 16, flags=FLAG_MEMFD, fds=(body,))
    try:
        ends.other.sendmsg(
            [encode(head)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, body.to_bytes(4, "little"))]
        )
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        assert "body" in await asyncio.wait_for(ends.lost.get(), PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(body)
    assert ends.packets.empty()


async def test_link_descriptors_without_a_packet_end_it(ends: Ends) -> None:
    read, write = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, write.to_bytes(4, "little"))]
    ends.other.sendmsg([b""], rights)
    os.close(write)
    assert "descriptors" in await asyncio.wait_for(ends.lost.get(), PATIENCE)
    assert os.read(read, 1) == b"", "they were closed"
    os.close(read)
