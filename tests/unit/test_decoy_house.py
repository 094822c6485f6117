"""A decoy gets its port: at once, or when the outgoing connection that has it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from decnet.decoys import house
from decnet.decoys.house import PortRefused, listen_soon


@pytest.fixture
def lent() -> Iterator[socket.socket]:
    """A connection to elsewhere; its own end has a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as outgoing:
            with contextlib.closing(server.accept()[0]):
                yield outgoing


async def test_a_lent_port_is_waited_for(lent: socket.socket) -> None:
    port = lent.getsockname()[1]
    told: list[str] = []
    more: list[float] = []
    waiting = asyncio.create_task(listen_soon("127.0.0.1", port, "PORT", told.append, more.append))
    async with asyncio.timeout(house.LENT_SECONDS):
        while not told:
            await asyncio.sleep(0.01)
        assert told == [f"waiting: port {port} is lent to an outgoing connection"]
        lent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT
        lent.close()
        sock = await waiting
    assert sock.getsockname()[1] == port
    assert told[-1] == ""
    assert more and more[0] > house.LENT_SECONDS, "the start may take that long"
    sock.close()


async def test_a_lent_port_is_not_waited_for_for_ever(
    lent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "LENT_SECONDS", 0.3)
    with pytest.raises(PortRefused, match="is taken"):
        await listen_soon("127.0.0.1", lent.getsockname()[1], "PORT", lambda _: None)


async def test_a_port_that_somebody_listens_on_is_not_waited_for() -> None:
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(PortRefused, match="is taken"):
            await listen_soon("127.0.0.1", server.getsockname()[1], "PORT", told.append)
    assert told == []


async def test_a_free_port_is_had_at_once() -> None:
    told: list[str] = []
    sock = await listen_soon("127.0.0.1", 0, "PORT", told.append)
    sock.close()
    assert told == []
