"""The client's end of the control protocol, where the library's own falls short."""

from __future__ import annotations

import asyncio
import gc
import socket
from pathlib import Path
from typing import Any

import pytest
from asyncvarlink import VarlinkClientProtocol, connect_unix_varlink

from zygote.client.api import Client, Protocol
from zygote.control.interface import ManagerInterface

REPLY: dict[str, Any] = {"parameters": {}, "continues": True}


class Closed:
    """The transport of a connection that is lost."""

    def close(self) -> None: ...


class Sender(Closed):
    """The transport of one that sends at once."""

    def send_message(self, data: bytes, fds: list[int] | None = None) -> asyncio.Future[None]:
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


async def lost(kind: type[VarlinkClientProtocol]) -> VarlinkClientProtocol:
    protocol = kind()
    protocol._transport = Closed()  # type: ignore[assignment]
    protocol.connection_lost(None)
    return protocol


async def test_a_reply_that_nobody_waits_for_is_dropped() -> None:
    protocol = await lost(Protocol)
    protocol.request_received(REPLY, None)


async def test_the_library_still_needs_us_for_that() -> None:
    protocol = await lost(VarlinkClientProtocol)
    with pytest.raises(IndexError):
        protocol.request_received(REPLY, None)


@pytest.mark.parametrize("kind", [Protocol, VarlinkClientProtocol])
async def test_a_stream_given_up_while_replies_come_troubles_nobody(
    kind: type[VarlinkClientProtocol],
) -> None:
    """The library, without us, leaves an exception that nobody retrieves."""
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
    protocol = kind()
    protocol._transport = Sender()  # type: ignore[assignment]
    stream = protocol.make_proxy(ManagerInterface).Events(follow=True, last=9)
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    protocol.request_received(REPLY, None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    protocol.connection_lost(None)
    del protocol, stream, task
    for _ in range(3):  # the loop finalises generators in a turn of its own
        gc.collect()
        await asyncio.sleep(0)
    assert bool(troubles) is (kind is VarlinkClientProtocol)


@pytest.mark.parametrize("ours", [True, False])
async def test_a_call_given_up_before_it_was_sent_troubles_nobody(
    tmp_path: Path, ours: bool
) -> None:
    """The library, without us, still trips over it in a callback of the loop."""
    troubles: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        if ours:
            client = await Client.connect(tmp_path / "s")
            call, transport = client.status(), client._transport
        else:
            transport, protocol = await connect_unix_varlink(Protocol, str(tmp_path / "s"))
            call = protocol.make_proxy(ManagerInterface).Status()
        task = asyncio.ensure_future(call)
        await asyncio.sleep(0)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0.001)
        transport.close()
        await asyncio.sleep(0.001)
    assert bool(troubles) is not ours
