"""Packets: each cut short, each field wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.wire.messages import (
    FLAG_MEMFD,
    HEADER,
    VERSION,
    Kind,
    Packet,
    check_whole,
    decode,
    decode_head,
    encode,
)

PACKET = Packet(Kind.SPAWN, bytes(range(16)), 7, 1, b'{"worker": "a"}', (5, 6))

packets = st.builds(
    Packet,
    kind=st.sampled_from(Kind),
    spawn_id=st.binary(min_size=16, max_size=16),
    pid=st.integers(-(2**31), 2**31 - 1),
    flags=st.sampled_from([0, 1]),
    body=st.binary(max_size=300),
    fds=st.lists(st.integers(0, 1000), max_size=8).map(tuple),
)


@given(packets)
def test_packet_survives_the_way(packet: Packet) -> None:
    assert decode(encode(packet), packet.fds) == packet


@pytest.mark.parametrize("size", range(len(encode(PACKET))))
def test_packet_cut_short_anywhere_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=r"packet of|body of"):
        decode(encode(PACKET)[:size], PACKET.fds)


def test_packet_of_another_version_is_refused() -> None:
    data = bytearray(encode(PACKET))
    data[3] = VERSION + 1
    with pytest.raises(ValueError, match="not protocol"):
        decode(bytes(data), PACKET.fds)


def test_packet_of_an_unknown_kind_is_refused() -> None:
    data = bytearray(encode(PACKET))
    data[4] = 99
    with pytest.raises(ValueError, match="99"):
        decode(bytes(data), PACKET.fds)


def test_packet_with_a_descriptor_lost_is_refused() -> None:
    with pytest.raises(ValueError, match="1 fds came, the header says 2"):
        decode(encode(PACKET), (5,))


def test_packet_whose_body_should_be_in_an_fd_needs_one() -> None:
    data = encode(Packet(Kind.SPAWN, flags=FLAG_MEMFD))
    with pytest.raises(ValueError, match="none came"):
        decode(data)


def test_head_is_read_without_the_body() -> None:
    head = decode_head(memoryview(encode(PACKET))[: HEADER.size])
    assert (head.kind, head.spawn_id, head.pid) == (Kind.SPAWN, PACKET.spawn_id, 7)
    assert head.length == len(PACKET.body)
    check_whole(head, head.length, 2)
